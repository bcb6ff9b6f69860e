/** The room's messages in the order of the room (`seq`), and what of it we have seen. */
import { lowerBound, messageOf, type Message } from './message';
import type { RoomEvent } from './wire';

/** What a page keeps in memory; older ones are fetched again on demand. */
const KEPT = 2000;

export interface Range {
  from: number;
  to: number;
}

export class Log {
  messages: Message[] = [];
  /** Ranges of events between those we have, which have to be fetched. */
  gaps: Range[] = [];
  #high = 0;
  /** The first event of what we have; before it is older history. */
  #low = 1;

  get low(): number {
    return this.#low;
  }

  /** The last event of the unbroken run: where a reconnect goes on. */
  get resumeAt(): number {
    return this.gaps[0] ? this.gaps[0].from - 1 : this.#high;
  }

  /** A fresh history, `seq` being the room's last event. Its end may follow in further frames. */
  restart(events: readonly RoomEvent[], seq: number): void {
    this.messages = [];
    this.gaps = [];
    this.#high = events.at(-1)?.seq ?? seq;
    this.#low = events[0]?.seq ?? seq + 1;
    for (const event of events) this.#place(event);
  }

  /** Events from the server, in order; what lies between them and what we have is a gap. */
  append(events: readonly RoomEvent[]): void {
    for (const event of events) {
      if (event.seq > this.#high + 1) this.gaps.push({ from: this.#high + 1, to: event.seq - 1 });
      this.#high = Math.max(this.#high, event.seq);
      this.#place(event);
    }
  }

  /** A range that the server says it left out. */
  skipped(range: Range): void {
    this.gaps.push(range);
    this.gaps.sort((a, b) => a.from - b.from);
    this.#high = Math.max(this.#high, range.to);
  }

  /** Everything since `resumeAt` is sent again, the end of it perhaps in further frames. */
  resumed(events: readonly RoomEvent[], seq: number): void {
    this.#high = events.at(-1)?.seq ?? seq;
    this.gaps = [];
    for (const event of events) this.#place(event);
  }

  /** The answer to a fetch of `range` (a gap, or older history): all of it, or a first page. */
  filled(range: Range, events: readonly RoomEvent[]): void {
    if (range.to < this.#low) {
      this.gaps.unshift(range);
      this.#low = range.from;
    }
    const last = events.at(-1)?.seq ?? range.to;
    const to = last < range.from ? range.to : last;
    this.gaps = this.gaps.flatMap((gap) => without(gap, { from: range.from, to }));
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
    else this.#insert(messageOf(event));
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

function without(gap: Range, got: Range): Range[] {
  const [before, after] = [{ from: gap.from, to: Math.min(gap.to, got.from - 1) }, { from: Math.max(gap.from, got.to + 1), to: gap.to }];
  return [before, after].filter(({ from, to }) => from <= to);
}
