/** One message in the list. Its text is text: lit escapes it, and only addresses that the parser found become links. */
import { html, nothing, type TemplateResult } from 'lit';
import { classMap } from 'lit/directives/class-map.js';
import { styleMap } from 'lit/directives/style-map.js';
import { hueOf } from '../core/colour';
import { bytes, initials, positionTime } from '../core/format';
import { parse, textOf, type Node, type Syntax } from '../core/markup';
import { nameOf, type Message } from '../core/message';
import { isStaff, type Attached, type Person, type QuestionState } from '../core/wire';
import { icons } from '../style/icons';
import './math';

export interface Shown {
  message: Message;
  /** The same person goes on: no name again. */
  continued: boolean;
  /** The reader's id. */
  you: string | undefined;
  /** It mentions or answers the reader. */
  forYou: boolean;
  syntax: Syntax;
  /** What it replies to: null where that is not here. */
  quoted: Message | null;
  /** Of a question that was asked. */
  question: QuestionState | null;
  pinned: boolean;
  /** Whom a private message is to, in words. */
  to: string;
  /** The folder of the files. */
  files: string;
  /** Asked whether to delete it. */
  confirming: boolean;
  /** The one that the arrow keys are at: the only one whose controls the Tab key reaches. */
  active: boolean;
  /** Somebody jumped here. */
  found: boolean;
  mayReply: boolean;
  /** Held, for staff. */
  mayApprove: boolean;
  on: Handlers;
}

export interface Handlers {
  act(what: 'reply' | 'approve' | 'discard', message: Message): void;
  menu(message: Message, button: HTMLElement): void;
  /** The answer to `confirming`. */
  confirm(message: Message, yes: boolean): void;
  jump(seq: number): void;
}

/** Long enough to know what it was about. */
const QUOTED = 90;

export function messageItem(shown: Shown): TemplateResult {
  const { message, continued } = shown;
  const { author, body } = message;
  const tab = shown.active ? 0 : -1;
  return html`
    ${continued ? nothing : portrait(author, message.anonymous === true && !isNamed(message))}
    <div class="said">
      ${continued ? html`<span class="unseen">${nameOf(author)}</span>` : byline(shown)}
      ${message.reply_to === undefined ? nothing : quote(shown, message.reply_to)}
      <p class="body" dir="auto">${body === null ? 'Message deleted' : rendered(parse(body, shown.syntax), shown.you, tab)}${message.edited === undefined ? nothing : html` <span class="edited">(edited)</span>`}</p>
      ${message.files?.length ? html`<ul class="files" role="list">${message.files.map((file) => attachment(file, shown.files, tab))}</ul>` : nothing}
      ${message.held === undefined ? nothing : held(shown, message.held)}
    </div>
    ${shown.confirming ? confirmation(shown) : body === null ? nothing : controls(shown)}
  `;
}

export const classesOf = ({ message, continued, you, forYou, found }: Pick<Shown, 'message' | 'continued' | 'you' | 'forYou' | 'found'>) =>
  classMap({
    message: true,
    continued,
    found,
    own: you === message.author.id,
    staff: isStaff(message.author),
    gone: message.body === null,
    'for-you': forYou,
    announcement: message.announcement === true,
    asked: message.question === true,
    private: message.to !== undefined,
    held: message.held !== undefined,
  });

export const waitingItem = (body: string, why: string): TemplateResult =>
  html`<div class="said"><p class="body" dir="auto">${rendered(parse(body), undefined, -1)}</p><p class="state">${icons.clock} ${why}</p></div>`;

/** The words of a message for a reader of names: its row says who, and this what kind of message it is. */
function byline({ message, you, question, pinned, to }: Shown): TemplateResult {
  const { author, at } = message;
  const role = ROLES[author.role];
  return html`<p class="byline"><span class="who"><b class="name" style=${styleMap({ '--hue': String(hueOf(author.id)) })}>${nameOf(author)}</b>
    ${you === author.id ? html`<span class="you">you</span>` : nothing}
    ${role ? html`<span class="badge accent">${role}</span>` : nothing}
    ${message.anonymous && isNamed(message) ? badge('Anonymous to others') : nothing}
    ${message.announcement ? badge('Announcement', 'accent') : nothing}
    ${message.question ? badge(QUESTION[question ?? 'open'], 'question') : nothing}
    ${message.to === undefined ? nothing : badge(to, 'private')}
    ${pinned ? badge('Pinned') : nothing}</span>
    <time class="at" title="Position in the lecture">${positionTime(at)}</time></p>`;
}

const badge = (text: string, kind = ''): TemplateResult => html`<span class="badge ${kind}">${text}</span>`;

const ROLES: Partial<Record<string, string>> = { host: 'Host', moderator: 'Moderator' };
const QUESTION: Record<QuestionState, string> = { open: 'Question', answered: 'Question, answered', dismissed: 'Question, closed' };

