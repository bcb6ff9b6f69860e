/** `<lectern-composer>`: where one writes. What is refused comes back with the reason; nothing typed is ever lost. */
import { LitElement, html, nothing, type PropertyValues, type TemplateResult } from 'lit';
import { classMap } from 'lit/directives/class-map.js';
import { EMOJI } from '../core/emoji';
import { completed, completionAt, mentioned, type Completion } from '../core/mentions';
import { span, type Kind } from '../core/mode';
import type { Attached, Person, Say } from '../core/wire';
import { icons } from '../style/icons';
import { baseStyles, sheet } from '../style/shared';
import { Attachments, type Upload } from './attachments';
import css from './composer.css?inline';
import { KeepFocus } from './keep-focus';

/** The counter shows when fewer than this part of the limit is left. */
const NEARLY = 0.2;
/** Often enough for a number of seconds. */
const TICK_MS = 250;
const EMOJI_PER_ROW = 8;

export interface Draft {
  body: string;
  kind: Kind;
  anonymous: boolean;
  announcement: boolean;
  files: Attached[];
  mentions: string[];
  replyTo: Reply | null;
}

export interface Reply {
  seq: number;
  name: string;
  body: string;
  /** A private answer to this person. */
  to?: string;
}

export interface Editing {
  seq: number;
  body: string;
}

/**
 * Tells `say` (detail: Draft; `preventDefault` on it keeps the text in the box), `correct` (detail: Editing) and
 * `unrelate`: no reply, no edit any more; `orphaned`: what had the focus is gone, and nothing here can take it.
 */
export class LecternComposer extends LitElement {
  static override styles = [baseStyles, sheet(css)];
  static override properties = {
    limit: { type: Number },
    kinds: { attribute: false },
    fixed: { attribute: false },
    hint: {},
    rules: { attribute: false },
    closed: { attribute: false },
    anonymity: {},
    announces: { type: Boolean },
    upload: { attribute: false },
    people: { attribute: false },
    reply: { attribute: false },
    editing: { attribute: false },
    slowUntil: { type: Number },
  };
  declare limit: number;
  /** What one may write here. */
  declare kinds: readonly Kind[];
  /** The only kind that is wanted where the composer stands now. */
  declare fixed: Kind | null;
  /** Where the message will stand, if not at the live edge. */
  declare hint: string;
  declare rules: readonly string[];
  /** Nothing can be sent (any more); what was typed can still be read and copied. */
  declare closed: boolean;
  /** Whether one may write without one's name, and who sees it then. */
  declare anonymity: 'off' | 'staff' | 'nobody';
  declare announces: boolean;
  /** null: no files here. */
  declare upload: Upload | null;
  /** Who can be mentioned. */
  declare people: readonly Person[];
  declare reply: Reply | null;
  declare editing: Editing | null;
  /** Slow mode, Unix ms. */
  declare slowUntil: number;

  #text = '';
  #kind: Kind = 'message';
  #anonymous = false;
  #announcement = false;
  #attachments = new Attachments(() => this.requestUpdate());
  #problem = '';
  /** Of a refusal. */
  #notBeforeMs = 0;
  #waited = false;
  #tick: ReturnType<typeof setInterval> | undefined;
  #status = '';
  #note = '';
  #completion: Completion | null = null;
  #picked = 0;
  #palette = false;
  /** What was being written when one turned to editing. */
  #stash: string | null = null;

