/** One message of a room, as it is shown. */
import type { Person, TextEvent } from './wire';
import type { Ticks, WallMs } from './time';

export interface Message {
  seq: number;
  /** Where on the timeline its writer was. */
  at: Ticks;
  sent: WallMs;
  author: Person;
  /** null where it was deleted. */
  body: string | null;
}

export const messageOf = ({ seq, at, sent, author, body, deleted }: TextEvent): Message => ({
  seq,
  at,
  sent,
  author,
  body: deleted || body === undefined ? null : body,
});

/** The first index whose item is not before; items are sorted by `before`. */
export function lowerBound<T>(items: readonly T[], before: (item: T) => boolean): number {
  let [low, high] = [0, items.length];
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (before(items[middle] as T)) low = middle + 1;
    else high = middle;
  }
  return low;
}
