/** `<lectern-invite>`: links for co-hosts, who publish from studios of their own. */
import { LitElement, html, nothing, type PropertyValues } from 'lit';
import { inviteCohost } from '../api';
import { cohosts, type Invited, type Stage } from '../core/stage';
import { baseStyles, sheet } from '../style/shared';
import './cohosts';

const LONGEST_NAME = 40;

/** Tells `withdraw` (detail: whose invitation, by their source). */
export class LecternInvite extends LitElement {
  static override styles = [
    baseStyles,
    sheet(`:host, form { display: grid; gap: .5rem } label { font-size: .8125rem; font-weight: 600; color: var(--muted) }
      .row { display: flex; gap: .5rem } input { min-width: 0 } .button { flex: none }`),
  ];
  static override properties = { broadcast: {}, token: { attribute: false }, stage: { attribute: false }, busy: { type: Boolean } };
  declare broadcast: string;
  declare token: string;
  declare stage: Stage;
  /** Something was asked of the server, and is not answered yet. */
  declare busy: boolean;
  #invited: readonly Invited[] = [];
  #problem = '';
  #inviting = false;

  protected override willUpdate(changed: PropertyValues<this>): void {
    const before = changed.get('stage')?.cohosts ?? [];
    const { cohosts: now } = this.stage;
    // Whom the server knew and knows no more was withdrawn, here or elsewhere. The newest it may not have told of yet.
    this.#invited = this.#invited.filter(({ source }) => now.includes(source) || !before.includes(source));
  }

  override render() {
    const invited = cohosts(this.stage, this.#invited);
    return html`<form @submit=${this.#submit}>
        ${this.#problem ? html`<p id="problem" class="notice bad" role="alert">${this.#problem}</p>` : nothing}
        <label for="name">Name of a co-host</label>
        <div class="row">
          <input id="name" name="name" class="field" required maxlength=${LONGEST_NAME} autocomplete="off" aria-describedby="problem" />
          <button class="button" ?disabled=${this.#inviting}>Make a link</button>
        </div>
      </form>
      ${this.#invited.length > 0 ? html`<p class="notice" role="status">Whoever has such a link is on air as this person. Send it to nobody else.</p>` : nothing}
      <lectern-cohosts .cohosts=${invited} ?busy=${this.busy} @withdraw=${(event: CustomEvent<string>) => this.dispatchEvent(new CustomEvent<string>('withdraw', { detail: event.detail }))}></lectern-cohosts>`;
  }

  #submit(event: SubmitEvent): void {
    event.preventDefault();
    const form = event.target as HTMLFormElement;
    const name = new FormData(form).get('name');
    if (typeof name === 'string' && name.trim() !== '') void this.#invite(name.trim()).then(() => this.#problem || form.reset());
  }

  async #invite(name: string): Promise<void> {
    this.#inviting = true;
    this.requestUpdate();
    try {
      const invited = await inviteCohost(this.broadcast, name, this.token);
      this.#invited = [...this.#invited.filter(({ source }) => source !== invited.source), invited];
      this.#problem = '';
    } catch (error) {
      this.#problem = error instanceof Error ? error.message : 'The server did not answer.';
    }
    this.#inviting = false;
    this.requestUpdate();
  }
}

customElements.define('lectern-invite', LecternInvite);

declare global {
  interface HTMLElementTagNameMap {
    'lectern-invite': LecternInvite;
  }
}
