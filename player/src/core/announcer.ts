/** What a screen reader is told of the room: a summary, at most every five seconds (a live region over the whole log
 *  reads everything back). */
import type { Message } from './message';

const EVERY_MS = 5_000;
/** Long enough to know what it is about; the whole text is in the log. */
const QUOTED = 120;

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

function summary(count: number, { author, body }: Message): string {
  const text = body ?? '';
  const quoted = text.length > QUOTED ? `${text.slice(0, QUOTED)}…` : text;
  const said = `${author.name}: ${quoted}`;
  return count === 1 ? said : `${count} new messages. ${said}`;
}
