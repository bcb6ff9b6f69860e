/**
 * A room as one of its people sees it: joins, resumes, keeps what is unsent, notices what is missing.
 *
 * No sockets and no clock: what happened goes in with its time, what is to be done comes out as effects.
 */
import { Backoff } from './backoff';
import { ServerClock } from './clock';
import { Log, type Range } from './log';
import type { WallMs } from './time';
import type { ClientFrame, Limits, Line, Person, RoomEvent, ServerFrame } from './wire';

/** Close codes of the room's wire that say why. */
export const CLOSED = { malformed: 4000, unauthorized: 4001, forbidden: 4003, unknown: 4004, slow: 4008, tooBig: 4009, rate: 4010 } as const;

/** Written while the line was down: a person's worth, not a robot's. */
const OUTBOX = 20;
/** One older page on demand, and one fetch of a gap. */
const PAGE = 100;

export type Status = 'connecting' | 'joined' | 'reconnecting' | 'refused';

export type Effect =
  | { do: 'connect'; afterMs: number }
  | { do: 'send'; frame: ClientFrame }
  | { do: 'fetch'; range: Range }
  /** Call `retry` then. */
  | { do: 'refetch'; range: Range; afterMs: number }
  /** The text goes back to its writer. */
  | { do: 'return'; body: string; code: string; message: string; retryAfterMs: number }
  | { do: 'complain'; message: string }
  /** Events in order, for whoever keeps them by position. */
  | { do: 'publish'; events: readonly RoomEvent[]; fresh: boolean }
  /** The token is no good (any more). */
  | { do: 'unauthorized' };

export interface Unsent {
  ref: string;
  body: string;
  playing: WallMs | null;
  /** Known once the server took it; it is shown until its event comes. */
  seq: number | null;
}

export class Room {
  status: Status = 'connecting';
  /** Why nobody lets us in, in words. */
  refusal = '';
  you: Person | null = null;
  line: Line | null = null;
  limits: Limits = { body: 1000 };
  present: number | null = null;
  unsent: Unsent[] = [];
  readonly log = new Log();
  readonly clock = new ServerClock();
  #epoch: string | null = null;
  #deletes = new Map<string, number>();
  #refs = 0;
  #asked: WallMs = 0;
  #token: string | undefined;
  readonly #session: string;
  readonly #backoff: Backoff;
  readonly #fetchBackoff: Backoff;
  /** Gaps that are being fetched, or wait to be fetched again. */
  #fetching: Range[] = [];
  /** When we came, on the server's clock: what was sent before is history. */
  #since: WallMs = 0;

  constructor(token: string | undefined, random: () => number = Math.random) {
    this.#token = token;
    // A ref must not repeat after a reload: the server may take it for a resend.
    this.#session = Math.floor(random() * 36 ** 6).toString(36);
    this.#backoff = new Backoff(500, 20_000, random);
    this.#fetchBackoff = new Backoff(1_000, 20_000, random);
  }

  get epoch(): string | null {
    return this.#epoch;
  }

  /** A new identity, from the next join on. */
  identify(token: string | undefined): void {
    this.#token = token;
    this.status = 'connecting';
  }

