/** `<lectern-reactions>`: a row of reactions, and those of everybody as they float by. */
import { LitElement, html, nothing, type TemplateResult } from 'lit';
import { repeat } from 'lit/directives/repeat.js';
import { styleMap } from 'lit/directives/style-map.js';
import { nameOf, REACTIONS } from '../core/emoji';
import { baseStyles, sheet } from '../style/shared';
import css from './reactions.css?inline';

/** As long as one rises; the style sheet says the same. */
const FLOAT_MS = 2_600;
/** In the air at once: a crowd is shown by its number. */
const MOST = 14;
/** Of one second's reactions with the same emoji. */
const MOST_EACH = 4;

interface Floating {
  key: number;
  emoji: string;
  count: number;
  /** Where it rises, 0 to 1 of the width. */
  x: number;
  delayMs: number;
}

/** Tells `react` (detail: the emoji). */
export class LecternReactions extends LitElement {
  static override styles = [baseStyles, sheet(css)];
  static override properties = { open: { type: Boolean } };
  /** One may react; else only those of others are seen. */
  declare open: boolean;
  #floating: Floating[] = [];
  /** Those of the last seconds, for those who want nothing to move. */
  #lately = new Map<string, number>();
  #keys = 0;

  constructor() {
    super();
    this.open = false;
  }

  /** What people felt, within a second. */
  float(counts: Readonly<Record<string, number>>): void {
    for (const [emoji, count] of Object.entries(counts)) {
      this.#lately.set(emoji, (this.#lately.get(emoji) ?? 0) + count);
      setTimeout(() => this.#forget(emoji, count), FLOAT_MS * 2);
      const bubbles = Math.min(count, MOST_EACH, MOST - this.#floating.length);
      for (let i = 0; i < bubbles; i += 1) this.#rise(emoji, i === 0 && count > bubbles ? count : 1, i);
    }
    this.requestUpdate();
  }

  override render() {
    return html`
      <div class="air" aria-hidden="true">${repeat(this.#floating, ({ key }) => key, floating)}</div>
      ${this.open
        ? html`<div class="row" role="group" aria-label="React">${REACTIONS.map(([emoji, name]) => this.#button(emoji, name))}</div>`
        : nothing}
    `;
  }

  #button(emoji: string, name: string): TemplateResult {
    const lately = this.#lately.get(emoji) ?? 0;
    return html`<button type="button" aria-label=${name} title=${name} @click=${(event: Event) => this.#react(event.currentTarget as HTMLElement, emoji)}>
      <span aria-hidden="true">${emoji}</span>${lately > 0 ? html`<span class="lately" aria-hidden="true">${lately}</span>` : nothing}</button>`;
  }

  #react(button: HTMLElement, emoji: string): void {
    // It was pressed; those of all come within a second.
    button.getAnimations().forEach((animation) => animation.cancel());
    if (!matchMedia('(prefers-reduced-motion: reduce)').matches) button.animate([{ scale: 1 }, { scale: 0.8 }, { scale: 1.15 }, { scale: 1 }], 260);
    this.dispatchEvent(new CustomEvent('react', { detail: emoji }));
  }

  #rise(emoji: string, count: number, i: number): void {
    const key = ++this.#keys;
    const delayMs = i * 140 + Math.random() * 300;
    this.#floating.push({ key, emoji, count, x: Math.random(), delayMs });
    setTimeout(() => {
      this.#floating = this.#floating.filter((one) => one.key !== key);
      this.requestUpdate();
    }, FLOAT_MS + delayMs);
  }

  #forget(emoji: string, count: number): void {
    const left = (this.#lately.get(emoji) ?? 0) - count;
    if (left > 0) this.#lately.set(emoji, left);
    else this.#lately.delete(emoji);
    this.requestUpdate();
  }
}

const floating = ({ emoji, count, x, delayMs }: Floating): TemplateResult =>
  html`<span class="floating" style=${styleMap({ '--x': String(x), 'animation-delay': `${delayMs}ms` })} title=${nameOf(emoji)}>${emoji}${count > 1 ? html`<b>${count}</b>` : nothing}</span>`;

customElements.define('lectern-reactions', LecternReactions);

declare global {
  interface HTMLElementTagNameMap {
    'lectern-reactions': LecternReactions;
  }
}
