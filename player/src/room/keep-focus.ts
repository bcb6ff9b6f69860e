/** Focus is never lost: where what had it is gone, it goes to a place that is still there (WCAG 2.4.3). */
import type { ReactiveController, ReactiveControllerHost } from 'lit';

type Host = ReactiveControllerHost & HTMLElement & { renderRoot: HTMLElement | DocumentFragment };

export class KeepFocus implements ReactiveController {
  #host: Host;
  #fallback: () => HTMLElement | null | undefined;
  #had: Element | null = null;

  constructor(host: Host, fallback: () => HTMLElement | null | undefined) {
    this.#host = host;
    this.#fallback = fallback;
    host.addController(this);
  }

  hostUpdate(): void {
    this.#had = this.#root?.activeElement ?? null;
  }

  hostUpdated(): void {
    if (this.#had === null) return;
    const now = this.#root?.activeElement;
    if (now?.checkVisibility()) return;
    // In the middle of an update nothing else may have taken it: a dialog that opens, say.
    if (deepActive() === document.body || now) this.#fallback()?.focus({ preventScroll: true });
  }

  get #root(): ShadowRoot | null {
    return this.#host.shadowRoot;
  }
}

function deepActive(): Element | null {
  let active = document.activeElement;
  while (active?.shadowRoot?.activeElement) active = active.shadowRoot.activeElement;
  // An element with shadows whose own focus is gone counts as nothing.
  return active?.shadowRoot ? document.body : active;
}