  constructor() {
    super();
    this.limit = 1000;
    this.kinds = ['message'];
    this.fixed = null;
    this.hint = '';
    this.rules = [];
    this.closed = false;
    this.anonymity = 'off';
    this.announces = false;
    this.upload = null;
    this.people = [];
    this.reply = null;
    this.editing = null;
    this.slowUntil = 0;
    new KeepFocus(this, () => this.#box ?? this.#orphaned());
  }

  override disconnectedCallback(): void {
    super.disconnectedCallback();
    clearInterval(this.#tick);
  }

  /** The text that was refused stands in the box again, before whatever was typed since. */
  giveBack(say: Say, why: string, retryAfterMs: number, files: readonly Attached[] = []): void {
    this.#text = this.#text === '' ? say.body : `${say.body}\n${this.#text}`;
    this.#kind = say.to === 'staff' ? 'staff' : say.question ? 'question' : 'message';
    this.#anonymous = say.anonymous === true;
    this.#announcement = say.announcement === true;
    this.#attachments.restore(files);
    this.#problem = why;
    this.#note = '';
    this.#notBeforeMs = Date.now() + retryAfterMs;
    this.requestUpdate();
  }

  /** What became of what was sent. */
  tell(words: string): void {
    this.#note = words;
    this.requestUpdate();
  }

  override focus(): void {
    this.#box?.focus();
  }

  protected override willUpdate(changed: PropertyValues): void {
    if (changed.has('editing')) this.#turnToEditing(changed.get('editing') as Editing | null | undefined);
    const waiting = this.#waitMs > 0;
    if (waiting && !this.#waited) this.#startWaiting();
    this.#waited = waiting;
  }

  override render() {
    if (this.closed) return this.#kept();
    const left = this.#left;
    const kind = this.#kindNow;
    const privately = this.editing ? '' : this.reply?.to ? `Goes to ${this.reply.name} and the teaching team only` : kind === 'staff' ? 'Goes to the teaching team only' : '';
    return html`<form class=${classMap({ private: privately !== '' })} @submit=${this.#submit} @dragover=${this.#dragged} @drop=${this.#dropped}>
      ${this.#problem ? html`<p id="problem" class="notice bad" role="alert">${this.#problem}</p>` : nothing}
      ${this.#related()}
      <div class="row">
        <div class="box">
          ${this.#offered()}
          <textarea class="field" rows="1" aria-label=${LABELS[kind]} aria-describedby="problem about left" enterkeyhint="send" autocomplete="off" aria-autocomplete="list"
            aria-controls=${this.#completion ? 'people' : nothing} aria-activedescendant=${this.#completion ? `person-${this.#picked}` : nothing}
            placeholder=${this.editing ? 'Your message' : PLACEHOLDERS[kind]} .value=${this.#text}
            @input=${this.#typed} @keydown=${this.#key} @paste=${this.#pasted} @blur=${this.#dismissOffer} @click=${this.#lookForName}></textarea>
        </div>
        ${this.#sendButton(left)}
      </div>
      <p id="about" class="about" ?hidden=${!this.hint && this.rules.length === 0 && privately === ''}>
        ${privately ? html`<span class="only">${icons.lock} ${privately}</span>` : nothing}
        ${this.hint ? html`<span>${icons.clock} ${this.hint}</span>` : nothing}
        ${this.rules.map((rule) => html`<span>${rule}</span>`)}
      </p>
      <div class="bar">${this.#kinds()}<span class="grow"></span>${this.#tools()}</div>
      ${this.#ticks(kind)}
      ${this.#files()}
      <p id="left" class=${left < 0 ? 'left over' : 'left'} ?hidden=${left > this.limit * NEARLY}>${left < 0 ? `${-left} characters too many` : `${left} characters left`}</p>
      <p class="note" role="status" ?hidden=${this.#note === ''}>${this.#note}</p>
      <p class="unseen" role="status">${this.#status}</p>
    </form>`;
  }

  #kept() {
    if (this.#text === '') return nothing;
    return html`<p id="problem" class="notice warn" role="status">Not sent: nothing can be written now. Your text is kept here to copy.</p>
      <textarea class="field" rows="1" readonly aria-label="Your message that was not sent" aria-describedby="problem" .value=${this.#text}></textarea>`;
  }

  /** What it answers, or which message it changes. */
  #related() {
    const { reply, editing } = this;
    if (!reply && !editing) return nothing;
    const words = editing ? 'Editing your message' : reply?.to ? html`Private answer to <b>${reply.name}</b>` : html`Replying to <b>${reply?.name}</b>`;
    return html`<p class="related"><span>${words}${editing ? nothing : html`: <q>${reply?.body}</q>`}</span>
      <button type="button" class="tool" aria-label=${editing ? 'Do not edit' : 'Do not reply'} @click=${this.#unrelate}>${icons.close}</button></p>`;
  }

  #kinds() {
    if (this.editing ?? this.reply?.to) return nothing;
    const kinds = this.#offeredKinds;
    if (kinds.length < 2) return nothing;
    return html`<fieldset class="kinds"><legend class="unseen">What you write</legend>
      ${kinds.map(
        (kind) => html`<label class="kind ${kind}"><input type="radio" name="kind" .checked=${this.#kindNow === kind} @change=${() => this.#choose(kind)} /><span>${ICONS[kind]} ${WORDS[kind]}</span></label>`,
      )}
    </fieldset>`;
  }

  #sendButton(left: number) {
    const wait = Math.ceil(this.#waitMs / 1000);
    const label = this.editing ? 'Save' : 'Send';
    return html`<button class="button primary send" title="${label} (Enter)" aria-disabled=${String(!this.#sendable(left))}><span class="unseen">${label}</span>
      ${wait > 0 ? html`<span class="wait" aria-hidden="true">${wait}</span>` : this.editing ? icons.check : icons.send}</button>`;
  }

  #ticks(kind: Kind) {
    const anonymous = this.anonymity !== 'off' && !this.announces && kind !== 'staff' && !this.editing;
    const announces = this.announces && kind === 'message' && !this.editing;
    if (!anonymous && !announces) return nothing;
    return html`<div class="ticks">
      ${anonymous
        ? html`<label class="tick"><input type="checkbox" .checked=${this.#anonymous} @change=${(event: Event) => (this.#anonymous = (event.target as HTMLInputElement).checked)} />
            <span>Anonymous <span class="small">${this.anonymity === 'staff' ? '(the teaching team sees your name)' : '(nobody sees your name)'}</span></span></label>`
        : nothing}
      ${announces
        ? html`<label class="tick"><input type="checkbox" .checked=${this.#announcement} @change=${(event: Event) => (this.#announcement = (event.target as HTMLInputElement).checked)} /><span>Announcement</span></label>`
        : nothing}
    </div>`;
  }

  #tools() {
    return html`${this.upload && !this.editing
        ? html`<button type="button" class="tool" aria-label="Attach files" title="Attach files" @click=${() => this.renderRoot.querySelector<HTMLInputElement>('#file')?.click()}>${icons.clip}</button>
            <input id="file" type="file" multiple hidden @change=${this.#chosen} />`
        : nothing}
      <span class="holder">
        <button type="button" class="tool emoji" aria-label="Emoji" title="Emoji" aria-expanded=${String(this.#palette)} aria-controls="palette" @click=${this.#togglePalette}>${icons.smile}</button>
        ${this.#palette ? this.#emoji() : nothing}
      </span>`;
  }

  #emoji() {
    return html`<div id="palette" class="palette" role="group" aria-label="Emoji" @keydown=${this.#paletteKey} @focusout=${this.#paletteLeft}>
      ${EMOJI.map(([emoji, name], i) => html`<button type="button" tabindex=${i === 0 ? 0 : -1} aria-label=${name} title=${name} @click=${() => this.#insert(emoji)}>${emoji}</button>`)}
    </div>`;
  }

  #offered() {
    if (!this.#completion) return nothing;
    return html`<ul id="people" class="offered" role="listbox" aria-label="People">
      ${this.#completion.people.map(
        (person, i) => html`<li id="person-${i}" role="option" aria-selected=${String(i === this.#picked)} @mousedown=${(event: Event) => this.#take(event, person)}>${person.name}</li>`,
      )}
    </ul>`;
  }

  #files() {
    if (this.#attachments.list.length === 0) return nothing;
    return html`<ul class="files" aria-label="Attached files">${this.#attachments.list.map(
      (one): TemplateResult => html`<li>
        <span class="file">${one.name} <span class="small">${one.size}</span></span>
        ${one.problem ? html`<span class="bad" role="alert">${one.problem}</span>` : one.attached ? nothing : html`<progress aria-label="Sending ${one.name}" max="1" .value=${one.part}></progress>`}
        <button type="button" class="tool" aria-label="Remove ${one.name}" @click=${() => this.#removeFile(one)}>${icons.close}</button>
      </li>`,
    )}</ul>`;
  }

  protected override updated(): void {
    const box = this.#box;
    if (!box) return;
    box.style.height = 'auto';
    box.style.height = `${box.scrollHeight + 2}px`;
  }

  get #box(): HTMLTextAreaElement | null {
    return this.renderRoot.querySelector('textarea');
  }

  get #left(): number {
    return this.limit - Array.from(this.#text).length;
  }

  get #offeredKinds(): readonly Kind[] {
    return this.fixed !== null ? [this.fixed] : this.kinds;
  }

  /** What is chosen, as far as it is allowed. */
  get #kindNow(): Kind {
    const kinds = this.#offeredKinds;
    return kinds.includes(this.#kind) ? this.#kind : (kinds[0] ?? 'message');
  }

  get #waitMs(): number {
    const until = this.editing ? this.#notBeforeMs : Math.max(this.slowUntil, this.#notBeforeMs);
    return Math.max(0, until - Date.now());
  }

  #sendable(left: number): boolean {
    const something = this.#text.trim() !== '' || (this.#attachments.ready.length > 0 && !this.editing);
    return something && left >= 0 && this.#waitMs <= 0 && !this.#attachments.busy;
  }

  #orphaned(): null {
    this.dispatchEvent(new Event('orphaned'));
    return null;
  }

  // --- waiting

  #startWaiting(): void {
    this.#status = `You can send again in ${span(this.#waitMs)}.`;
    clearInterval(this.#tick);
    this.#tick = setInterval(() => this.#countDown(), TICK_MS);
  }

  #countDown(): void {
    if (this.#waitMs <= 0) {
      clearInterval(this.#tick);
      [this.#status, this.#problem] = ['You can send again.', ''];
    }
    this.requestUpdate();
  }

  // --- writing

  #typed(event: Event): void {
    this.#text = (event.target as HTMLTextAreaElement).value;
    this.#note = '';
    if (this.#waitMs <= 0) this.#problem = '';
    this.#lookForName();
    this.requestUpdate();
  }

  #lookForName(): void {
    const box = this.#box;
    const before = this.#completion;
    this.#completion = box && box.selectionStart === box.selectionEnd ? completionAt(this.#text, box.selectionStart, this.people) : null;
    this.#picked = 0;
    if (this.#completion && !before) this.#status = `${this.#completion.people.length} people: choose with the arrow keys, take with Enter.`;
    if (this.#completion !== before) this.requestUpdate();
  }

  #dismissOffer(): void {
    if (!this.#completion) return;
    this.#completion = null;
    this.requestUpdate();
  }

  /** The box keeps the focus. */
  #take(event: Event, person: Person): void {
    event.preventDefault();
    this.#complete(person);
  }

  #complete(person: Person): void {
    if (!this.#completion) return;
    const { text, caret } = completed(this.#text, this.#completion, person);
    [this.#text, this.#completion] = [text, null];
    this.requestUpdate();
    this.#putCaret(caret);
  }

  #putCaret(caret: number): void {
    void this.updateComplete.then(() => {
      this.#box?.focus();
      this.#box?.setSelectionRange(caret, caret);
    });
  }

  #key(event: KeyboardEvent): void {
    // Enter that confirms a composition (Japanese, Chinese …) is not ours.
    if (event.isComposing) return;
    if (this.#completion && this.#offerKey(event, this.#completion)) event.preventDefault();
    else if (event.key === 'Escape' && (this.reply ?? this.editing)) this.#unrelate();
    else if (event.key === 'Enter' && !event.shiftKey) this.#submit(event);
  }

  /** True where the key was for the list of people. */
  #offerKey({ key }: KeyboardEvent, { people }: Completion): boolean {
    const step = key === 'ArrowDown' ? 1 : key === 'ArrowUp' ? -1 : 0;
    const person = people[this.#picked];
    if (step !== 0) this.#picked = (this.#picked + step + people.length) % people.length;
    else if ((key === 'Enter' || key === 'Tab') && person) this.#complete(person);
    else if (key === 'Escape') this.#completion = null;
    else return false;
    this.requestUpdate();
    return true;
  }

  #choose(kind: Kind): void {
    this.#kind = kind;
    this.requestUpdate();
    this.#status = kind === 'staff' ? 'Goes to the teaching team only.' : '';
  }

  #submit(event: Event): void {
    event.preventDefault();
    if (!this.#sendable(this.#left)) {
      if (this.#waitMs > 0) this.#status = `You can send again in ${span(this.#waitMs)}. Your text is kept.`;
      this.requestUpdate();
      this.focus();
      return;
    }
    if (this.editing) this.#correct(this.editing);
    else this.#say();
    this.requestUpdate();
    this.focus();
  }

  #say(): void {
    const body = this.#text.trim();
    const kind = this.#kindNow;
    const draft: Draft = {
      body,
      kind,
      anonymous: this.#anonymous && this.anonymity !== 'off' && kind !== 'staff',
      announcement: this.#announcement && this.announces && kind === 'message',
      files: this.#attachments.ready,
      mentions: mentioned(body, this.people),
      replyTo: this.reply,
    };
    if (!this.dispatchEvent(new CustomEvent('say', { detail: draft, cancelable: true }))) return;
    [this.#text, this.#problem, this.#note, this.#announcement] = ['', '', '', false];
    this.#attachments.clear();
  }

  #correct({ seq }: Editing): void {
    this.dispatchEvent(new CustomEvent('correct', { detail: { seq, body: this.#text.trim() } }));
  }

  /** The box is for the message that is edited; what was in it comes back afterwards. */
  #turnToEditing(before: Editing | null | undefined): void {
    if (this.editing && !before) this.#stash = this.#text;
    if (this.editing) [this.#text, this.#problem, this.#notBeforeMs] = [this.editing.body, '', 0];
    else if (before) [this.#text, this.#stash] = [this.#stash ?? '', null];
  }

  #unrelate(): void {
    this.dispatchEvent(new Event('unrelate'));
    this.focus();
  }

  // --- emoji

  #togglePalette(): void {
    this.#palette = !this.#palette;
    this.requestUpdate();
    if (this.#palette) void this.updateComplete.then(() => this.renderRoot.querySelector<HTMLElement>('.palette button')?.focus());
  }

  #insert(emoji: string): void {
    const box = this.#box;
    const [from, to] = [box?.selectionStart ?? this.#text.length, box?.selectionEnd ?? this.#text.length];
    this.#text = this.#text.slice(0, from) + emoji + this.#text.slice(to);
    this.#palette = false;
    this.requestUpdate();
    this.#putCaret(from + emoji.length);
  }

  #paletteKey(event: KeyboardEvent): void {
    if (event.key === 'Escape') {
      event.stopPropagation();
      this.#palette = false;
      this.requestUpdate();
      this.renderRoot.querySelector<HTMLElement>('.emoji')?.focus();
      return;
    }
    const buttons = [...this.renderRoot.querySelectorAll<HTMLElement>('.palette button')];
    const steps: Partial<Record<string, number>> = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: EMOJI_PER_ROW, ArrowUp: -EMOJI_PER_ROW };
    const step = steps[event.key];
    if (step === undefined) return;
    event.preventDefault();
    buttons[buttons.indexOf(event.target as HTMLElement) + step]?.focus();
  }

  #paletteLeft(event: FocusEvent): void {
    const to = event.relatedTarget as Node | null;
    if (to && this.renderRoot.querySelector('.holder')?.contains(to)) return;
    if (!to) return;
    this.#palette = false;
    this.requestUpdate();
  }

  // --- files

  #chosen(event: Event): void {
    const input = event.target as HTMLInputElement;
    this.#attach([...(input.files ?? [])]);
    input.value = '';
  }

  #pasted(event: ClipboardEvent): void {
    const files = [...(event.clipboardData?.files ?? [])];
    if (files.length === 0 || !this.upload) return;
    event.preventDefault();
    this.#attach(files);
  }

  #dragged(event: DragEvent): void {
    if (this.upload && event.dataTransfer?.types.includes('Files')) event.preventDefault();
  }

  #dropped(event: DragEvent): void {
    const files = [...(event.dataTransfer?.files ?? [])];
    if (files.length === 0 || !this.upload) return;
    event.preventDefault();
    this.#attach(files);
  }

  #attach(files: readonly File[]): void {
    if (!this.upload || files.length === 0) return;
    const all = this.#attachments.add(files, this.upload);
    this.#problem = all ? '' : 'A message holds at most 5 files.';
    this.#status = `${files.length === 1 ? files[0]?.name : `${files.length} files`} attached.`;
  }

  #removeFile(one: { remove: () => void }): void {
    one.remove();
    this.focus();
  }
}

const WORDS: Record<Kind, string> = { message: 'Message', question: 'Question', staff: 'To staff' };
const ICONS: Record<Kind, TemplateResult> = { message: icons.chat, question: icons.question, staff: icons.lock };
const LABELS: Record<Kind, string> = { message: 'Message', question: 'Question', staff: 'Message to the teaching team only' };
const PLACEHOLDERS: Record<Kind, string> = { message: 'Write a message', question: 'Ask a question', staff: 'Write to the teaching team' };

customElements.define('lectern-composer', LecternComposer);

declare global {
  interface HTMLElementTagNameMap {
    'lectern-composer': LecternComposer;
  }
}
