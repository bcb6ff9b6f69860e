/** `<lectern-layout-bar>`: how the pictures share the canvas, and how else they could. */
import { LitElement, html, svg, type TemplateResult } from 'lit';
import { choices, swapped, type Choice, type Layout, type Stage } from '../core/stage';
import { baseStyles, sheet } from '../style/shared';

/** Tells `arrange` (detail: the layout that is asked for). What is marked is what the server says. */
export class LecternLayoutBar extends LitElement {
  static override styles = [
    baseStyles,
    sheet(`
      [role='group'] { display: grid; grid-template-columns: repeat(auto-fit, minmax(6.25rem, 1fr)); gap: .5rem }
      .button { flex-direction: column; gap: .25rem; min-height: 68px; padding: .5rem .25rem; border-color: var(--line); font-size: .8125rem; line-height: 1.25 }
      .button[aria-pressed='true'] { border-color: var(--accent); background: var(--accent-soft); color: var(--accent); box-shadow: inset 0 0 0 1px var(--accent) }
      .button[aria-disabled='true'] { opacity: .5 }
      svg { display: block; width: 44px; height: 27px }
    `),
  ];
  static override properties = { stage: { attribute: false }, asking: { type: Boolean } };
  declare stage: Stage;
  /** A layout was asked for, and is not answered yet. */
  declare asking: boolean;

  override render() {
    const other = swapped(this.stage);
    return html`<div role="group" aria-label="Layout" aria-busy=${String(this.asking)}>
      ${choices(this.stage).map((choice) => this.#choice(choice))}
      <button class="button" aria-disabled=${String(other === null)} @click=${() => this.#ask(other)}>${PICTOGRAMS.swap} Swap</button>
    </div>`;
  }

  #choice({ id, words, layout, current }: Choice): TemplateResult {
    return html`<button class="button" aria-pressed=${String(current)} @click=${() => this.#ask(current ? null : layout)}>${PICTOGRAMS[id]} ${words}</button>`;
  }

  #ask(layout: Layout | null): void {
    if (layout) this.dispatchEvent(new CustomEvent<Layout>('arrange', { detail: layout }));
  }
}

const pictogram = (inside: TemplateResult): TemplateResult => html`<svg viewBox="0 0 44 27" fill="none" stroke="currentColor" stroke-width="1.6"
  stroke-linecap="round" stroke-linejoin="round" aria-hidden="true"><rect x="1" y="1" width="42" height="25" rx="4"/>${inside}</svg>`;

/** A person, centred here, so many units tall. */
const person = (x: number, y: number, size: number) => svg`<g transform="translate(${x} ${y}) scale(${size / 14})" fill="currentColor" stroke="none">
  <circle cx="0" cy="-3.600" r="3.200"/><path d="M-6.200 7a6.200 6.200 0 0 1 12.400 0z"/></g>`;

const PICTOGRAMS = {
  auto: pictogram(svg`<path d="m22 6 1.900 5.600L29.500 13.500l-5.600 1.900L22 21l-1.900-5.600-5.600-1.900 5.600-1.900z" fill="currentColor" stroke="none"/>`),
  camera: pictogram(person(22, 14.500, 16)),
  screen: pictogram(svg`<path d="M10 9h17M10 13.500h24M10 18h12"/>`),
  corner: pictogram(svg`<path d="M8 8h15M8 12.500h12M8 17h9"/><rect x="26" y="14" width="13" height="8.500" rx="2" fill="currentColor"/>`),
  sides: pictogram(svg`<path d="M22 1v25M6.500 9.500H16M6.500 13.500h9M6.500 17.500h6"/>${person(32.500, 14.500, 12)}`),
  swap: pictogram(svg`<path d="M14 10h16m-4-4 4 4-4 4M30 18H14m4-4-4 4 4 4"/>`),
};

customElements.define('lectern-layout-bar', LecternLayoutBar);

declare global {
  interface HTMLElementTagNameMap {
    'lectern-layout-bar': LecternLayoutBar;
  }
}
