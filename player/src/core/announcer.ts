/**
 * What a screen reader is told of the room: a summary, at most every five seconds (a live region over the whole log
 * reads everything back, and at a lecture's pace never stops).
 */
import { parse, PLAIN, textOf } from './markup';
import { nameOf, type Message } from './message';
import { isStaff } from './wire';

const EVERY_MS = 5_000;
/** Long enough to know what it is about; the whole text is in the log. */
const QUOTED = 120;

/** How much of the room is read out; its reader chooses. */
export type Loudness = 'all' | 'mentions' | 'off';

/** Whether it is read out: never one's own. `forYou`: it mentions or answers the reader. */
export function isHeard(message: Message, loudness: Loudness, you: string | undefined, forYou: boolean): boolean {
  if (loudness === 'off' || message.body === null || message.author.id === you) return false;
  return loudness === 'all' || forYou || message.announcement === true || isStaff(message.author);
}

export class Announcer {
  #count = 0;
  #last: Message | null = null;
  #spokenAt = -Infinity;

  add(messages: readonly Message[]): void {
    const readable = messages.filter(({ body }) => body !== null);
    this.#count += readable.length;
    this.#last = readable.at(-1) ?? this.#last;
  }

  /** What to say now, if it is time to say anything. */
  due(nowMs: number): string | null {
    if (!this.#last || nowMs - this.#spokenAt < EVERY_MS) return null;
    const said = summary(this.#count, this.#last);
    this.#spokenAt = nowMs;
    this.#count = 0;
    this.#last = null;
    return said;
  }
}

function summary(count: number, { author, body, question, announcement }: Message): string {
  const characters = Array.from(textOf(parse(body ?? '', PLAIN)));
  const quoted = characters.length > QUOTED ? `${characters.slice(0, QUOTED).join('')}…` : characters.join('');
  const what = announcement ? 'Announcement by ' : question ? 'Question of ' : '';
  const said = `${what}${nameOf(author)}: ${quoted}`;
  return count === 1 ? said : `${count} new messages. ${said}`;
}
