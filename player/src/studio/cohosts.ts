/** `<lectern-cohosts>`: who is invited, with their links, and how that is taken back. */
import { LitElement, html, nothing, type TemplateResult } from 'lit';
import type { Cohost } from '../core/stage';
import { baseStyles, sheet } from '../style/shared';
import './copy-field';

/** Tells `withdraw` (detail: whose invitation, by their source). */
export class LecternCohosts extends LitElement {
  static override styles = [
    baseStyles,
    sheet(`
      ul { display: grid; gap: .75rem }
      li { display: grid; gap: .5rem; padding-top: .75rem; border-top: 1px solid var(--line) }
      .row { display: flex; flex-wrap: wrap; align-items: center; gap: .25rem .75rem }
      .who { flex: 1; min-width: 8rem; overflow-wrap: anywhere }
      .who b { font-weight: 600 }
      .what { color: var(--muted); font-size: .8125rem }
      .button { border-color: var(--line) }
      .sure { display: flex; flex-wrap: wrap; align-items: center; gap: .5rem }
      .sure p { flex: 1 1 14rem }
      .acts { display: flex; gap: .5rem }
    `),
  ];
  static override properties = { cohosts: { attribute: false }, busy: { type: Boolean } };
  declare cohosts: readonly Cohost[];
  declare busy: boolean;
  /** Whose invitation is about to be withdrawn. */
  #leaving: string | null = null;

  constructor() {
    super();
    this.cohosts = [];
    this.busy = false;
  }

  override render() {
    if (this.cohosts.length === 0) return nothing;
    return html`<ul aria-label="Invited">${this.cohosts.map((cohost) => this.#one(cohost))}</ul>`;
  }

  #one(cohost: Cohost): TemplateResult {
    const { source, name, onAir, studio } = cohost;
    const leaving = this.#leaving === source;
    return html`<li>
      <div class="row">
        <div class="who"><b>${name}</b> <span class="what">${name === source ? nothing : html`<code>${source}</code> · `}${onAir ? 'on air' : 'not on air'}</span></div>
        ${leaving ? nothing : html`<button class="button small" aria-label="Withdraw the invitation of ${name}" ?disabled=${this.busy} @click=${() => this.#ask(source)}>Withdraw…</button>`}
      </div>
      ${leaving ? this.#sure(cohost) : nothing}
      ${studio && !leaving ? html`<lectern-copy-field label="Link for ${name}" secret .value=${`${location.origin}${studio}`}></lectern-copy-field>` : nothing}
    </li>`;
  }

  #sure({ source, name, onAir }: Cohost): TemplateResult {
    return html`<div class="notice warn sure" role="group" aria-label="Withdraw the invitation of ${name}">
      <p>${onAir ? `${name} goes off air at once, and their link` : `The link of ${name}`} opens nothing any more. You can invite them anew.</p>
      <div class="acts">
        <button class="button small keep" @click=${() => this.#ask(null)}>Keep</button>
        <button class="button small live" ?disabled=${this.busy} @click=${() => this.#withdraw(source)}>Withdraw</button>
      </div>
    </div>`;
  }

  #ask(source: string | null): void {
    this.#leaving = source;
    this.requestUpdate();
    // The button that was pressed is gone: who has no mouse goes on beside it.
    void this.updateComplete.then(() => this.renderRoot.querySelector<HTMLElement>(source ? '.keep' : 'li button')?.focus());
  }

  #withdraw(source: string): void {
    this.#ask(null);
    this.dispatchEvent(new CustomEvent<string>('withdraw', { detail: source }));
  }
}

customElements.define('lectern-cohosts', LecternCohosts);

declare global {
  interface HTMLElementTagNameMap {
    'lectern-cohosts': LecternCohosts;
  }
}
