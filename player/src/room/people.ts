/** `<lectern-people>`, for staff: raised hands, those who raised first first, and who is there. */
import { LitElement, html, nothing, type PropertyValues, type TemplateResult } from 'lit';
import { repeat } from 'lit/directives/repeat.js';
import { initials } from '../core/format';
import { span } from '../core/mode';
import type { WallMs } from '../core/time';
import type { Hand, Person, State } from '../core/wire';
import { icons } from '../style/icons';
import { baseStyles, sheet } from '../style/shared';
import { ask, personButton } from './asking';
import { KeepFocus } from './keep-focus';
import panel from './panel.css?inline';
import css from './people.css?inline';

/** Somebody may come or go meanwhile; nobody counts on it to the second. */
const ROSTER_MS = 15_000;

export class LecternPeople extends LitElement {
  static override styles = [baseStyles, sheet(panel), sheet(css)];
  static override properties = { state: { attribute: false }, roster: { attribute: false }, active: { attribute: false }, live: { attribute: false }, now: { attribute: false }, filter: { state: true } };
  declare state: State;
  declare roster: { count: number; people: Hand[] } | null;
  /** It is looked at: the roster is kept fresh. */
  declare active: boolean;
  declare live: boolean;
  declare now: () => WallMs;
  declare filter: string;
  #refresh: ReturnType<typeof setInterval> | undefined;

  constructor() {
    super();
    this.roster = null;
    this.active = false;
    this.live = true;
    this.now = Date.now;
    this.filter = '';
    new KeepFocus(this, () => this.renderRoot.querySelector<HTMLElement>('.hands button, h3[tabindex]'));
  }

  override disconnectedCallback(): void {
    super.disconnectedCallback();
    clearInterval(this.#refresh);
  }

  protected override updated(changed: PropertyValues): void {
    if (!changed.has('active') && !changed.has('live')) return;
    clearInterval(this.#refresh);
    if (!this.active || !this.live) return;
    ask(this, { type: 'roster' });
    this.#refresh = setInterval(() => ask(this, { type: 'roster' }), ROSTER_MS);
  }

  override render() {
    const { count, people } = this.state.hands;
    return html`
      <section>
        <div class="head"><h3 tabindex="-1">Raised hands${count > 0 ? ` (${count})` : ''}</h3>
          ${this.live && people.length > 1 ? html`<button class="button small" @click=${this.#lowerAll}>Lower all</button>` : nothing}</div>
        ${people.length === 0 ? html`<p class="empty">Nobody has a hand up.</p>` : html`<ol class="rows hands">${repeat(people, ({ person }) => person.id, (hand, i) => this.#hand(hand, i))}</ol>`}
        ${count > people.length ? html`<p class="empty">and ${count - people.length} more</p>` : nothing}
      </section>
      ${this.live ? this.#whoIsThere() : nothing}
    `;
  }

  #hand({ person, since }: Hand, i: number): TemplateResult {
    return html`<li class="row">
      <span class="place" aria-hidden="true">${i + 1}</span>
      <span class="who">${this.live ? personButton(this, person) : person.name}${this.live ? html`<span class="since">for ${span(this.now() - since)}</span>` : nothing}</span>
      ${this.live ? html`<button class="button small" aria-label="Lower the hand of ${person.name}" @click=${() => ask(this, { type: 'hand', raised: false, person: person.id })}>Lower</button>` : nothing}
    </li>`;
  }

  #lowerAll(): void {
    for (const { person } of this.state.hands.people) ask(this, { type: 'hand', raised: false, person: person.id });
  }

  #whoIsThere(): TemplateResult {
    const { roster } = this;
    const wanted = this.filter.trim().toLocaleLowerCase();
    const people = roster?.people.filter(({ person }) => person.name !== '' && person.name.toLocaleLowerCase().includes(wanted)) ?? [];
    return html`<section>
      <div class="head"><h3>Here now${roster ? ` (${roster.count})` : ''}</h3></div>
      ${roster && roster.people.length > 8
        ? html`<div class="find"><input class="field" type="search" aria-label="Find a person" placeholder="Find a person" .value=${this.filter} @input=${(event: Event) => (this.filter = (event.target as HTMLInputElement).value)} /></div>`
        : nothing}
      ${roster === null ? html`<p class="empty">Loading…</p>` : people.length === 0 ? html`<p class="empty">Nobody with a name.</p>` : nothing}
      <ul class="rows">${repeat(people, ({ person }) => person.id, ({ person }) => this.#person(person))}</ul>
      ${roster && roster.count > roster.people.length ? html`<p class="empty">The first ${roster.people.length} of ${roster.count}.</p>` : nothing}
    </section>`;
  }

  #person(person: Person): TemplateResult {
    const role = ROLES[person.role];
    const sanction = this.state.staff?.sanctions.find((one) => one.person.id === person.id);
    return html`<li class="row">
      <span class="portrait" aria-hidden="true">${initials(person.name)}</span>
      <span class="who">${personButton(this, person)}</span>
      ${role ? html`<span class="badge accent">${role}</span>` : nothing}
      ${sanction ? html`<span class="badge warn">${icons.mute} ${MEASURES[sanction.what]}</span>` : nothing}
    </li>`;
  }
}

const ROLES: Partial<Record<string, string>> = { host: 'Host', moderator: 'Moderator', viewer: 'Viewer' };
export const MEASURES = { mute: 'Muted', timeout: 'Timed out', ban: 'Banned', lift: '' } as const;

customElements.define('lectern-people', LecternPeople);

declare global {
  interface HTMLElementTagNameMap {
    'lectern-people': LecternPeople;
  }
}
