/** `<lectern-report-dialog>`: tell the teaching team of a message. */
import { html, type TemplateResult } from 'lit';
import type { Message } from '../core/message';
import { ask } from './asking';
import { Dialog } from './dialogs';

const REASONS = ['Rude or hurtful', 'Spam, or off topic', 'Tells something private', 'Something else'];
const LONGEST = 200;

export class LecternReportDialog extends Dialog {
  protected override readonly sheet = true;
  #message: Message | null = null;
  #reason = REASONS[0] ?? '';
  #more = '';

  async openFor(message: Message): Promise<void> {
    [this.#message, this.#reason, this.#more] = [message, REASONS[0] ?? '', ''];
    await this.open();
  }

  protected override get heading(): string {
    return 'Report this message';
  }

  protected override content(): TemplateResult {
    return html`<p class="notice">${this.#message?.author.name}: ${this.#message?.body}</p>
      <fieldset><legend>What is wrong with it?</legend>
        ${REASONS.map((reason) => html`<label class="tick"><input type="radio" name="reason" .checked=${reason === this.#reason} @change=${() => (this.#reason = reason)} /><span>${reason}</span></label>`)}
      </fieldset>
      <label>In your words, if you like <input class="field" maxlength=${LONGEST} .value=${this.#more} @input=${(event: Event) => (this.#more = (event.target as HTMLInputElement).value)} /></label>
      <p class="small">The teaching team sees that it was you who reported it; the writer does not.</p>`;
  }

  protected override bottom(): TemplateResult {
    return html`<div class="bottom"><button class="button" @click=${() => this.close()}>Cancel</button><button class="button primary" @click=${this.#send}>Report</button></div>`;
  }

  #send(): void {
    if (!this.#message) return;
    const more = this.#more.trim();
    ask(this, { type: 'report', target: this.#message.seq, reason: more ? `${this.#reason}: ${more}` : this.#reason });
    this.close();
  }
}

customElements.define('lectern-report-dialog', LecternReportDialog);

declare global {
  interface HTMLElementTagNameMap {
    'lectern-report-dialog': LecternReportDialog;
  }
}
