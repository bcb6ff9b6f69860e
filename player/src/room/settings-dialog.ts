/** `<lectern-settings>`, for staff: how the room works. Everything holds from the moment it is switched. */
import { html, nothing, type TemplateResult } from 'lit';
import { live } from 'lit/directives/live.js';
import { EXPORTS } from '../api';
import { MODES, modeOf, span, type Mode } from '../core/mode';
import type { Settings, Words } from '../core/wire';
import { icons } from '../style/icons';
import { ask } from './asking';
import { Dialog } from './dialogs';

const SLOW = [0, 5_000, 10_000, 30_000, 60_000, 300_000, 600_000];
const DELAY = [0, 5_000, 10_000, 20_000, 60_000];
const EDIT = [0, 60_000, 300_000, 900_000, 3_600_000];
const RETENTION: readonly (readonly [string, number | null])[] = [
  ['Kept', null],
  ['30 days after the end', 30],
  ['6 months after the end', 183],
  ['1 year after the end', 365],
];

/** What the server writes into files. */
export interface Desk {
  export(format: keyof typeof EXPORTS): Promise<Blob>;
}

export class LecternSettings extends Dialog {
  static override properties = { settings: { attribute: false }, desk: { attribute: false }, name: {} };
  declare settings: Settings;
  declare desk: Desk | null;
  /** Of the files that are saved. */
  declare name: string;
  /** As they were typed; null: not yet. */
  #words: Record<keyof Words, string> | null = null;
  #hosts: string | null = null;

  constructor() {
    super();
    this.desk = null;
    this.name = 'room';
  }

  override async open(): Promise<void> {
    [this.#words, this.#hosts] = [null, null];
    await super.open();
  }

  protected override get heading(): string {
    return 'Room settings';
  }

  protected override content(): TemplateResult {
    const { settings } = this;
    return html`
      <fieldset class="modes"><legend>Mode</legend>
        ${Object.entries(MODES).map(([mode, { words, about }]) => this.#mode(mode as Mode, words, about))}
        ${modeOf(settings) === null ? html`<p class="small">Now it is a mixture of your own.</p>` : nothing}
      </fieldset>

      <fieldset><legend>What participants can do</legend>
        <label>Messages
          <select class="field" @change=${(event: Event) => this.#set({ messages: (event.target as HTMLSelectElement).value as Settings['messages'] })}>
            ${options(settings.messages, { open: 'appear at once', moderated: 'wait for approval', off: 'are off: only staff write' })}
          </select></label>
        ${this.#tick('questions', 'Ask questions and vote for them')}
        ${this.#tick('private', 'Write to the teaching team alone')}
        ${this.#tick('reactions', 'React')}
        ${this.#tick('hands', 'Raise hands')}
      </fieldset>

      <fieldset><legend>Pace</legend>
        <div class="pair">
          ${this.#choice('slow_ms', 'Slow mode', SLOW, (ms) => (ms === 0 ? 'Off' : `A message every ${span(ms)}`))}
          ${this.#choice('delay_ms', 'Others see a message', DELAY, (ms) => (ms === 0 ? 'at once' : `${span(ms)} later`))}
          ${this.#choice('edit_ms', 'Own messages can be edited', EDIT, (ms) => (ms === 0 ? 'not at all' : `for ${span(ms)}`))}
        </div>
      </fieldset>

      <fieldset><legend>Content</legend>
        <div class="pair">
          <label>Links
            <select class="field" @change=${(event: Event) => this.#set({ links: (event.target as HTMLSelectElement).value as Settings['links'] })}>
              ${options(settings.links, { on: 'are allowed', list: 'only to these hosts', off: 'are not allowed' })}
            </select></label>
          <label>Files
            <select class="field" @change=${(event: Event) => this.#set({ uploads: (event.target as HTMLSelectElement).value as Settings['uploads'] })}>
              ${options(settings.uploads, { staff: 'from the teaching team', participants: 'from everybody' })}
            </select></label>
        </div>
        ${settings.links === 'list'
          ? html`<form @submit=${this.#saveHosts}><label>Hosts, one a line
              <textarea class="field" rows="3" spellcheck="false" .value=${live(this.#hosts ?? settings.link_hosts.join('\n'))} @input=${(event: Event) => (this.#hosts = (event.target as HTMLTextAreaElement).value)}></textarea></label>
              <p><button class="button small">Save hosts</button></p></form>`
          : nothing}
        ${this.#wordLists()}
      </fieldset>

      <fieldset><legend>People</legend>
        <div class="pair">
          <label>Anonymous messages
            <select class="field" @change=${(event: Event) => this.#set({ anonymous: (event.target as HTMLSelectElement).value as Settings['anonymous'] })}>
              ${options(settings.anonymous, { off: 'are not possible', staff: 'staff see who', nobody: 'nobody sees who' })}
            </select></label>
          <label>In the replay
            <select class="field" @change=${(event: Event) => this.#set({ replay_names: (event.target as HTMLSelectElement).value as Settings['replay_names'] })}>
              ${options(settings.replay_names, { names: 'everybody has their name', pseudonyms: 'participants have pseudonyms', none: 'participants have no names' })}
            </select></label>
          <label>What was said is
            <select class="field" @change=${(event: Event) => this.#set({ retention_days: Number((event.target as HTMLSelectElement).value) || null })}>
              ${this.#retention().map(([words, days]) => html`<option value=${days ?? ''} .selected=${live(days === settings.retention_days)}>${days === null ? words : `erased ${words}`}</option>`)}
            </select></label>
        </div>
      </fieldset>

      ${this.desk ? this.#exports(this.desk) : nothing}
    `;
  }

  #mode(mode: Mode, words: string, about: string): TemplateResult {
    return html`<label class="tick"><input type="radio" name="mode" .checked=${live(modeOf(this.settings) === mode)} @change=${() => this.#set(MODES[mode].set)} /><span>${words}<span class="small">${about}</span></span></label>`;
  }

  #tick(name: 'questions' | 'private' | 'reactions' | 'hands', words: string): TemplateResult {
    return html`<label class="tick"><input type="checkbox" .checked=${live(this.settings[name])} @change=${(event: Event) => this.#set({ [name]: (event.target as HTMLInputElement).checked })} /><span>${words}</span></label>`;
  }

  /** With what was set elsewhere, by the API, as a choice of its own. */
  #choice(name: 'slow_ms' | 'delay_ms' | 'edit_ms', label: string, choices: readonly number[], words: (ms: number) => string): TemplateResult {
    const value = this.settings[name];
    const all = choices.includes(value) ? choices : [...choices, value].sort((a, b) => a - b);
    return html`<label>${label}
      <select class="field" @change=${(event: Event) => this.#set({ [name]: Number((event.target as HTMLSelectElement).value) })}>
        ${all.map((ms) => html`<option value=${ms} .selected=${live(ms === value)}>${words(ms)}</option>`)}
      </select></label>`;
  }

  #retention(): (readonly [string, number | null])[] {
    const { retention_days: days } = this.settings;
    return RETENTION.some(([, one]) => one === days) ? [...RETENTION] : [...RETENTION, [`${days} days after the end`, days]];
  }

