/** `<lectern-guest-form>`: a name is all that a guest needs to write. */
import { LitElement, html, nothing } from 'lit';
import { admitGuest } from '../api';
import { baseStyles, sheet } from '../style/shared';

const LONGEST_NAME = 40;

/** Tells `admitted` (detail: the token). */
export class LecternGuestForm extends LitElement {
  static override styles = [
    baseStyles,
    sheet(`form { display: grid; gap: .5rem } label { font-weight: 600; font-size: .875rem } .row { display: flex; gap: .5rem }
      input { font-size: 1rem; min-width: 0 } .button { flex: none }`),
  ];
  static override properties = { broadcast: {} };
  declare broadcast: string;
  #problem = '';
  #busy = false;

  override render() {
    return html`<form @submit=${this.#submit}>
      ${this.#problem ? html`<p id="problem" class="notice bad" role="alert">${this.#problem}</p>` : nothing}
      <label for="name">Your name, to join the conversation</label>
      <div class="row">
        <input id="name" name="name" class="field" required maxlength=${LONGEST_NAME} autocomplete="nickname" aria-describedby="problem" />
        <button class="button primary" ?disabled=${this.#busy}>Join</button>
      </div>
    </form>`;
  }

  #submit(event: SubmitEvent): void {
    event.preventDefault();
    const name = new FormData(event.target as HTMLFormElement).get('name');
    if (typeof name === 'string' && name.trim() !== '') void this.#admit(name.trim());
  }

  async #admit(name: string): Promise<void> {
    this.#busy = true;
    this.requestUpdate();
    try {
      const { token } = await admitGuest(this.broadcast, name);
      this.#problem = '';
      this.dispatchEvent(new CustomEvent('admitted', { detail: token }));
    } catch (error) {
      this.#problem = error instanceof Error ? error.message : 'The server did not answer.';
    }
    this.#busy = false;
    this.requestUpdate();
  }
}

customElements.define('lectern-guest-form', LecternGuestForm);
