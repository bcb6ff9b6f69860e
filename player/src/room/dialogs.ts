/** What every dialog of the room shares: it opens over the page, Escape shuts it, and the focus goes back. */
import { LitElement, html, nothing, type TemplateResult } from 'lit';
import { icons } from '../style/icons';
import { baseStyles, sheet } from '../style/shared';
import css from './dialog.css?inline';
import { KeepFocus } from './keep-focus';

export abstract class Dialog extends LitElement {
  static override styles = [baseStyles, sheet(css)];
  /** What became of what was asked here. */
  #outcome: { words: string; good: boolean } | null = null;
  #from: HTMLElement | null = null;
  protected shown = false;

  constructor() {
    super();
    new KeepFocus(this, () => this.renderRoot.querySelector<HTMLElement>('.shut'));
  }

  /** A sheet on a phone, rather than the whole of it. */
  protected readonly sheet: boolean = false;
  protected abstract get heading(): string;
  protected abstract content(): TemplateResult;
  protected bottom(): TemplateResult | typeof nothing {
    return nothing;
  }

  async open(): Promise<void> {
    this.#from = deepActive();
    this.#outcome = null;
    this.shown = true;
    this.requestUpdate();
    await this.updateComplete;
    this.#dialog?.showModal();
  }

  close(): void {
    this.#dialog?.close();
  }

  get isOpen(): boolean {
    return this.shown;
  }

  tell(words: string, good: boolean): void {
    this.#outcome = { words, good };
    this.requestUpdate();
  }

  override render() {
    return html`<dialog class=${this.sheet ? 'sheet' : ''} aria-labelledby="heading" @close=${this.#closed} @click=${this.#beside}>
      ${this.shown
        ? html`<header class="top"><h2 id="heading">${this.heading}</h2><button type="button" class="shut" aria-label="Close" @click=${() => this.close()}>${icons.close}</button></header>
            <div role="status" class="said">${this.#outcome ? html`<p class="notice outcome ${this.#outcome.good ? '' : 'bad'}">${this.#outcome.words}</p>` : nothing}</div>
            <div class="content">${this.content()}</div>${this.bottom()}`
        : html`<h2 id="heading" hidden>${this.heading}</h2>`}
    </dialog>`;
  }

  get #dialog(): HTMLDialogElement | null {
    return this.renderRoot.querySelector('dialog');
  }

  #closed(): void {
    this.shown = false;
    this.requestUpdate();
    // What opened it may be gone by now; then whoever holds us finds a place.
    if (this.#from?.isConnected && this.#from.checkVisibility()) this.#from.focus();
    else this.dispatchEvent(new Event('orphaned'));
  }

  #beside(event: MouseEvent): void {
    if (event.target === this.#dialog) this.close();
  }
}

function deepActive(): HTMLElement | null {
  let active = document.activeElement;
  while (active?.shadowRoot?.activeElement) active = active.shadowRoot.activeElement;
  return active instanceof HTMLElement ? active : null;
}