  opened(now: WallMs): Effect[] {
    this.#asked = now;
    const resume = this.#epoch === null ? undefined : { epoch: this.#epoch, seq: this.log.resumeAt };
    return [send({ type: 'join', ...(this.#token ? { token: this.#token } : {}), ...(resume && { resume }) })];
  }

  ping(now: WallMs): Effect[] {
    this.#asked = now;
    return this.status === 'joined' ? [send({ type: 'ping' })] : [];
  }

  received(frame: ServerFrame, now: WallMs): Effect[] {
    switch (frame.type) {
      case 'joined':
        return this.#joined(frame, now);
      case 'events':
        this.log.append(frame.events);
        return [...this.#fetches(), ...this.#took(frame.events, frame.events.some((event) => this.#isFresh(event)))];
      case 'ack':
        return this.#acknowledged(frame.ref, frame.seq);
      case 'refused':
        return this.#refused(frame);
      case 'gap':
        this.log.skipped({ from: frame.from, to: frame.to });
        return this.#fetches();
      case 'line':
        this.line = frame;
        return [];
      case 'presence':
        this.present = frame.count;
        return [];
      case 'pong':
        this.clock.observe(this.#asked, now, frame.now);
        return [];
    }
  }

  /** `retryAfterMs`: what the server asked for. */
  closed(code: number, retryAfterMs = 0): Effect[] {
    if (code === CLOSED.unauthorized || code === CLOSED.forbidden || code === CLOSED.unknown) {
      this.status = 'refused';
      this.refusal = REFUSALS[code] ?? '';
      return [...this.#returned(this.refusal), ...(code === CLOSED.unauthorized ? [{ do: 'unauthorized' } as const] : [])];
    }
    this.status = 'reconnecting';
    return [{ do: 'connect', afterMs: retryAfterMs + this.#backoff.anyTime(this.#spread()) + (PENALTY_MS[code] ?? 0) }];
  }

  /** A full room that was cut off comes back over some seconds, not all at once. */
  #spread(): number {
    return (this.present ?? 0) * RETURN_MS;
  }

  /** False where too much is unsent already. */
  say(body: string, playing: WallMs | null): { taken: boolean; effects: Effect[] } {
    if (this.unsent.length >= OUTBOX) return { taken: false, effects: [] };
    const unsent: Unsent = { ref: this.#ref(), body, playing, seq: null };
    this.unsent.push(unsent);
    return { taken: true, effects: this.status === 'joined' ? [sayOf(unsent)] : [] };
  }

  delete(seq: number): Effect[] {
    if (this.status !== 'joined') return [{ do: 'complain', message: 'Not connected: the message was not deleted.' }];
    const ref = this.#ref();
    this.#deletes.set(ref, seq);
    return [send({ type: 'delete', ref, seq })];
  }

  /** The page of history before what we have, if there is one. */
  earlier(): Range | null {
    const { low } = this.log;
    return this.#epoch === null || low <= 1 ? null : { from: Math.max(1, low - PAGE), to: low - 1 };
  }

  /** The answer to a fetch, which may be a first page of it; an answer of another epoch is of no use. */
  fetched(range: Range, epoch: string, events: readonly RoomEvent[]): Effect[] {
    if (epoch !== this.#epoch) return [];
    this.#fetchBackoff.succeeded();
    this.#settle(range);
    this.log.filled(range, events);
    return [...this.#fetches(), ...this.#took(events, false)];
  }

  /** A gap is asked for again; older history when somebody wants it again. */
  fetchFailed(range: Range): Effect[] {
    const missing = this.#fetching.some((one) => same(one, range));
    return missing ? [{ do: 'refetch', range, afterMs: this.#fetchBackoff.next() }] : [];
  }

  retry(range: Range): Effect[] {
    this.#settle(range);
    return this.#fetches();
  }

  #settle(range: Range): void {
    this.#fetching = this.#fetching.filter((one) => !same(one, range));
  }

  /** For every gap that nobody is fetching yet. */
  #fetches(): Effect[] {
    const asked = (gap: Range) => this.#fetching.some(({ from, to }) => from <= gap.from && gap.to <= to);
    const wanted = this.log.gaps.filter((gap) => !asked(gap));
    this.#fetching.push(...wanted);
    return wanted.map((range) => ({ do: 'fetch', range }));
  }

  #joined(frame: Extract<ServerFrame, { type: 'joined' }>, now: WallMs): Effect[] {
    this.clock.observe(this.#asked, now, frame.now);
    this.#backoff.succeeded();
    const resumed = frame.resumed && frame.epoch === this.#epoch;
    if (resumed) this.log.resumed(frame.events, frame.seq);
    else this.log.restart(frame.events, frame.seq);
    this.#epoch = frame.epoch;
    this.status = 'joined';
    this.you = frame.you;
    this.line = frame.line;
    this.limits = frame.limits;
    this.#deletes.clear();
    this.#fetching = [];
    if (!resumed) this.#since = frame.now;
    const published = this.#took(frame.events, resumed);
    return [...published, ...this.unsent.filter((unsent) => unsent.seq === null).map(sayOf)];
  }

  #isFresh(event: RoomEvent): boolean {
    return event.kind === 'delete' || event.sent >= this.#since;
  }

  /** Events arrived: what of the unsent is among them is sent. */
  #took(events: readonly RoomEvent[], fresh: boolean): Effect[] {
    this.unsent = this.unsent.filter(({ seq }) => seq === null || !this.log.has(seq));
    return events.length > 0 ? [{ do: 'publish', events, fresh }] : [];
  }

  #acknowledged(ref: string, seq: number): Effect[] {
    this.#deletes.delete(ref);
    const unsent = this.unsent.find((one) => one.ref === ref);
    if (!unsent) return [];
    unsent.seq = seq;
    return this.#took([], false);
  }

  #refused(frame: Extract<ServerFrame, { type: 'refused' }>): Effect[] {
    if (frame.ref !== null && this.#deletes.delete(frame.ref)) return [{ do: 'complain', message: frame.message }];
    const unsent = this.unsent.find((one) => one.ref === frame.ref);
    if (!unsent) return frame.ref === null ? [{ do: 'complain', message: frame.message }] : [];
    this.unsent = this.unsent.filter((one) => one !== unsent);
    return [{ do: 'return', body: unsent.body, code: frame.code, message: frame.message, retryAfterMs: frame.retry_after_ms ?? 0 }];
  }

  /** What will not be sent any more goes back, the last first: each is put before the others. */
  #returned(message: string): Effect[] {
    const unsent = this.unsent.filter(({ seq }) => seq === null).reverse();
    this.unsent = [];
    return unsent.map(({ body }) => ({ do: 'return', body, code: 'closed', message, retryAfterMs: 0 }));
  }

  #ref(): string {
    this.#refs += 1;
    return `${this.#session}-${this.#refs}`;
  }
}

const REFUSALS: Record<number, string> = {
  [CLOSED.unauthorized]: 'Your link or name is no longer valid.',
  [CLOSED.forbidden]: 'You may not enter this room.',
  [CLOSED.unknown]: 'There is no such room.',
};

/** Of each who is here: a server takes a thousand in a second. */
const RETURN_MS = 1;

/** We did something wrong: come back, but not at once. */
const PENALTY_MS: Record<number, number> = { [CLOSED.malformed]: 10_000, [CLOSED.tooBig]: 5_000, [CLOSED.rate]: 10_000 };

const send = (frame: ClientFrame): Effect => ({ do: 'send', frame });
const sayOf = ({ ref, body, playing }: Unsent): Effect => send({ type: 'say', ref, body, playing });
const same = (a: Range, b: Range): boolean => a.from === b.from && a.to === b.to;
