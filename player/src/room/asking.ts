/** How the parts of a room ask for something: an event that `<lectern-room>` hears, whatever stands between. */
import { html, type TemplateResult } from 'lit';
import type { Action, Person, Say } from '../core/wire';

export type Asked = Exclude<Action, Say>;

export const ask = (from: EventTarget, action: Asked): boolean => from.dispatchEvent(new CustomEvent('ask', { detail: action, bubbles: true, composed: true }));

/** Staff want to see to somebody. */
export const seeTo = (from: EventTarget, person: Person): boolean => from.dispatchEvent(new CustomEvent('person', { detail: person, bubbles: true, composed: true }));

/** A name; for staff, the way to its person. */
export const personButton = (from: EventTarget, person: Person): TemplateResult =>
  html`<button type="button" class="person" aria-haspopup="dialog" @click=${() => seeTo(from, person)}>${person.name}</button>`;
