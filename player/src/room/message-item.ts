/** One message in the list. Its text is text: lit escapes it, and only found addresses become links. */
import { html, nothing, type TemplateResult } from 'lit';
import { classMap } from 'lit/directives/class-map.js';
import { styleMap } from 'lit/directives/style-map.js';
import { initials, positionTime } from '../core/format';
import { pieces } from '../core/links';
import type { Message } from '../core/message';
import type { Person } from '../core/wire';
import { icons } from '../style/icons';

export interface Shown {
  message: Message;
  /** The same person goes on: no name again. */
  continued: boolean;
  own: boolean;
  /** Asked whether to delete it. */
  confirming: boolean;
  /** The one that the arrow keys are at: the only one whose controls the Tab key reaches. */
  active: boolean;
  /** null: may not. */
  onDelete: ((step: 'ask' | 'yes' | 'no') => void) | null;
}

export function messageItem({ message, continued, own, confirming, active, onDelete }: Shown): TemplateResult {
  const { author, body, at, seq } = message;
  const staff = author.role === 'host' || author.role === 'moderator';
  return html`<li class=${classMap({ message: true, continued, own, staff, gone: body === null })} data-seq=${seq} data-at=${at} tabindex="-1">
    ${continued ? nothing : portrait(author)}
    <div class="said">
      ${continued ? html`<span class="unseen">${author.name}</span>` : byline(message, own)}
      <p class="body">${body === null ? 'Message deleted' : textOf(body)}</p>
    </div>
    ${onDelete && body !== null ? deleteControl(author, confirming, active, onDelete) : nothing}
  </li>`;
}

export const unsentItem = (body: string, why: string): TemplateResult => html`<li class="message unsent">
  <div class="said"><p class="body">${textOf(body)}</p><p class="state">${icons.clock} ${why}</p></div>
</li>`;

function byline({ author, at }: Message, own: boolean): TemplateResult {
  const role = ROLES[author.role];
  return html`<p class="byline"><b class="name">${author.name}</b>
    ${own ? html`<span class="you">you</span>` : nothing}
    ${role ? html`<span class="badge accent">${role}</span>` : nothing}
    <time class="at" title="Position in the lecture">${positionTime(at)}</time></p>`;
}

const ROLES: Partial<Record<string, string>> = { host: 'Host', moderator: 'Moderator' };

function deleteControl(author: Person, confirming: boolean, active: boolean, onDelete: NonNullable<Shown['onDelete']>): TemplateResult {
  if (!confirming) {
    return html`<button class="delete" tabindex=${active ? 0 : -1} aria-label="Delete this message of ${author.name}" title="Delete" @click=${() => onDelete('ask')}>${icons.bin}</button>`;
  }
  return html`<span class="confirm" role="group" aria-label="Delete this message?">
    <button class="button small live" @click=${() => onDelete('yes')}>Delete</button>
    <button class="button small" @click=${() => onDelete('no')}>Keep</button>
  </span>`;
}

const portrait = ({ id, name }: Person): TemplateResult =>
  html`<span class="portrait" aria-hidden="true" style=${styleMap({ '--hue': String(hue(id)) })}>${initials(name)}</span>`;

const textOf = (body: string) =>
  pieces(body).map(({ text, href }) => (href ? html`<a href=${href} target="_blank" rel="nofollow noopener noreferrer">${text}</a>` : text));

/** The same colour for a person everywhere. */
function hue(id: string): number {
  let hash = 0;
  for (const character of id) hash = (hash * 31 + (character.codePointAt(0) ?? 0)) % 360;
  return hash;
}
