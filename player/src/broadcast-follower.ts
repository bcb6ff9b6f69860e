/** Keeps what the server says of a broadcast up to date, from the room at once and from the API now and then. */
import { Problem, readBroadcast, type Broadcast } from './api';
import { Backoff } from './core/backoff';
import type { Line } from './core/wire';

/** Somebody waits for the beginning; while it is live the room tells first. */
const POLL_MS = { waiting: 2_500, live: 10_000 };
/** A broadcast may be made after its link was given out. */
const UNKNOWN_MS = 5_000;
const ORDER = { waiting: 0, live: 1, ended: 2 };

/** Tells `change`. */
export class BroadcastFollower extends EventTarget {
  broadcast: Broadcast | null = null;
  problem: Problem | null = null;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #backoff = new Backoff(1_000, 15_000);

  constructor(private readonly id: string) {
    super();
  }

  async refresh(): Promise<void> {
    const waitMs = await this.#read();
    // After the answer: two readings at once must not become two loops.
    clearTimeout(this.#timer);
    if (this.broadcast?.state !== 'ended') this.#timer = setTimeout(() => void this.refresh(), waitMs);
    this.dispatchEvent(new Event('change'));
  }

  /** The room heard of it first. */
  learn(line: Line): void {
    const known = this.broadcast;
    if (!known || ORDER[line.state] <= ORDER[known.state]) return;
    this.broadcast = { ...known, state: line.state, origin: line.origin ?? known.origin, duration: line.duration ?? known.duration };
    this.dispatchEvent(new Event('change'));
    void this.refresh();
  }

  /** How long to wait before the next reading. */
  async #read(): Promise<number> {
    try {
      const read = await readBroadcast(this.id);
      // An answer that was on its way while the room told of the next state.
      if (!this.broadcast || ORDER[read.state] >= ORDER[this.broadcast.state]) this.broadcast = read;
      this.problem = null;
      this.#backoff.succeeded();
      return read.state === 'waiting' ? POLL_MS.waiting : POLL_MS.live;
    } catch (error) {
      this.problem = Problem.of(error);
      return this.problem.status === 404 ? UNKNOWN_MS : this.#backoff.next();
    }
  }
}
