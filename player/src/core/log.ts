/** The room's messages in the order of the room (`seq`), and what of it we have seen. */
import { Changes, lowerBound, messageOf, type Message } from './message';
import type { RoomEvent, Stretch } from './wire';

/** What a page keeps in memory; older ones are fetched again on demand. */
const KEPT = 10_000;
/** Dropped at once, so that a full log is not moved for each message. */
const DROPPED = 500;

export class Log {
  #messages: Message[] = [];
  /** Told to others, and never changed: another list is another state of the log. */
  #told: readonly Message[] | null = null;
  #changes = new Changes();
  /** Ranges of events between those we have, which have to be fetched. */
  gaps: Stretch[] = [];
  /** The end of what we have. */
  #high = 0;
  /** What the last join promised: the rest of a history that fills more than its frame follows. */
  #promised = 0;
  /** The first event of what we have; before it is older history. */
  #low = 1;

  /** Oldest first; the same list until something changes. */
  get messages(): readonly Message[] {
    return (this.#told ??= this.#messages.slice());
  }

  get low(): number {
    return this.#low;
  }

  /** The last event of the unbroken run: where a reconnect goes on. */
  get resumeAt(): number {
    return this.gaps[0] ? this.gaps[0].from - 1 : this.#high;
  }

  /** A fresh history over a stretch that ends with the room's last event. Its end may follow in further frames. */
  restart({ from, to }: Stretch, events: readonly RoomEvent[]): void {
    [this.#messages, this.#told, this.#changes] = [[], null, new Changes()];
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

  /** It is here, or was: what was held is gone once it is released. */
  has(seq: number): boolean {
    return this.#messages[this.#index(seq)]?.seq === seq || this.#changes.isGone(seq);
  }

  #index(seq: number): number {
    return lowerBound(this.#messages, (message) => message.seq < seq);
  }

  #place(event: RoomEvent, older = false): void {
    if (this.#changes.add(event)) this.#apply(event);
    if (event.kind !== 'text') return;
    this.#insert(messageOf(event));
    if (older || this.#messages.length <= KEPT + DROPPED) return;
    this.#messages.splice(0, this.#messages.length - KEPT);
    this.#low = this.#messages[0]?.seq ?? this.#low;
    // What we would not keep need not be fetched.
    this.gaps = this.gaps.filter((gap) => gap.to >= this.#low);
  }

  #insert(message: Message): void {
    const now = this.#changes.of(message);
    if (!now) return;
    const index = this.#index(message.seq);
    const known = this.#messages[index];
    if (known?.seq !== message.seq) this.#messages.splice(index, 0, now);
    // Served again after its edit, or before it: the later words stay.
    else if (known.body !== null && (now.body === null || (now.edited ?? 0) >= (known.edited ?? 0))) this.#messages[index] = now;
    this.#told = null;
  }

  /** To what is here already. */
  #apply(event: RoomEvent): void {
    this.#told = null;
    if (event.kind === 'erase') {
      this.#messages = this.#messages.filter((message) => this.#changes.of(message));
      return;
    }
    const target = event.kind === 'text' ? event.of : 'target' in event ? event.target : undefined;
    if (target == null) return;
    const index = this.#index(target);
    const message = this.#messages[index];
    if (message?.seq !== target) return;
    const now = this.#changes.of(message);
    this.#messages.splice(index, 1, ...(now ? [now] : []));
  }
}

function without(gap: Stretch, got: Stretch): Stretch[] {
  const [before, after] = [{ from: gap.from, to: Math.min(gap.to, got.from - 1) }, { from: Math.max(gap.from, got.to + 1), to: gap.to }];
  return [before, after].filter(({ from, to }) => from <= to);
}
