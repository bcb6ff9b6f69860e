/** `<lectern-monitor>`: what students see, without its sound. Loaded and fetched only while somebody looks. */
import { LitElement, html, nothing } from 'lit';
import type { Broadcast } from '../api';
import { baseStyles, sheet } from '../style/shared';

export class LecternMonitor extends LitElement {
  static override styles = [
    baseStyles,
    sheet(`summary { min-height: 32px; padding-block: 4px; border-radius: 6px; color: var(--accent); font-weight: 600; cursor: pointer }
      lectern-player { display: block; margin-top: .5rem; overflow: hidden; border-radius: 10px }
      p { margin-top: .5rem }`),
  ];
  static override properties = { broadcast: { attribute: false }, opened: { type: Boolean } };
  declare broadcast: Broadcast;
  /** Whether it is open from the beginning. */
  declare opened: boolean;
  #looks = false;

  override render() {
    const shown = this.#looks && this.broadcast.state !== 'waiting';
    return html`<details ?open=${this.opened} @toggle=${(event: Event) => this.#toggled((event.target as HTMLDetailsElement).open)}>
      <summary>What students see</summary>
      ${shown ? html`<lectern-player .broadcast=${this.broadcast}></lectern-player>` : nothing}
      <p class="notice">${shown ? 'A few seconds late, as for everybody, and without sound.' : 'The lecture is shown here as soon as it is on air.'}</p>
    </details>`;
  }

  protected override updated(): void {
    const player = this.renderRoot.querySelector('lectern-player');
    if (player) void this.#silence(player);
  }

  #toggled(open: boolean): void {
    this.#looks = open;
    this.requestUpdate();
  }

  /** The microphone beside it would hear it. */
  async #silence(player: HTMLElementTagNameMap['lectern-player']): Promise<void> {
    await import('../player/lectern-player');
    await player.updateComplete;
    if (player.video && !player.dataset.silenced) player.video.muted = true;
    player.dataset.silenced = 'yes';
  }
}

customElements.define('lectern-monitor', LecternMonitor);

declare global {
  interface HTMLElementTagNameMap {
    'lectern-monitor': LecternMonitor;
  }
}
