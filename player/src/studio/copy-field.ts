/** `<lectern-copy-field>`: a value to take elsewhere. */
import { LitElement, html } from 'lit';
import { icons } from '../style/icons';
import { baseStyles, sheet } from '../style/shared';

const SHOWN_MS = 2_000;

export class LecternCopyField extends LitElement {
  static override styles = [
    baseStyles,
    sheet(`:host { display: grid; gap: .25rem } label { font-size: .8125rem; font-weight: 600; color: var(--muted) }
      .row { display: flex; gap: .5rem } input { font-family: var(--mono); font-size: .8125rem; min-width: 0; text-overflow: ellipsis } .button { flex: none; min-width: 5.5em }`),
  ];
  static override properties = { label: {}, value: {}, secret: { type: Boolean } };
  declare label: string;
  declare value: string;
  /** Shown as dots: the studio may be on a projector. */
  declare secret: boolean;
  #copied = false;

  override render() {
    return html`<label for="value">${this.label}</label>
      <div class="row">
        <input id="value" class="field" readonly type=${this.secret ? 'password' : 'text'} autocomplete="off" .value=${this.value} @focus=${(event: FocusEvent) => (event.target as HTMLInputElement).select()} />
        <button class="button" aria-label="Copy ${this.label}" @click=${() => void this.#copy()}>${this.#copied ? icons.check : icons.copy} <span aria-live="polite">${this.#copied ? 'Copied' : 'Copy'}</span></button>
      </div>`;
  }

  async #copy(): Promise<void> {
    try {
      await navigator.clipboard.writeText(this.value);
    } catch {
      // No clipboard on an insecure page: selected, so that one key copies it.
      this.renderRoot.querySelector('input')?.select();
      return;
    }
    this.#copied = true;
    this.requestUpdate();
    setTimeout(() => {
      this.#copied = false;
      this.requestUpdate();
    }, SHOWN_MS);
  }
}

customElements.define('lectern-copy-field', LecternCopyField);
