/** `<lectern-polls>`: polls and quizzes, the newest first. */
import { LitElement, html, nothing, type TemplateResult } from 'lit';
import { repeat } from 'lit/directives/repeat.js';
import { styleMap } from 'lit/directives/style-map.js';
import { clockTime, positionTime } from '../core/format';
import type { WallMs } from '../core/time';
import { isStaff, type Person, type Poll, type State } from '../core/wire';
import { icons } from '../style/icons';
import { baseStyles, sheet } from '../style/shared';
import { ask } from './asking';
import { KeepFocus } from './keep-focus';
import panel from './panel.css?inline';
import css from './polls.css?inline';

/** Tells `newpoll`. */
export class LecternPolls extends LitElement {
  static override styles = [baseStyles, sheet(panel), sheet(css)];
  static override properties = { state: { attribute: false }, you: { attribute: false }, live: { attribute: false }, now: { attribute: false } };
  declare state: State;
  declare you: Person | null;
  /** One can vote: it is now, and not the room as it was. */
  declare live: boolean;
  /** The server's clock. */
  declare now: () => WallMs;
  /** What is ticked and not voted yet, by poll. */
  #ticked = new Map<number, number[]>();
  /** Voted, and about to vote otherwise. */
  #again: number | null = null;
  #tick: ReturnType<typeof setInterval> | undefined;

  constructor() {
    super();
    this.live = true;
    this.you = null;
    this.now = Date.now;
    new KeepFocus(this, () => this.renderRoot.querySelector<HTMLElement>('.list'));
  }

