/** `<lectern-questions>`: what people asked, the most wanted first. */
import { LitElement, html, nothing, type TemplateResult } from 'lit';
import { classMap } from 'lit/directives/class-map.js';
import { repeat } from 'lit/directives/repeat.js';
import { positionTime } from '../core/format';
import { isStaff, type Person, type Question, type QuestionState, type State } from '../core/wire';
import { icons } from '../style/icons';
import { baseStyles, sheet } from '../style/shared';
import { ask, personButton } from './asking';
import { bodyOf } from './body';
import { KeepFocus } from './keep-focus';
import panel from './panel.css?inline';
import css from './questions.css?inline';

type Order = 'votes' | 'time';

export class LecternQuestions extends LitElement {
  static override styles = [baseStyles, sheet(panel), sheet(css)];
  static override properties = { state: { attribute: false }, you: { attribute: false }, live: { attribute: false }, order: { state: true }, held: { state: true }, dismissed: { state: true } };
  declare state: State;
  declare you: Person | null;
  /** One can vote: it is now, and not the room as it was. */
  declare live: boolean;
  declare order: Order;
  /** Somebody points at the list: it does not move under their finger. */
  declare held: boolean;
  /** Staff look at what they put away. */
  declare dismissed: boolean;
  #places = new Map<number, number>();
  /** The question whose state somebody here turned last: its buttons become others. */
  #turned = 0;

  constructor() {
    super();
    this.live = true;
    this.you = null;
    this.order = 'votes';
    this.held = false;
    this.dismissed = false;
    new KeepFocus(this, () => this.#placeToBe());
  }

  override render() {
    const all = this.state.questions;
    const shown = this.#sorted(all.filter(({ state }) => (state === 'dismissed') === this.dismissed));
    const away = all.filter(({ state }) => state === 'dismissed').length;
    return html`
      <div class="head">
        <div class="segments" role="group" aria-label="Order">
          ${this.#orderButton('votes', 'Most wanted')} ${this.#orderButton('time', 'Newest')}
        </div>
        ${isStaff(this.you) && (away > 0 || this.dismissed)
          ? html`<button class="button small quiet" aria-pressed=${String(this.dismissed)} @click=${() => (this.dismissed = !this.dismissed)}>Dismissed (${away})</button>`
          : nothing}
      </div>
      ${shown.length === 0
        ? html`<p class="empty">${this.dismissed ? 'Nothing was dismissed.' : this.live ? 'No questions yet. Ask the first one below.' : 'Nobody had asked anything up to here.'}</p>`
        : html`<ol class="list" tabindex="-1" @pointerenter=${() => (this.held = true)} @pointerleave=${() => (this.held = false)}>
            ${repeat(shown, ({ message }) => message.seq, (question) => this.#card(question))}
          </ol>`}
    `;
  }

  #placeToBe(): HTMLElement | null {
    return this.renderRoot.querySelector<HTMLElement>(`[data-question="${this.#turned}"] .actions button`) ?? this.renderRoot.querySelector<HTMLElement>('.segments [aria-pressed=true]');
  }

  #orderButton(order: Order, words: string): TemplateResult {
    const choose = () => {
      this.order = order;
      this.#places.clear();
    };
    return html`<button aria-pressed=${String(this.order === order)} @click=${choose}>${words}</button>`;
  }

  #card(question: Question): TemplateResult {
    const { message, state } = question;
    const { author, at } = message;
    return html`<li class=${classMap({ card: true, done: state !== 'open' })} data-question=${message.seq}>
      ${this.#votes(question)}
      <div class="asked">
        <p class="text" dir="auto">${bodyOf(message, this.state.settings)}</p>
        <p class="meta">
          ${state === 'answered' ? html`<span class="badge good">${icons.check} Answered</span>` : nothing}
          <span>${isStaff(this.you) && this.live && !message.anonymous ? personButton(this, author) : author.name}</span>
          <time title="Position in the lecture">${positionTime(at)}</time>
        </p>
        ${isStaff(this.you) && this.live ? this.#order(question) : nothing}
      </div>
    </li>`;
  }

  #votes({ message: { seq, author, body }, state, votes, voted }: Question): TemplateResult {
    const count = `${votes} ${votes === 1 ? 'vote' : 'votes'}`;
    const may = this.live && this.you?.role === 'participant' && state === 'open' && this.you.id !== author.id;
    if (!may) return html`<span class="votes ${voted ? 'mine' : ''}" role="img" aria-label=${voted ? `${count}, one is yours` : count}>${icons.up}<b>${votes}</b></span>`;
    return html`<button class="votes" aria-pressed=${String(voted === true)} aria-label="I want to know this too: ${excerpt(body ?? '')}, ${count}"
      @click=${() => ask(this, { type: 'vote', target: seq, choices: voted ? [] : [0] })}>${icons.up}<b>${votes}</b></button>`;
  }

  #order({ message, state }: Question): TemplateResult {
    const { seq } = message;
    const pinned = this.state.pinned?.seq === seq;
    const turnTo = (to: QuestionState) => {
      this.#turned = seq;
      ask(this, { type: 'question', target: seq, state: to });
    };
    const turn = (to: QuestionState, words: string) => html`<button class="button small" @click=${() => turnTo(to)}>${words}</button>`;
    return html`<div class="actions" role="group" aria-label="This question">
      ${state === 'open' ? [turn('answered', 'Answered'), turn('dismissed', 'Dismiss')] : turn('open', 'Open again')}
      ${state === 'dismissed' ? nothing : html`<button class="button small" @click=${() => ask(this, { type: pinned ? 'unpin' : 'pin', target: seq })}>${pinned ? 'Unpin' : 'Pin'}</button>`}
    </div>`;
  }

  /** Open ones first. While somebody is at the list, everything keeps its place, and what is new goes to the end. */
  #sorted(questions: readonly Question[]): Question[] {
    const kept = (this.held || this.renderRoot.querySelector('.list:focus-within') !== null) && this.#places.size > 0;
    const place = ({ message }: Question) => (kept ? (this.#places.get(message.seq) ?? Infinity) : 0);
    const sorted = questions.toSorted((a, b) => compare(place(a), place(b)) || rank(a) - rank(b) || (this.order === 'votes' ? b.votes - a.votes : 0) || b.message.seq - a.message.seq);
    this.#places = new Map(sorted.map(({ message }, i) => [message.seq, i]));
    return sorted;
  }
}

const rank = ({ state }: Question): number => (state === 'open' ? 0 : 1);
const compare = (a: number, b: number): number => (a === b ? 0 : a < b ? -1 : 1);
const excerpt = (text: string): string => (text.length > 60 ? `${text.slice(0, 60)}…` : text);

customElements.define('lectern-questions', LecternQuestions);

declare global {
  interface HTMLElementTagNameMap {
    'lectern-questions': LecternQuestions;
  }
}
