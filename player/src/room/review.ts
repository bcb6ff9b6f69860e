/** `<lectern-review>`, for staff: what waits, what was reported, who was silenced, what was noted. */
import { LitElement, html, nothing, type TemplateResult } from 'lit';
import { repeat } from 'lit/directives/repeat.js';
import { positionTime } from '../core/format';
import type { Message } from '../core/message';
import { span } from '../core/mode';
import type { WallMs } from '../core/time';
import type { Note, Report, Sanction, State, TextEvent } from '../core/wire';
import { baseStyles, sheet } from '../style/shared';
import { ask, personButton } from './asking';
import { bodyOf } from './body';
import { KeepFocus } from './keep-focus';
import panel from './panel.css?inline';
import { MEASURES } from './people';

export class LecternReview extends LitElement {
  static override styles = [baseStyles, sheet(panel)];
  static override properties = { state: { attribute: false }, messageOf: { attribute: false }, nameOf: { attribute: false }, now: { attribute: false } };
  declare state: State;
  /** Where it is at hand. */
  declare messageOf: (seq: number) => Message | null;
  /** Of a person's id; empty where nobody knows. */
  declare nameOf: (id: string) => string;
  declare now: () => WallMs;
  /** Reports that somebody here has dealt with. */
  #done = new Set<number>();

  constructor() {
    super();
    this.messageOf = () => null;
    this.nameOf = () => '';
    this.now = Date.now;
    new KeepFocus(this, () => this.renderRoot.querySelector<HTMLElement>('.approve, h3'));
  }

  /** How much waits for somebody to look at it. */
  static count({ staff }: State): number {
    return (staff?.held.filter(({ held }) => held !== 'delay').length ?? 0) + (staff?.reports.length ?? 0);
  }

  override render() {
    const { staff } = this.state;
    if (!staff) return nothing;
    const reports = staff.reports.filter(({ seq }) => !this.#done.has(seq));
    return html`
      <section>
        <div class="head"><h3 tabindex="-1">Waiting for approval${amount(staff.held)}</h3>
          ${staff.held.length > 1 ? html`<button class="button small" @click=${this.#approveAll}>Approve all</button>` : nothing}</div>
        ${staff.held.length === 0 ? html`<p class="empty">Nothing waits.</p>` : html`<ol class="list">${repeat(staff.held, ({ seq }) => seq, (message) => this.#held(message))}</ol>`}
      </section>
      <section>
        <div class="head"><h3>Reports${amount(reports)}</h3></div>
        ${reports.length === 0 ? html`<p class="empty">Nothing was reported.</p>` : html`<ol class="list">${repeat(reports, ({ seq }) => seq, (report) => this.#report(report))}</ol>`}
      </section>
      <section>
        <div class="head"><h3>Muted and banned${amount(staff.sanctions)}</h3></div>
        ${staff.sanctions.length === 0 ? html`<p class="empty">Nobody.</p>` : html`<ul class="list">${repeat(staff.sanctions, ({ person }) => person.id, (sanction) => this.#sanction(sanction))}</ul>`}
      </section>
      ${staff.notes.length === 0 ? nothing : html`<section><div class="head"><h3>Notes</h3></div><ul class="list">${staff.notes.toReversed().map((note) => this.#note(note))}</ul></section>`}
    `;
  }

  #held(message: TextEvent): TemplateResult {
    const { seq, author, at, held, question, until } = message;
    return html`<li class="card" data-held=${seq}>
      <p class="text" dir="auto">${bodyOf(message, this.state.settings)}</p>
      <p class="meta">${personButton(this, author)} <time>${positionTime(at)}</time> ${question ? html`<span class="badge">Question</span>` : nothing}
        <span class="badge warn">${held === 'delay' && until !== undefined ? `Shown in ${span(until - this.now())}` : (WHY[held ?? ''] ?? 'Held')}</span></p>
      <div class="actions" role="group" aria-label="This message of ${author.name}">
        <button class="button small primary approve" @click=${() => ask(this, { type: 'approve', target: seq })}>Approve</button>
        <button class="button small" @click=${() => ask(this, { type: 'discard', target: seq })}>Discard</button>
      </div>
    </li>`;
  }

  #approveAll(): void {
    for (const { seq } of this.state.staff?.held ?? []) ask(this, { type: 'approve', target: seq });
  }

  #report({ seq, target, by, reason }: Report): TemplateResult {
    const message = this.messageOf(target);
    const gone = message?.body === null;
    return html`<li class="card">
      ${message ? html`<p class="text" dir="auto">${gone ? 'Message deleted' : bodyOf(message, this.state.settings)}</p><p class="meta">by ${personButton(this, message.author)}</p>` : html`<p class="text">An earlier message</p>`}
      <p class="meta"><span class="badge warn">${reason || 'No reason given'}</span> <span>reported by ${by.name}</span></p>
      <div class="actions">
        ${gone ? nothing : html`<button class="button small live" @click=${() => ask(this, { type: 'delete', seq: target })}>Delete the message</button>`}
        <button class="button small" @click=${() => this.#settle(seq)}>${gone ? 'Done' : 'Keep it'}</button>
      </div>
    </li>`;
  }

  #settle(seq: number): void {
    this.#done.add(seq);
    this.requestUpdate();
  }

  #sanction({ person, what, until }: Sanction): TemplateResult {
    return html`<li class="card">
      <p class="meta">${personButton(this, person)} <span class="badge warn">${MEASURES[what]}${until === null ? '' : ` for ${span(until - this.now())}`}</span></p>
      <div class="actions"><button class="button small" aria-label="Lift it for ${person.name}" @click=${() => ask(this, { type: 'sanction', person: person.id, what: 'lift' })}>Lift</button></div>
    </li>`;
  }

  #note({ by, person, target, body }: Note): TemplateResult {
    const about = target === null ? this.nameOf(person ?? '') : (this.messageOf(target)?.author.name ?? '');
    return html`<li class="card"><p class="text" dir="auto">${body}</p><p class="meta">${about ? html`<span>on ${about}</span>` : nothing} ${by ? html`<span>by ${by.name}</span>` : nothing}</p></li>`;
  }
}

const WHY: Partial<Record<string, string>> = { moderated: 'The room is moderated', word: 'A word on the list', link: 'Has a link' };
const amount = ({ length }: readonly unknown[]): string => (length > 0 ? ` (${length})` : '');

customElements.define('lectern-review', LecternReview);

declare global {
  interface HTMLElementTagNameMap {
    'lectern-review': LecternReview;
  }
}
