/** `<lectern-poll-dialog>`: a new poll or quiz. */
import { html, nothing, type TemplateResult } from 'lit';
import { icons } from '../style/icons';
import { ask } from './asking';
import { Dialog } from './dialogs';

const MOST = 10;
const TIMERS: readonly (readonly [string, number | null])[] = [
  ['Until I close it', null],
  ['30 seconds', 30_000],
  ['1 minute', 60_000],
  ['2 minutes', 120_000],
  ['5 minutes', 300_000],
  ['10 minutes', 600_000],
];
const LONGEST_QUESTION = 500;
const LONGEST_OPTION = 200;

export class LecternPollDialog extends Dialog {
  #question = '';
  #options = ['', ''];
  #right = new Set<number>();
  #quiz = false;
  #multiple = false;
  #live = true;
  #openMs: number | null = null;
  #problem = '';

  protected override get heading(): string {
    return this.#quiz ? 'New quiz' : 'New poll';
  }

  protected override content(): TemplateResult {
    return html`<form id="poll" class="through" @submit=${this.#submit}>
      ${this.#problem ? html`<p id="wrong" class="notice bad" role="alert">${this.#problem}</p>` : nothing}
      <fieldset class="line"><legend class="unseen">Kind</legend>
        ${this.#radio('kind', 'Poll', !this.#quiz, () => (this.#quiz = false))} ${this.#radio('kind', 'Quiz, with right answers', this.#quiz, () => (this.#quiz = true))}
      </fieldset>
      <label>Question <input class="field" name="question" maxlength=${LONGEST_QUESTION} autocomplete="off" aria-describedby="wrong" .value=${this.#question} @input=${(event: Event) => (this.#question = valueOf(event))} /></label>
      <fieldset><legend>Answers</legend>
        ${this.#quiz ? html`<p class="small">Tick what is right.</p>` : nothing}
        ${this.#options.map((option, i) => this.#option(option, i))}
        ${this.#options.length < MOST ? html`<div><button type="button" class="button small" @click=${this.#add}>${icons.plus} Add an answer</button></div>` : nothing}
      </fieldset>
      <div class="pair">
        <label>Open
          <select class="field" @change=${(event: Event) => (this.#openMs = TIMERS[(event.target as HTMLSelectElement).selectedIndex]?.[1] ?? null)}>
            ${TIMERS.map(([words, ms]) => html`<option ?selected=${ms === this.#openMs}>${words}</option>`)}
          </select></label>
        <label>Participants see the results
          <select class="field" @change=${(event: Event) => (this.#live = (event.target as HTMLSelectElement).selectedIndex === 0)}>
            <option ?selected=${this.#live}>as people vote</option>
            <option ?selected=${!this.#live}>when it closes</option>
          </select></label>
      </div>
      <label class="tick"><input type="checkbox" .checked=${this.#multiple} @change=${(event: Event) => (this.#multiple = checkedOf(event))} /><span>More than one answer may be chosen</span></label>
    </form>`;
  }

  protected override bottom(): TemplateResult {
    return html`<div class="bottom"><button type="button" class="button" @click=${() => this.close()}>Cancel</button><button class="button primary" form="poll" @click=${this.#submit}>Open the ${this.#quiz ? 'quiz' : 'poll'}</button></div>`;
  }

  #radio(name: string, words: string, checked: boolean, choose: () => void): TemplateResult {
    const change = () => {
      choose();
      this.requestUpdate();
    };
    return html`<label class="tick"><input type="radio" name=${name} .checked=${checked} @change=${change} /><span>${words}</span></label>`;
  }

  #option(option: string, i: number): TemplateResult {
    return html`<div class="line">
      ${this.#quiz ? html`<label class="tick" title="Right"><input type="checkbox" aria-label="Answer ${i + 1} is right" .checked=${this.#right.has(i)} @change=${(event: Event) => this.#mark(i, checkedOf(event))} /></label>` : nothing}
      <input class="field" aria-label="Answer ${i + 1}" maxlength=${LONGEST_OPTION} autocomplete="off" placeholder="Answer ${i + 1}" .value=${option} @input=${(event: Event) => (this.#options[i] = valueOf(event))} />
      ${this.#options.length > 2 ? html`<button type="button" class="shut" aria-label="Remove answer ${i + 1}" @click=${() => this.#remove(i)}>${icons.close}</button>` : nothing}
    </div>`;
  }

  #mark(i: number, right: boolean): void {
    if (right) this.#right.add(i);
    else this.#right.delete(i);
  }

  #add(): void {
    this.#options = [...this.#options, ''];
    this.#focusOption(this.#options.length - 1);
  }

  #remove(i: number): void {
    this.#options = this.#options.filter((_, j) => j !== i);
    this.#right = new Set([...this.#right].filter((j) => j !== i).map((j) => (j > i ? j - 1 : j)));
    this.#focusOption(Math.min(i, this.#options.length - 1));
  }

  #focusOption(i: number): void {
    this.requestUpdate();
    void this.updateComplete.then(() => this.renderRoot.querySelector<HTMLElement>(`[aria-label="Answer ${i + 1}"]`)?.focus());
  }

  #submit(event: Event): void {
    event.preventDefault();
    const kept = this.#options.map((option, i) => ({ option: option.trim(), right: this.#right.has(i) })).filter(({ option }) => option !== '');
    const right = kept.flatMap((one, i) => (one.right ? [i] : []));
    this.#problem = problemOf(this.#question, kept.map(({ option }) => option), this.#quiz ? right : null, this.#multiple);
    this.requestUpdate();
    if (this.#problem) return;
    ask(this, { type: 'poll', question: this.#question.trim(), options: kept.map(({ option }) => option), multiple: this.#multiple, ...(this.#quiz && { right }), results: this.#live ? 'live' : 'closed', open_ms: this.#openMs });
    [this.#question, this.#options, this.#right] = ['', ['', ''], new Set()];
    this.close();
  }
}

function problemOf(question: string, options: readonly string[], right: readonly number[] | null, multiple: boolean): string {
  if (question.trim() === '') return 'The question is missing.';
  if (options.length < 2) return 'At least two answers are needed.';
  if (new Set(options).size < options.length) return 'Two answers are the same.';
  if (right?.length === 0) return 'Tick the right answer.';
  return right && right.length > 1 && !multiple ? 'With one choice only one answer can be right.' : '';
}

const valueOf = (event: Event): string => (event.target as HTMLInputElement).value;
const checkedOf = (event: Event): boolean => (event.target as HTMLInputElement).checked;

customElements.define('lectern-poll-dialog', LecternPollDialog);

declare global {
  interface HTMLElementTagNameMap {
    'lectern-poll-dialog': LecternPollDialog;
  }
}
