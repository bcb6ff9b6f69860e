/** Which way a room is reached: over a WebSocket or, where something on the way blocks those, over server-sent events. */
export type Way = 'socket' | 'events';

/** One failure may be the server's; twice in a row it is the way. */
const ENOUGH = 2;

export class Carriage {
  #failed = 0;

  get next(): Way {
    return this.#failed >= ENOUGH ? 'events' : 'socket';
  }

  /** A frame came that way. */
  worked(way: Way): void {
    if (way === 'socket') this.#failed = 0;
  }

  /** It ended before any frame came. Where neither works, they are tried in turn. */
  failed(way: Way): void {
    this.#failed = way === 'socket' ? this.#failed + 1 : ENOUGH - 1;
  }
}
