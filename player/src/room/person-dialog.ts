/** `<lectern-person-dialog>`, for staff: what can be done about one person. */
import { html, nothing, type TemplateResult } from 'lit';
import { span } from '../core/mode';
import type { WallMs } from '../core/time';
import { isStaff, type Measure, type Person, type State } from '../core/wire';
import { ask } from './asking';
import { Dialog } from './dialogs';
import { MEASURES } from './people';

const TIMEOUTS = [60_000, 300_000, 600_000, 3_600_000];

export class LecternPersonDialog extends Dialog {
  static override properties = { state: { attribute: false }, person: { attribute: false }, erase: { attribute: false } };
  declare state: State;
  declare person: Person | null;
  /** null: may not. */
  declare erase: ((person: Person) => Promise<void>) | null;
  protected override readonly sheet = true;
  #purge = false;
  #note = '';
  #forMs = 300_000;
  #erasing = false;

  constructor() {
    super();
    this.person = null;
    this.erase = null;
  }

  /** Looked at once more when it opens. */
  async openFor(person: Person): Promise<void> {
    [this.person, this.#purge, this.#note, this.#erasing] = [person, false, '', false];
    await this.open();
  }

  protected override get heading(): string {
    return this.person?.name ?? '';
  }

  protected override content(): TemplateResult {
    const { person } = this;
    if (!person) return html``;
    const sanction = this.state.staff?.sanctions.find((one) => one.person.id === person.id);
    const notes = this.state.staff?.notes.filter((note) => note.person === person.id) ?? [];
    return html`
      ${sanction ? html`<div class="notice warn line"><span class="grow">${MEASURES[sanction.what]}${sanction.until === null ? '' : ` for ${span(sanction.until - now())}`}</span><button class="button small" @click=${() => this.#decide('lift')}>Lift</button></div>` : nothing}
      ${isStaff(person) ? html`<p class="notice">${person.name} is of the teaching team.</p>` : this.#measures()}
      <form class="stack" @submit=${this.#write}>
        <h3>Notes of the teaching team</h3>
        ${notes.map(({ by, body }) => html`<p class="notice">${body}<span class="small">${by?.name ?? ''}</span></p>`)}
        <div class="line"><input class="field" aria-label="A note on ${person.name}" placeholder="Only staff see it" autocomplete="off" .value=${this.#note} @input=${(event: Event) => (this.#note = (event.target as HTMLInputElement).value)} /><button class="button">Note</button></div>
      </form>
      ${this.erase && !isStaff(person) ? this.#erase(person, this.erase) : nothing}`;
  }

  #measures(): TemplateResult {
    return html`<fieldset><legend>Stop this person from writing</legend>
      <div class="line">
        <button type="button" class="button" @click=${() => this.#decide('mute')}>Mute</button>
 <button type="button" class="button live" @click=${() => this.#decide('ban')}>Ban</button>
      </div>
      <div class="line">
        <button type="button" class="button" @click=${() => this.#decide('timeout')}>Time out for</button>
        <select class="field" aria-label="Time out for" @change=${(event: Event) => (this.#forMs = TIMEOUTS[(event.target as HTMLSelectElement).selectedIndex] ?? this.#forMs)}>
          ${TIMEOUTS.map((ms) => html`<option ?selected=${ms === this.#forMs}>${span(ms)}</option>`)}
        </select>
      </div>
      <label class="tick"><input type="checkbox" .checked=${this.#purge} @change=${(event: Event) => (this.#purge = (event.target as HTMLInputElement).checked)} /><span>Also delete their recent messages</span></label>
      <p class="small">Who is muted still reads; who is banned has to leave the room.</p>
    </fieldset>`;
  }

  #decide(what: Measure): void {
    if (!this.person) return;
    ask(this, { type: 'sanction', person: this.person.id, what, ...(what === 'timeout' && { for_ms: this.#forMs }), ...(what !== 'lift' && this.#purge && { purge: true }) });
  }

  #write(event: Event): void {
    event.preventDefault();
    const body = this.#note.trim();
    if (!this.person || body === '') return;
    ask(this, { type: 'note', person: this.person.id, body });
    this.#note = '';
    this.requestUpdate();
  }

  #erase(person: Person, erase: (person: Person) => Promise<void>): TemplateResult {
    const go = () => {
      this.#erasing = false;
      erase(person).then(
        () => this.tell(`Everything that ${person.name} wrote is erased.`, true),
        (error: unknown) => this.tell(error instanceof Error ? error.message : 'It was not erased.', false),
      );
    };
    const sure = (erasing: boolean) => {
      this.#erasing = erasing;
      this.requestUpdate();
      void this.updateComplete.then(() => this.renderRoot.querySelector<HTMLElement>('.erasing button')?.focus());
    };
    return html`<div class="erasing"><h3>Erase</h3>
      <p class="small">All that ${person.name} wrote leaves the room, the replay and its files. This cannot be undone.</p>
      ${this.#erasing
        ? html`<div class="line" role="group" aria-label="Erase everything?"><button class="button live" @click=${go}>Erase everything</button><button class="button" @click=${() => sure(false)}>Keep it</button></div>`
        : html`<button class="button" @click=${() => sure(true)}>Erase everything…</button>`}</div>`;
  }
}

const now = (): WallMs => Date.now();

customElements.define('lectern-person-dialog', LecternPersonDialog);

declare global {
  interface HTMLElementTagNameMap {
    'lectern-person-dialog': LecternPersonDialog;
  }
}
