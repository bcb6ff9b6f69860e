/**
 * A room as one of its people sees it: joins, resumes, keeps what is unsent, notices what is missing.
 *
 * No sockets and no clock: what happened goes in with its time, what is to be done comes out as effects.
 */
import { Backoff } from './backoff';
import { ServerClock } from './clock';
import { Log } from './log';
import type { WallMs } from './time';
import { foldAll, tallied, voted } from './state';
import {
  EMPTY,
  type Action,
  type ClientFrame,
  type Hand,
  type Limits,
  type Line,
  type Measure,
  type Page,
  type Person,
  type RoomEvent,
  type Say,
  type ServerFrame,
  type State,
  type Stretch,
  type Unplaced,
} from './wire';

/** Close codes of the room's wire that say why. */
export const CLOSED = { malformed: 4000, unauthorized: 4001, forbidden: 4003, unknown: 4004, slow: 4008, tooBig: 4009, rate: 4010 } as const;

/** Written while the line was down: a person's worth, not a robot's. */
const OUTBOX = 20;
/** One older page on demand, and one fetch of a gap. */
const PAGE = 100;
/** Asked and not answered: far more than hands can press. */
const ASKED = 50;
/** Shown without a place while the common order is out of reach. */
const PROVISIONAL = 200;

export type Status = 'connecting' | 'joined' | 'reconnecting' | 'refused';

export type Effect =
  | { do: 'connect'; afterMs: number }
  | { do: 'send'; frame: ClientFrame }
  | { do: 'fetch'; range: Stretch }
  /** Call `retry` then. */
  | { do: 'refetch'; range: Stretch; afterMs: number }
  /** The text goes back to its writer. */
  | { do: 'return'; say: Say; code: string; message: string; retryAfterMs: number }
  /** Said, but it has to wait. */
  | { do: 'held'; why: string }
  | { do: 'done'; action: Action }
  | { do: 'refused'; action: Action; code: string; message: string; retryAfterMs: number }
  | { do: 'complain'; message: string }
  /** One's own vote, for one's other tabs. */
  | { do: 'voted'; target: number; choices: readonly number[] }
  /** Events in order, for whoever keeps them by position. */
  | { do: 'publish'; events: readonly RoomEvent[]; fresh: boolean }
  /** The token is no good (any more). */
  | { do: 'unauthorized' };

export interface Unsent {
  ref: string;
  body: string;
  say: Say;
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
  /** How the room stands. */
  state: State = EMPTY;
  present: number | null = null;
  /** Who is there, as far as staff asked. */
  roster: { count: number; people: Hand[] } | null = null;
  /** Taken by this node of the server, without a place in the order yet. */
  provisional: { id: string; event: Unplaced }[] = [];
  /** What staff decided about oneself. */
  sanction: { what: Measure; until: WallMs | null } | null = null;
  unsent: Unsent[] = [];
  readonly log = new Log();
  readonly clock = new ServerClock();
  #epoch: string | null = null;
  #pending = new Map<string, Action>();
  #refs = 0;
  #asked: WallMs = 0;
  #token: string | undefined;
  readonly #session: string;
  readonly #backoff: Backoff;
  readonly #fetchBackoff: Backoff;
  /** Gaps that are being fetched, or wait to be fetched again. */
  #fetching: Stretch[] = [];
  /** When we came, on the server's clock: what was sent before is history. */
  #since: WallMs = 0;
  /** The state is as of this event; what came behind a gap waits until the gap is filled. */
  #folded = 0;
  #toFold: RoomEvent[] = [];
  /** When slow mode counts from, on the local clock. */
  #saidAt: WallMs = -Infinity;
  /** What the server said before it closed for good. */
  #lastWords = '';

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

  /** Slow mode: nothing is taken before, on the local clock. It is for words to the room, not for those who lead it. */
  get slowUntil(): WallMs {
    const { slow_ms } = this.state.settings;
    return slow_ms === 0 || this.you?.role !== 'participant' ? 0 : this.#saidAt + slow_ms;
  }

