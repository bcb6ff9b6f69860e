/** The rungs as media-chrome's quality menu wants to see them on a media element: `media.videoRenditions`. */
import type { Level } from './engine';

/** What the menu lists. */
interface Rendition {
  id: string;
  width: number;
  height: number;
  bitrate: number;
}

/** Array-like: media-chrome indexes it and spreads it. */
export class Renditions extends EventTarget {
  [index: number]: Rendition;
  length = 0;
  #selected = -1;

  /** `choose` is told the index that somebody picked; −1 is automatic. */
  constructor(private readonly choose: (index: number) => void) {
    super();
  }

  *[Symbol.iterator](): Iterator<Rendition> {
    for (let i = 0; i < this.length; i += 1) yield this[i] as Rendition;
  }

  get selectedIndex(): number {
    return this.#selected;
  }

  set selectedIndex(index: number) {
    this.select(index);
    this.choose(index);
  }

  /** Shows what is selected, without choosing it. */
  select(index: number): void {
    this.#selected = index;
    this.dispatchEvent(new Event('change'));
  }

  replace(levels: readonly Level[]): void {
    for (let i = 0; i < this.length; i += 1) Reflect.deleteProperty(this, i);
    levels.forEach(({ name, width, height, bitrate }, i) => (this[i] = { id: name, width, height, bitrate }));
    this.length = levels.length;
    this.dispatchEvent(new Event('addrendition'));
  }
}
