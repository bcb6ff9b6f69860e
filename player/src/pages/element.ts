/** An element that the page's own HTML has. */
export function element<K extends keyof HTMLElementTagNameMap>(tag: K): HTMLElementTagNameMap[K];
export function element(selector: string): HTMLElement;
export function element(selector: string): HTMLElement {
  const found = document.querySelector<HTMLElement>(selector);
  if (!found) throw new Error(`the page has no ${selector}`);
  return found;
}
