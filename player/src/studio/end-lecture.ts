/** `<lectern-end-lecture>`: the button that ends it for everybody, and whether that is meant. */
import { LitElement, html, nothing } from 'lit';
import { endBroadcast } from '../api';
import { baseStyles, sheet } from '../style/shared';

/** Tells `ended` once it has. */
export class LecternEndLecture extends LitElement {
  static override styles = [
    baseStyles,
    sheet(`
      :host { display: grid; justify-items: start; gap: .75rem }
      .end { color: var(--bad-ink) }
      h2 { font-size: 1.0625rem; font-weight: 650 }
      dialog { max-width: min(420px, calc(100vw - 32px)); padding: 1.5rem; border: 1px solid var(--line); border-radius: 14px; background: var(--surface); color: var(--ink); box-shadow: var(--shadow) }
      dialog::backdrop { background: rgb(8 12 11 / 55%) }
      dialog p { margin-top: .5rem; color: var(--muted) }
      dialog form { display: flex; flex-wrap: wrap; justify-content: flex-end; gap: .5rem; margin-top: 1.25rem }
    `),
  ];
  static override properties = { broadcast: {}, token: { attribute: false } };
  declare broadcast: string;
  declare token: string | undefined;
  #problem = '';
  #ending = false;

  override render() {
    return html`${this.#problem ? html`<p class="notice bad" role="alert">${this.#problem}</p>` : nothing}
      <button class="button end" ?disabled=${!this.token} @click=${() => this.#dialog?.showModal()}>End the lecture…</button>
      <dialog aria-labelledby="end-title">
        <h2 id="end-title">End the lecture?</h2>
        <p>The broadcast ends for everybody and becomes a recording. It cannot go on air again.</p>
        <form method="dialog">
          <button class="button" value="no" autofocus>Keep it running</button>
          <button class="button live" value="yes" ?disabled=${this.#ending} @click=${(event: Event) => void this.#end(event)}>End the lecture</button>
        </form>
      </dialog>`;
  }

  get #dialog(): HTMLDialogElement | null {
    return this.renderRoot.querySelector('dialog');
  }

  async #end(event: Event): Promise<void> {
    event.preventDefault();
    if (!this.token || this.#ending) return;
    this.#ending = true;
    this.requestUpdate();
    try {
      await endBroadcast(this.broadcast, this.token);
      this.#problem = '';
      this.dispatchEvent(new Event('ended'));
    } catch (error) {
      this.#problem = `The lecture could not be ended. ${error instanceof Error ? error.message : ''}`;
    }
    this.#ending = false;
    this.#dialog?.close();
    this.requestUpdate();
  }
}

customElements.define('lectern-end-lecture', LecternEndLecture);

declare global {
  interface HTMLElementTagNameMap {
    'lectern-end-lecture': LecternEndLecture;
  }
}
