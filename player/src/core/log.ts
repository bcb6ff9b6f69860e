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

  /** The last event of the unbroken run: where a reconnect goes on. */
  get resumeAt(): number {
    return this.gaps[0] ? this.gaps[0].from - 1 : this.#high;
  }

  /** A fresh history, `seq` being the room's last event. */
  restart(events: readonly RoomEvent[], seq: number): void {
    this.messages = [];
    this.gaps = [];
    this.#high = seq;
    for (const event of events) this.#place(event);
  }

  /** Events from the server, in order; returns the gaps that they revealed. */
  append(events: readonly RoomEvent[]): Range[] {
    const revealed: Range[] = [];
    for (const event of events) {
      if (event.seq > this.#high + 1) revealed.push({ from: this.#high + 1, to: event.seq - 1 });
      this.#high = Math.max(this.#high, event.seq);
      this.#place(event);
    }
    this.gaps.push(...revealed);
    return revealed;
  }

  /** A range that the server says it left out. */
  skipped(range: Range): void {
    this.gaps.push(range);
    this.gaps.sort((a, b) => a.from - b.from);
    this.#high = Math.max(this.#high, range.to);
  }

  /** Everything since `resumeAt` was sent again. */
  resumed(events: readonly RoomEvent[], seq: number): void {
    this.gaps = [];
    for (const event of events) this.#place(event);
    this.#high = Math.max(this.#high, seq);
  }

  /** The answer to a fetch of `range` (a gap, or older history). */
  filled(range: Range, events: readonly RoomEvent[]): void {
    this.gaps = this.gaps.filter((gap) => gap.from < range.from || gap.to > range.to);
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
    if (!older && this.messages.length > KEPT) this.messages.splice(0, this.messages.length - KEPT);
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
