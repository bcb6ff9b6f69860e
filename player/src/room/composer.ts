/** `<lectern-composer>`: where one writes. What is refused comes back with the reason; nothing typed is ever lost. */
import { LitElement, html, nothing } from 'lit';
import { icons } from '../style/icons';
import { baseStyles, sheet } from '../style/shared';
import css from './composer.css?inline';

/** The counter shows when fewer than this part of the limit is left. */
const NEARLY = 0.2;

/** Tells `say` (detail: the text); `preventDefault` on it keeps the text in the box. */
export class LecternComposer extends LitElement {
  static override styles = [baseStyles, sheet(css)];
  static override properties = { limit: { type: Number }, placeholder: {}, hint: {}, closed: { attribute: false } };
  declare limit: number;
  declare placeholder: string;
  /** Where the message will stand, if not at the live edge. */
  declare hint: string;
  /** Nothing can be sent (any more); what was typed can still be read and copied. */
  declare closed: boolean;
  #text = '';
  #problem = '';
  #notBeforeMs = 0;
  #tick: ReturnType<typeof setInterval> | undefined;

  constructor() {
    super();
    this.limit = 1000;
    this.placeholder = 'Write a message';
    this.hint = '';
    this.closed = false;
  }

  override disconnectedCallback(): void {
    super.disconnectedCallback();
    clearInterval(this.#tick);
  }

  /** The text that was refused stands in the box again, before whatever was typed since. */
  giveBack(body: string, why: string, retryAfterMs: number): void {
    this.#text = this.#text === '' ? body : `${body}\n${this.#text}`;
    this.#problem = why;
    this.#notBeforeMs = Date.now() + retryAfterMs;
    clearInterval(this.#tick);
    if (retryAfterMs > 0) this.#tick = setInterval(() => this.#countDown(), 250);
    this.requestUpdate();
  }

  override focus(): void {
    this.#box?.focus();
  }

  override render() {
    if (this.closed) return this.#kept();
    const left = this.limit - Array.from(this.#text).length;
    const wait = Math.ceil((this.#notBeforeMs - Date.now()) / 1000);
    return html`<form @submit=${this.#submit}>
      ${this.#problem ? html`<p id="problem" class="notice bad" role="alert">${this.#problem}${wait > 0 ? html` <span aria-live="off">You can send again in ${wait} s.</span>` : nothing}</p>` : nothing}
      ${this.hint ? html`<p class="hint">${icons.clock} ${this.hint}</p>` : nothing}
      <div class="row">
        <textarea class="field" rows="1" aria-label="Message" aria-describedby="problem left" enterkeyhint="send" autocomplete="off"
          placeholder=${this.placeholder} .value=${this.#text} @input=${this.#typed} @keydown=${this.#key}></textarea>
        <button class="button primary send" aria-label="Send" title="Send (Enter)" aria-disabled=${String(!this.#sendable(left, wait))}>${icons.send}</button>
      </div>
      <p id="left" class=${left < 0 ? 'left over' : 'left'} ?hidden=${left > this.limit * NEARLY}>${left < 0 ? `${-left} characters too many` : `${left} characters left`}</p>
    </form>`;
  }

  #kept() {
    if (this.#text === '') return nothing;
    return html`<p id="problem" class="notice warn" role="status">Not sent: the room is closed. Your text is kept here to copy.</p>
      <textarea class="field" rows="1" readonly aria-label="Your message that was not sent" aria-describedby="problem" .value=${this.#text}></textarea>`;
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

  #sendable(left: number, wait: number): boolean {
    return this.#text.trim() !== '' && left >= 0 && wait <= 0;
  }

  #typed(event: Event): void {
    this.#text = (event.target as HTMLTextAreaElement).value;
    if (this.#notBeforeMs <= Date.now()) this.#problem = '';
    this.requestUpdate();
  }

  #key(event: KeyboardEvent): void {
    // Enter that confirms a composition (Japanese, Chinese …) is not ours.
    if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    this.#submit(event);
  }

  #submit(event: Event): void {
    event.preventDefault();
    const left = this.limit - Array.from(this.#text).length;
    if (!this.#sendable(left, Math.ceil((this.#notBeforeMs - Date.now()) / 1000))) return;
    const taken = this.dispatchEvent(new CustomEvent('say', { detail: this.#text.trim(), cancelable: true }));
    if (taken) [this.#text, this.#problem] = ['', ''];
    this.requestUpdate();
    this.focus();
  }

  #countDown(): void {
    if (this.#notBeforeMs <= Date.now()) {
      clearInterval(this.#tick);
      this.#problem = '';
    }
    this.requestUpdate();
  }
}

customElements.define('lectern-composer', LecternComposer);

declare global {
  interface HTMLElementTagNameMap {
    'lectern-composer': LecternComposer;
  }
}
