/** The room's messages in the order of the room (`seq`), and what of it we have seen. */
import { lowerBound, messageOf, type Message } from './message';
import type { RoomEvent, Stretch } from './wire';

/** What a page keeps in memory; older ones are fetched again on demand. */
const KEPT = 2000;

export class Log {
  messages: Message[] = [];
  /** Ranges of events between those we have, which have to be fetched. */
  gaps: Stretch[] = [];
  /** The end of what we have. */
  #high = 0;
  /** What the last join promised: the rest of a history that fills more than its frame follows. */
  #promised = 0;
  /** The first event of what we have; before it is older history. */
  #low = 1;

  get low(): number {
    return this.#low;
  }

  /** The last event of the unbroken run: where a reconnect goes on. */
  get resumeAt(): number {
    return this.gaps[0] ? this.gaps[0].from - 1 : this.#high;
  }

  /** A fresh history over a stretch that ends with the room's last event. Its end may follow in further frames. */
  restart({ from, to }: Stretch, events: readonly RoomEvent[]): void {
    this.messages = [];
    this.#low = from;
    this.resumed(events, to);
  }

  /** Events from the server, in order; what lies between their stretch and what we have is a gap. */
  append({ from, to }: Stretch, events: readonly RoomEvent[]): void {
    const next = Math.max(this.#high, this.#promised) + 1;
    if (from > next) this.gaps.push({ from: next, to: from - 1 });
    this.#high = Math.max(this.#high, to);
    for (const event of events) this.#place(event);
  }

  /** A range that the server says it left out. */
  skipped(range: Stretch): void {
    this.gaps.push(range);
    this.gaps.sort((a, b) => a.from - b.from);
    this.#high = Math.max(this.#high, range.to);
  }

  /** Everything since `resumeAt` is sent again, the end of it perhaps in further frames. */
  resumed(events: readonly RoomEvent[], seq: number): void {
    this.#high = events.at(-1)?.seq ?? seq;
    this.#promised = seq;
    this.gaps = [];
    for (const event of events) this.#place(event);
  }

  /** The answer to a fetch of `range` (a gap, or older history): all of it, or a first page. */
  filled(range: Stretch, page: Stretch, events: readonly RoomEvent[]): void {
    if (range.to < this.#low) {
      this.gaps.unshift(range);
      this.#low = range.from;
    }
    this.gaps = this.gaps.flatMap((gap) => without(gap, page));
    for (const event of events) this.#place(event, true);
  }

  has(seq: number): boolean {
    return this.messages[this.#index(seq)]?.seq === seq;
  }

  #index(seq: number): number {
    return lowerBound(this.messages, (message) => message.seq < seq);
  }

  #place(event: RoomEvent, older = false): void {
    if (event.kind === 'delete') this.#delete(event.target);
    else if (event.kind === 'text') this.#insert(messageOf(event));
    if (older || this.messages.length <= KEPT) return;
    this.messages.splice(0, this.messages.length - KEPT);
    this.#low = this.messages[0]?.seq ?? this.#low;
    // What we would not keep need not be fetched.
    this.gaps = this.gaps.filter((gap) => gap.to >= this.#low);
  }

  #insert(message: Message): void {
    const index = this.#index(message.seq);
    const known = this.messages[index];
    // What was deleted stays deleted, whichever answer comes last.
    if (known?.seq === message.seq) this.messages[index] = known.body === null ? known : message;
    else this.messages.splice(index, 0, message);
  }

  #delete(seq: number): void {
    const index = this.#index(seq);
    const message = this.messages[index];
    if (message?.seq === seq) this.messages[index] = { ...message, body: null };
  }
}

function without(gap: Stretch, got: Stretch): Stretch[] {
  const [before, after] = [{ from: gap.from, to: Math.min(gap.to, got.from - 1) }, { from: Math.max(gap.from, got.to + 1), to: gap.to }];
  return [before, after].filter(({ from, to }) => from <= to);
}
