/** `<lectern-invite>`: a link for a co-host, who publishes from a studio of their own. */
import { LitElement, html, nothing } from 'lit';
import { inviteCohost } from '../api';
import { baseStyles, sheet } from '../style/shared';
import './copy-field';

const LONGEST_NAME = 40;

export class LecternInvite extends LitElement {
  static override styles = [
    baseStyles,
    sheet(`:host, form { display: grid; gap: .5rem } label { font-size: .8125rem; font-weight: 600; color: var(--muted) }
      .row { display: flex; gap: .5rem } input { min-width: 0 } .button { flex: none }`),
  ];
  static override properties = { broadcast: {}, token: { attribute: false } };
  declare broadcast: string;
  declare token: string;
  #invited: { name: string; source: string; studio: string }[] = [];
  #problem = '';
  #busy = false;

  override render() {
    return html`<form @submit=${this.#submit}>
        ${this.#problem ? html`<p id="problem" class="notice bad" role="alert">${this.#problem}</p>` : nothing}
        <label for="name">Name of a co-host</label>
        <div class="row">
          <input id="name" name="name" class="field" required maxlength=${LONGEST_NAME} autocomplete="off" aria-describedby="problem" />
          <button class="button" ?disabled=${this.#busy}>Make a link</button>
        </div>
      </form>
      ${this.#invited.map(({ name, studio }) => html`<lectern-copy-field label="Link for ${name}" secret .value=${`${location.origin}${studio}`}></lectern-copy-field>`)}
      ${this.#invited.length > 0 ? html`<p class="notice" role="status">Whoever has such a link is on air as this person. Send it to nobody else.</p>` : nothing}`;
  }

  #submit(event: SubmitEvent): void {
    event.preventDefault();
    const form = event.target as HTMLFormElement;
    const name = new FormData(form).get('name');
    if (typeof name === 'string' && name.trim() !== '') void this.#invite(name.trim()).then(() => this.#problem || form.reset());
  }

  async #invite(name: string): Promise<void> {
    this.#busy = true;
    this.requestUpdate();
    try {
      this.#invited = [...this.#invited, await inviteCohost(this.broadcast, name, this.token)];
      this.#problem = '';
    } catch (error) {
      this.#problem = error instanceof Error ? error.message : 'The server did not answer.';
    }
    this.#busy = false;
    this.requestUpdate();
  }
}

customElements.define('lectern-invite', LecternInvite);

declare global {
  interface HTMLElementTagNameMap {
    'lectern-invite': LecternInvite;
  }
}