/** Staff may see who wrote an anonymous message; for everybody else its author is called so. */
const isNamed = ({ author }: Message): boolean => author.name !== 'Anonymous';

function quote({ quoted, active, on }: Shown, seq: number): TemplateResult {
  if (!quoted) return html`<p class="quote">${icons.reply} In reply to an earlier message</p>`;
  const characters = Array.from(quoted.body === null ? 'Message deleted' : textOf(parse(quoted.body)).replace(/\s+/g, ' '));
  const text = characters.length > QUOTED ? `${characters.slice(0, QUOTED).join('')}…` : characters.join('');
  return html`<button class="quote" type="button" tabindex=${active ? 0 : -1} @click=${() => on.jump(seq)}>
    ${icons.reply}<span class="unseen">In reply to</span> <b>${nameOf(quoted.author)}</b> <span class="text">${text}</span></button>`;
}

function held({ message, mayApprove, active, on }: Shown, why: string): TemplateResult {
  const tab = active ? 0 : -1;
  return html`<p class="state">${icons.clock} ${HELD[why] ?? 'Waits for approval'}</p>
    ${mayApprove
      ? html`<p class="verdict">
          <button class="button small" tabindex=${tab} @click=${() => on.act('approve', message)}>Approve</button>
          <button class="button small" tabindex=${tab} @click=${() => on.act('discard', message)}>Discard</button>
        </p>`
      : nothing}`;
}

const HELD: Partial<Record<string, string>> = {
  moderated: 'Waits for approval',
  word: 'Waits for approval: a word is on the list',
  link: 'Waits for approval: it has a link',
  delay: 'Others see it in a moment',
};

function controls({ message, active, mayReply, on }: Shown): TemplateResult {
  const tab = active ? 0 : -1;
  return html`<span class="controls">
    ${mayReply ? html`<button class="control reply" type="button" tabindex=${tab} aria-label="Reply to ${nameOf(message.author)}" title="Reply" @click=${() => on.act('reply', message)}>${icons.reply}</button>` : nothing}
    <button class="control more" type="button" tabindex=${tab} aria-haspopup="menu" aria-label="More about this message of ${nameOf(message.author)}" title="More"
      @click=${(event: Event) => on.menu(message, event.currentTarget as HTMLElement)}>${icons.more}</button>
  </span>`;
}

const confirmation = ({ message, on }: Shown): TemplateResult => html`<span class="confirm" role="group" aria-label="Delete this message?">
  <button class="button small live" @click=${() => on.confirm(message, true)}>Delete</button>
  <button class="button small" @click=${() => on.confirm(message, false)}>Keep</button>
</span>`;

const portrait = ({ id, name }: Person, unknown: boolean): TemplateResult =>
  html`<span class="portrait" aria-hidden="true" style=${styleMap({ '--hue': String(hueOf(id)) })}>${unknown || name === '' ? '?' : initials(name)}</span>`;

// --- text

/** `tab`: whether the Tab key stops at its links. */
export const rendered = (nodes: readonly Node[], you: string | undefined, tab: 0 | -1): unknown[] => nodes.map((node) => piece(node, you, tab));

function piece(node: Node, you: string | undefined, tab: 0 | -1): unknown {
  switch (node.kind) {
    case 'text':
      return node.text;
    case 'bold':
      return html`<strong>${rendered(node.nodes, you, tab)}</strong>`;
    case 'code':
      return html`<code class=${node.text.includes('\n') ? 'block' : ''}>${node.text.replace(/^\n|\n$/g, '')}</code>`;
    case 'math':
      return html`<lectern-math .formula=${{ source: node.text, fence: node.fence }}></lectern-math>`;
    case 'link':
      return html`<a href=${node.href} tabindex=${tab} target="_blank" rel="nofollow noopener noreferrer">${node.text}</a>`;
    case 'mention':
      return html`<span class="mention ${node.id === you ? 'you' : ''}">${node.text}</span>`;
  }
}

// --- files

/** What every browser shows, and what cannot run a script. */
const IMAGES = new Set(['image/png', 'image/jpeg', 'image/gif', 'image/webp', 'image/avif']);

function attachment({ id, name, type, size }: Attached, folder: string, tab: 0 | -1): TemplateResult {
  const url = `${folder}/${encodeURIComponent(id)}`;
  if (IMAGES.has(type)) {
    return html`<li><a class="image" href=${url} target="_blank" rel="noopener" tabindex=${tab}><img src=${url} alt=${name} loading="lazy" decoding="async"></a></li>`;
  }
  return html`<li><a class="file" href=${url} download=${name} tabindex=${tab}>${icons.download}<span class="name-of-file">${name}</span> <span class="about">${kindOf(name, type)}, ${bytes(size)}</span></a></li>`;
}

/** `PDF`, `ZIP`; else what the server sniffed. */
const kindOf = (name: string, type: string): string => (/\.(\w{1,5})$/.exec(name)?.[1] ?? type.split('/').at(-1) ?? 'file').toUpperCase();
