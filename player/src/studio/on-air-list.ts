/** `<lectern-on-air-list>`: who is on air, with what, and since when. */
import { LitElement, html, nothing, type TemplateResult } from 'lit';
import { called, comesAs, inCorner, isScreen, silences, solo, type Layout, type Source, type Stage } from '../core/stage';
import { icons } from '../style/icons';
import { baseStyles, sheet } from '../style/shared';

/** Tells `arrange` (detail: the layout that is asked for). */
export class LecternOnAirList extends LitElement {
  static override styles = [
    baseStyles,
    sheet(`
      ul { display: grid }
      li { display: flex; flex-wrap: wrap; align-items: center; gap: .25rem .75rem; padding: .5rem 0; border-top: 1px solid var(--line) }
      li:first-child { border-top: 0; padding-top: 0 }
      li:last-child { padding-bottom: 0 }
      .kind { flex: none; display: grid; place-items: center; width: 34px; height: 34px; border-radius: 50%; background: var(--accent-soft); color: var(--accent) }
      .who { flex: 1; min-width: 9rem }
      .who b { display: block; overflow: hidden; font-weight: 600; text-overflow: ellipsis; white-space: nowrap }
      .what { color: var(--muted); font-size: .8125rem }
      .silent { color: var(--warn-ink); background: var(--warn-soft); padding: .0625rem .375rem; border-radius: 4px; font-weight: 600 }
      .silent .icon { width: 14px; height: 14px; vertical-align: -2px }
      .acts { display: flex; gap: .5rem }
      .button { border-color: var(--line) }
      .button[aria-pressed='true'] { border-color: var(--accent); background: var(--accent-soft); color: var(--accent) }
      .none { color: var(--muted); font-size: .875rem }
    `),
  ];
  static override properties = { stage: { attribute: false }, own: { attribute: false }, directs: { type: Boolean } };
  declare stage: Stage;
  /** The sources of this page. */
  declare own: readonly string[];
  /** They may choose who is seen. */
  declare directs: boolean;

  constructor() {
    super();
    this.own = [];
  }

  override render() {
    const { on_air } = this.stage;
    if (on_air.length === 0) return html`<p class="none">Nobody is on air yet.</p>`;
    return html`<ul>${on_air.map((source) => this.#one(source))}</ul><p class="unseen" role="status">${silences(on_air).join(' ')}</p>`;
  }

  #one(one: Source): TemplateResult {
    const { source, name, video } = one;
    const screen = isScreen(source);
    return html`<li>
      <span class="kind">${screen ? icons.screen : icons.camera}</span>
      <div class="who">
        <b>${name ?? source}${this.own.includes(source) ? ' (you)' : nothing}</b>
        <span class="what">${screen ? 'Screen' : 'Camera'} <code>${source}</code> · ${one.silent ? html`<strong class="silent">${icons.warning} ${comesAs(one)}</strong>` : `${comesAs(one)}${sinceWhen(one)}`}</span>
      </div>
      ${this.directs && video !== null ? this.#acts(one) : nothing}
    </li>`;
  }

  #acts(one: Source): TemplateResult {
    const { layout, on_air } = this.stage;
    const { source } = one;
    const whose = called(one);
    const alone = layout.arrangement === 'solo' && layout.sources[0] === source;
    const cornered = layout.arrangement === 'picture-in-picture' && layout.sources[1] === source;
    const several = on_air.filter(({ video }) => video !== null).length > 1;
    return html`<div class="acts">
      ${this.#act('Alone', whose, alone, solo(source))}
      ${several ? this.#act('In the corner', whose, cornered, inCorner(source, this.stage)) : nothing}
    </div>`;
  }

  #act(words: string, whose: string, current: boolean, layout: Layout): TemplateResult {
    const ask = () => current || this.dispatchEvent(new CustomEvent<Layout>('arrange', { detail: layout }));
    return html`<button class="button small" aria-pressed=${String(current)} aria-label="${words}: ${whose}" @click=${ask}>${words}</button>`;
  }
}

const sinceWhen = ({ since }: Source): string =>
  since === null ? '' : ` · since ${new Date(since).toLocaleTimeString(undefined, { timeStyle: 'short' })}`;

customElements.define('lectern-on-air-list', LecternOnAirList);

declare global {
  interface HTMLElementTagNameMap {
    'lectern-on-air-list': LecternOnAirList;
  }
}