  override connectedCallback(): void {
    super.connectedCallback();
    // Only the clocks move by themselves.
    this.#tick = setInterval(() => {
      if (this.live && this.state.polls.some(({ closed, closes }) => !closed && closes !== null)) this.requestUpdate();
    }, 500);
  }

  override disconnectedCallback(): void {
    super.disconnectedCallback();
    clearInterval(this.#tick);
  }

  override render() {
    const polls = this.state.polls.toReversed();
    return html`
      ${isStaff(this.you) && this.live
        ? html`<div class="head"><h3>Polls and quizzes</h3><button class="button small primary" @click=${() => this.dispatchEvent(new Event('newpoll'))}>${icons.plus} New poll</button></div>`
        : nothing}
      ${polls.length === 0
        ? html`<p class="empty">${this.live ? 'No polls yet.' : 'No polls up to here.'}</p>`
        : html`<ol class="list" tabindex="-1">${repeat(polls, ({ seq }) => seq, (poll) => html`<li class="card" data-poll=${poll.seq}>${this.#poll(poll)}</li>`)}</ol>`}
    `;
  }

  #poll(poll: Poll): TemplateResult {
    const votes = this.live && !poll.closed && this.you?.role === 'participant' && !this.#over(poll);
    const voting = votes && (poll.voted === undefined || this.#again === poll.seq);
    return html`
      <p class="kind">${poll.quiz ? 'Quiz' : 'Poll'} · ${this.#standing(poll)}</p>
      ${voting ? this.#ballot(poll) : this.#results(poll)}
      ${votes && !voting ? html`<div class="actions"><button class="button small" @click=${() => this.#voteAgain(poll)}>Change my vote</button></div>` : nothing}
      ${isStaff(this.you) && this.live && !poll.closed ? html`<div class="actions"><button class="button small" @click=${() => ask(this, { type: 'close', target: poll.seq })}>Close the ${poll.quiz ? 'quiz' : 'poll'}</button></div>` : nothing}
    `;
  }

  /** Its close comes from the server, a moment later. */
  #over({ closes }: Poll): boolean {
    return closes !== null && this.now() >= closes;
  }

  #standing(poll: Poll): TemplateResult | string {
    if (poll.closed) return html`closed · <time title="Position in the lecture">${positionTime(poll.at)}</time>`;
    if (!this.live) return html`open · <time title="Position in the lecture">${positionTime(poll.at)}</time>`;
    if (poll.closes === null) return html`<span class="open">open</span>`;
    return html`<span class="open">open</span> · <span role="timer" aria-live="off" class="timer">${icons.clock} ${clockTime(Math.ceil(Math.max(0, poll.closes - this.now()) / 1000))}</span>`;
  }

  #ballot(poll: Poll): TemplateResult {
    const ticked = this.#ticked.get(poll.seq) ?? poll.voted ?? [];
    const type = poll.multiple ? 'checkbox' : 'radio';
    return html`<form @submit=${(event: Event) => this.#vote(event, poll)}>
      <fieldset><legend class="question" dir="auto">${poll.question}</legend>
        ${poll.multiple ? html`<p class="hint">Choose all that apply.</p>` : nothing}
        ${poll.options.map(
          (option, i) => html`<label class="option"><input type=${type} name="choice" .checked=${ticked.includes(i)} @change=${(event: Event) => this.#mark(poll, i, (event.target as HTMLInputElement).checked)} /><span dir="auto">${option}</span></label>`,
        )}
      </fieldset>
      <div class="actions"><button class="button small primary" aria-disabled=${String(ticked.length === 0)}>Vote</button>${voters(poll)}</div>
    </form>`;
  }

  #results(poll: Poll): TemplateResult {
    const { counts, right, voted } = poll;
    const waits = !poll.closed && counts === null;
    return html`<h3 class="question" dir="auto">${poll.question}</h3>
      <ol class="results">${poll.options.map((option, i) => this.#bar(option, counts?.[i] ?? null, poll.voters, voted?.includes(i) === true, right?.includes(i) === true))}</ol>
      <p class="meta">${voters(poll)}${waits ? html`<span>${voted ? 'Your vote is in. ' : ''}Results are shown when it closes.</span>` : nothing}</p>`;
  }

  #bar(option: string, count: number | null, voters: number, mine: boolean, right: boolean): TemplateResult {
    const part = count === null || voters === 0 ? 0 : count / voters;
    return html`<li class="result ${right ? 'right' : ''}">
      <span class="bar" style=${styleMap({ '--part': String(part) })}></span>
      <span class="name" dir="auto">${option}</span>
      ${right ? html`<span class="badge good">${icons.check} Right</span>` : nothing}
      ${mine ? html`<span class="badge">Your vote</span>` : nothing}
      ${count === null ? nothing : html`<span class="part">${Math.round(part * 100)} %<span class="unseen">, ${count} ${count === 1 ? 'vote' : 'votes'}</span></span>`}
    </li>`;
  }

  #mark({ seq, multiple, voted }: Poll, option: number, on: boolean): void {
    const others = multiple ? (this.#ticked.get(seq) ?? voted ?? []).filter((one) => one !== option) : [];
    this.#ticked.set(seq, on ? [...others, option].sort((a, b) => a - b) : others);
    this.requestUpdate();
  }

  #voteAgain({ seq }: Poll): void {
    this.#again = seq;
    this.requestUpdate();
    void this.updateComplete.then(() => this.renderRoot.querySelector<HTMLElement>(`[data-poll="${seq}"] input`)?.focus());
  }

  #vote(event: Event, { seq, voted }: Poll): void {
    event.preventDefault();
    const choices = this.#ticked.get(seq) ?? voted ?? [];
    if (choices.length === 0) return;
    this.#again = null;
    this.#ticked.delete(seq);
    ask(this, { type: 'vote', target: seq, choices });
    this.requestUpdate();
  }
}

const voters = ({ voters: count }: Poll): TemplateResult => html`<span class="voters">${count} ${count === 1 ? 'person' : 'people'} voted</span>`;

customElements.define('lectern-polls', LecternPolls);

declare global {
  interface HTMLElementTagNameMap {
    'lectern-polls': LecternPolls;
  }
}
