/** One message of a room, as it is shown, and what became of it. */
import type { Person, RoomEvent, TextEvent } from './wire';
import type { WallMs } from './time';

/** Its event, the body null where it was deleted. */
export type Message = Omit<TextEvent, 'kind' | 'body' | 'deleted'> & { body: string | null };

export const messageOf = ({ kind: _, body, deleted, ...rest }: TextEvent): Message => ({ ...rest, body: deleted ? null : (body ?? null) });

/** A replay may be without names, and then without ids. */
export const nameOf = ({ name, role }: Person): string => name || (role === 'host' || role === 'moderator' ? 'Teaching team' : 'Participant');

/**
 * What became of messages. An edit or a delete may be known before its message is: a page that was fetched earlier
 * comes later. So changes are kept, and whichever comes last, the message is right.
 */
export class Changes {
  #edits = new Map<number, { body: string; edited: WallMs }>();
  #deleted = new Set<number>();
  /** Held ones that were released (a new message stands for them) or discarded. */
  #gone = new Set<number>();
  /** People all of whose messages up to an event are gone. */
  #erased = new Map<string, number>();

  /** False where the event changes no message that was there before. */
  add(event: RoomEvent): boolean {
    switch (event.kind) {
      case 'text':
        if (event.deleted) this.#deleted.add(event.seq);
        if (event.of !== undefined) this.#gone.add(event.of);
        return event.deleted === true || event.of !== undefined;
      case 'edit':
        if (event.body !== undefined && event.sent >= (this.#edits.get(event.target)?.edited ?? 0)) this.#edits.set(event.target, { body: event.body, edited: event.sent });
        return true;
      case 'delete':
        this.#deleted.add(event.target);
        return true;
      case 'discard':
        this.#gone.add(event.target);
        return true;
      case 'erase':
        this.#erased.set(event.person, Math.max(event.seq, this.#erased.get(event.person) ?? 0));
        return true;
      default:
        return false;
    }
  }

  /** The message as it is now; null where nothing is left of it. The same object where nothing became of it. */
  of(message: Message): Message | null {
    const { seq, author } = message;
    if (this.isGone(seq) || seq <= (this.#erased.get(author.id) ?? 0)) return null;
    if (this.#deleted.has(seq)) return message.body === null ? message : { seq, at: message.at, sent: message.sent, author, body: null };
    const edit = this.#edits.get(seq);
    return edit && message.body !== null && edit.edited > (message.edited ?? 0) ? { ...message, ...edit } : message;
  }

  isGone(seq: number): boolean {
    return this.#gone.has(seq);
  }
}

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