  /** What is refused turns back with the word of it. */
  #set(set: Partial<Settings>): void {
    ask(this, { type: 'settings', set });
  }

  #saveHosts(event: Event): void {
    event.preventDefault();
    if (this.#hosts !== null) this.#set({ link_hosts: lines(this.#hosts) });
  }

  // --- words

  #wordLists(): TemplateResult {
    const { hold = [], reject = [] } = this.settings.words ?? {};
    const words = (this.#words ??= { hold: hold.join('\n'), reject: reject.join('\n') });
    const list = (verdict: keyof Words, label: string) => html`<label>${label}
      <textarea class="field" rows="4" spellcheck="false" placeholder="One a line" .value=${live(words[verdict])} @input=${(event: Event) => (words[verdict] = (event.target as HTMLTextAreaElement).value)}></textarea></label>`;
    return html`<form @submit=${(event: Event) => this.#saveWords(event, words)}>
      <div class="pair">${list('hold', 'Words that wait for approval')} ${list('reject', 'Words that are refused')}</div>
      <p class="small">A * before or behind a word finds it inside others, too.</p>
      <p><button class="button small">Save words</button></p>
    </form>`;
  }

  #saveWords(event: Event, { hold, reject }: Record<keyof Words, string>): void {
    event.preventDefault();
    this.#set({ words: { hold: lines(hold), reject: lines(reject) } });
  }

  // --- export

  #exports(desk: Desk): TemplateResult {
    return html`<fieldset><legend>Save what was said</legend>
      <div class="line">${Object.entries(EXPORTS).map(([format, words]) => html`<button type="button" class="button small" @click=${() => this.#save(desk, format as keyof typeof EXPORTS)}>${icons.download} ${words}</button>`)}</div>
    </fieldset>`;
  }

  async #save(desk: Desk, format: keyof typeof EXPORTS): Promise<void> {
    try {
      const link = document.createElement('a');
      link.href = URL.createObjectURL(await desk.export(format));
      link.download = `${this.name}.${format}`;
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
    } catch (error) {
      this.tell(error instanceof Error ? error.message : 'The server did not answer.', false);
    }
  }
}

const options = (value: string, all: Record<string, string>): TemplateResult[] => Object.entries(all).map(([one, words]) => html`<option value=${one} .selected=${live(one === value)}>${words}</option>`);

const lines = (text: string): string[] => text.split('\n').map((line) => line.trim()).filter(Boolean);

customElements.define('lectern-settings', LecternSettings);

declare global {
  interface HTMLElementTagNameMap {
    'lectern-settings': LecternSettings;
  }
}