  /** A new identity, from the next join on. */
  identify(token: string | undefined): void {
    this.#token = token;
    this.#lastWords = '';
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
        this.log.append(frame, frame.events);
        this.#fold(frame.events);
        return [...this.#fetches(), ...this.#took(frame.events, frame.events.some((event) => this.#isFresh(event)))];
      case 'ack':
        return this.#acknowledged(frame, now);
      case 'refused':
        return this.#refused(frame, now);
      case 'gap':
        this.log.skipped({ from: frame.from, to: frame.to });
        return this.#fetches();
      case 'line':
        this.line = frame;
        return [];
      case 'tally':
        this.state = frame.tallies.reduce(tallied, this.state);
        return [];
      case 'presence':
        this.present = frame.count;
        return [];
      case 'roster':
        this.#pending.delete(frame.ref);
        this.roster = { count: frame.count, people: frame.people };
        return [];
      case 'provisional':
        this.provisional = [...this.provisional, { id: frame.id, event: frame.event }].slice(-PROVISIONAL);
        return [];
      case 'settled':
        this.provisional = this.provisional.filter(({ id }) => id !== frame.id);
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
      this.refusal = this.#lastWords || (REFUSALS[code] ?? '');
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
  say(say: Omit<Say, 'type'>): { taken: boolean; effects: Effect[] } {
    if (this.unsent.length >= OUTBOX) return { taken: false, effects: [] };
    const unsent: Unsent = { ref: this.#ref(), body: say.body, say: { type: 'say', ...say }, seq: null };
    this.unsent.push(unsent);
    return { taken: true, effects: this.status === 'joined' ? [sayOf(unsent)] : [] };
  }

  /** Anything but words. It is done when the room says so; until then it is asked again after each break. */
  ask(action: Exclude<Action, Say>): Effect[] {
    if (this.status !== 'joined') return [{ do: 'refused', action, code: 'offline', message: 'Not connected. Try again when the connection is back.', retryAfterMs: 0 }];
    if (this.#pending.size >= ASKED) return [{ do: 'refused', action, code: 'rate', message: 'The room does not answer. Wait a moment.', retryAfterMs: 0 }];
    const ref = this.#ref();
    // A reaction is answered only if it is refused, and is worth nothing later.
    if (action.type !== 'react') this.#pending.set(ref, action);
    return [send({ ...action, ref })];
  }

  /** The same person voted in another tab. */
  votedElsewhere(target: number, choices: readonly number[]): void {
    this.state = voted(this.state, target, choices);
  }

  /** The page of history before what we have, if there is one. */
  earlier(): Stretch | null {
    const { low } = this.log;
    return this.#epoch === null || low <= 1 ? null : { from: Math.max(1, low - PAGE), to: low - 1 };
  }

  /** The answer to a fetch, which may be a first page of it; an answer of another epoch is of no use. */
  fetched(range: Stretch, { epoch, events, ...page }: Page): Effect[] {
    if (epoch !== this.#epoch) return [];
    this.#fetchBackoff.succeeded();
    this.#settle(range);
    this.log.filled(range, page, events);
    this.#fold(events);
    return [...this.#fetches(), ...this.#took(events, false)];
  }

  /** A gap is asked for again; older history when somebody wants it again. */
  fetchFailed(range: Stretch): Effect[] {
    const missing = this.#fetching.some((one) => same(one, range));
    return missing ? [{ do: 'refetch', range, afterMs: this.#fetchBackoff.next() }] : [];
  }

  retry(range: Stretch): Effect[] {
    this.#settle(range);
    return this.#fetches();
  }

  #settle(range: Stretch): void {
    this.#fetching = this.#fetching.filter((one) => !same(one, range));
  }

  /** For every gap that nobody is fetching yet. */
  #fetches(): Effect[] {
    const asked = (gap: Stretch) => this.#fetching.some(({ from, to }) => from <= gap.from && gap.to <= to);
    const wanted = this.log.gaps.filter((gap) => !asked(gap));
    this.#fetching.push(...wanted);
    return wanted.map((range) => ({ do: 'fetch', range }));
  }

  /** The state goes on in the order of the room. */
  #fold(events: readonly RoomEvent[]): void {
    const upTo = this.log.resumeAt;
    const waiting = [...this.#toFold, ...events].filter(({ seq }) => seq > this.#folded).sort((a, b) => a.seq - b.seq);
    this.state = foldAll(this.state, waiting.filter(({ seq }) => seq <= upTo));
    this.#toFold = waiting.filter(({ seq }) => seq > upTo);
    this.#folded = Math.max(this.#folded, upTo);
  }

  #joined(frame: Extract<ServerFrame, { type: 'joined' }>, now: WallMs): Effect[] {
    this.clock.observe(this.#asked, now, frame.now);
    this.#backoff.succeeded();
    const resumed = frame.resumed && frame.epoch === this.#epoch;
    if (resumed) this.log.resumed(frame.events, frame.seq);
    else this.log.restart({ from: frame.from, to: frame.seq }, frame.events);
    [this.state, this.#folded, this.#toFold] = [frame.state, frame.seq, []];
    this.#epoch = frame.epoch;
    this.status = 'joined';
    this.you = frame.you;
    this.line = frame.line;
    this.limits = frame.limits;
    this.#fetching = [];
    this.provisional = [];
    if (!resumed) [this.#since, this.sanction] = [frame.now, null];
    const published = this.#took(frame.events, resumed);
    const again = [...this.#pending].map(([ref, action]) => send({ ...action, ref }));
    return [...published, ...again, ...this.unsent.filter((unsent) => unsent.seq === null).map(sayOf)];
  }

  #isFresh(event: RoomEvent): boolean {
    return event.kind !== 'text' || event.sent >= this.#since;
  }

  /** Events arrived: what of the unsent is among them is sent. */
  #took(events: readonly RoomEvent[], fresh: boolean): Effect[] {
    for (const event of events) if (event.kind === 'sanction' && event.person.id === this.you?.id) this.#sanctioned(event.what, event.until ?? null);
    this.unsent = this.unsent.filter(({ seq }) => seq === null || !this.log.has(seq));
    return events.length > 0 ? [{ do: 'publish', events, fresh }] : [];
  }

  #sanctioned(what: Measure, until: WallMs | null): void {
    this.sanction = what === 'lift' ? null : { what, until };
  }

  #acknowledged({ ref, seq, held }: Extract<ServerFrame, { type: 'ack' }>, now: WallMs): Effect[] {
    const action = this.#pending.get(ref);
    if (action) {
      this.#pending.delete(ref);
      return [...(action.type === 'vote' ? this.#voted(action.target, action.choices) : []), { do: 'done', action }];
    }
    const unsent = this.unsent.find((one) => one.ref === ref);
    if (!unsent) return [];
    if (seq === null) this.unsent = this.unsent.filter((one) => one !== unsent);
    else unsent.seq = seq;
    this.#saidAt = Math.max(this.#saidAt, now);
    return [...this.#took([], false), held === undefined ? { do: 'done', action: unsent.say } : { do: 'held', why: held }];
  }

  #voted(target: number, choices: readonly number[]): Effect[] {
    this.state = voted(this.state, target, choices);
    return [{ do: 'voted', target, choices }];
  }

  #refused(frame: Extract<ServerFrame, { type: 'refused' }>, now: WallMs): Effect[] {
    const { code, message } = frame;
    const retryAfterMs = frame.retry_after_ms ?? 0;
    if (code === 'slow') this.#saidAt = now + retryAfterMs - this.state.settings.slow_ms;
    const action = frame.ref === null ? undefined : this.#pending.get(frame.ref);
    if (frame.ref !== null && action) {
      this.#pending.delete(frame.ref);
      return [{ do: 'refused', action, code, message, retryAfterMs }];
    }
    const unsent = this.unsent.find((one) => one.ref === frame.ref);
    if (frame.ref === null && FINAL.includes(code)) {
      this.#lastWords = message;
      return [];
    }
    if (!unsent) return [{ do: 'complain', message }];
    this.unsent = this.unsent.filter((one) => one !== unsent);
    return [{ do: 'return', say: unsent.say, code, message, retryAfterMs }];
  }

  /** What will not be sent any more goes back, the last first: each is put before the others. */
  #returned(message: string): Effect[] {
    const unsent = this.unsent.filter(({ seq }) => seq === null).reverse();
    this.unsent = [];
    return unsent.map(({ say }) => ({ do: 'return', say, code: 'closed', message, retryAfterMs: 0 }));
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

/** A close follows, for good. */
const FINAL = ['banned', 'forbidden', 'unauthorized', 'not_found'];

/** Of each who is here: a server takes a thousand in a second. */
const RETURN_MS = 1;

/** We did something wrong: come back, but not at once. */
const PENALTY_MS: Record<number, number> = { [CLOSED.malformed]: 10_000, [CLOSED.tooBig]: 5_000, [CLOSED.rate]: 10_000 };

const send = (frame: ClientFrame): Effect => ({ do: 'send', frame });
const sayOf = ({ ref, say }: Unsent): Effect => send({ ...say, ref });
const same = (a: Stretch, b: Stretch): boolean => a.from === b.from && a.to === b.to;
