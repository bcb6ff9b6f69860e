/** The way to the room: runs the effects of the core, and keeps at it while the page is open. */
import { readMessages } from '../api';
import { Carriage, type Way } from '../core/carriage';
import { Room, type Effect } from '../core/room';
import { parseFrame, type Action, type RoomEvent, type Say } from '../core/wire';
import { carrier, type Carrier } from './carrier';

/** Often enough to notice a dead line and to follow the clock, seldom enough to cost nothing. */
const PING_MS = 15_000;
/** No word for this long, pings included: the line is dead whatever the socket says. */
const SILENCE_MS = 40_000;
/** Whoever has no WebSocket looks this often whether there is one by now: a laptop changes networks. */
const LOOK_MS = 300_000;

export interface Returned {
  say: Say;
  code: string;
  message: string;
  retryAfterMs: number;
}

export interface Refused {
  action: Action;
  code: string;
  message: string;
  retryAfterMs: number;
}

/**
 * Tells `change`, `return` (detail: Returned), `held` (detail: why), `done` (detail: Action), `refused` (detail: Refused),
 * `complain` (detail: string), `publish` (detail: Published) and `unauthorized`.
 */
export class Connection extends EventTarget {
  readonly room: Room;
  #path: string;
  #token: string | undefined;
  #carrier: Carrier | null = null;
  #carriage = new Carriage();
  /** A WebSocket that is tried beside what works. */
  #trial: Carrier | null = null;
  #retry: ReturnType<typeof setTimeout> | undefined;
  #pinging: ReturnType<typeof setInterval> | undefined;
  #looking: ReturnType<typeof setInterval> | undefined;
  #heardAt = 0;
  #closed = false;
  /** One's votes go round among one's tabs: the room keeps them to itself. */
  #tabs: BroadcastChannel;

  constructor(path: string, token: string | undefined) {
    super();
    this.room = new Room(token);
    this.#path = path;
    this.#token = token;
    this.#tabs = new BroadcastChannel(`lectern:${path}`);
    this.#tabs.onmessage = ({ data }: MessageEvent<Vote>) => this.#votedElsewhere(data);
    this.#pinging = setInterval(() => this.#ping(), PING_MS);
    this.#looking = setInterval(this.#look, LOOK_MS);
    addEventListener('online', this.#hurry);
    addEventListener('online', this.#look);
    document.addEventListener('visibilitychange', this.#hurry);
    this.#connect();
  }

  say(say: Omit<Say, 'type'>): boolean {
    const { taken, effects } = this.room.say(say);
    this.#run(effects);
    return taken;
  }

  /** The answer comes as `done` or `refused`. */
  ask(action: Exclude<Action, Say>): void {
    this.#run(this.room.ask(action));
  }

  /** Loads the page of history before what is shown. */
  async loadEarlier(): Promise<void> {
    const range = this.room.earlier();
    if (range) await this.#fetch(range.from, range.to);
  }

  /** Joins again as somebody else; what is shown stays. */
  identify(token: string | undefined): void {
    this.#token = token;
    this.room.identify(token);
    this.#drop();
    this.#connect();
  }

  close(): void {
    this.#closed = true;
    this.#tabs.close();
    clearTimeout(this.#retry);
    clearInterval(this.#pinging);
    clearInterval(this.#looking);
    removeEventListener('online', this.#hurry);
    removeEventListener('online', this.#look);
    document.removeEventListener('visibilitychange', this.#hurry);
    this.#drop();
  }

  #connect(): void {
    clearTimeout(this.#retry);
    this.#retry = undefined;
    if (this.#closed) return;
    this.#heardAt = Date.now();
    this.#carrier = this.#open(this.#carriage.next);
  }

  /** Over a carrier that is not the one in use the room is entered as soon as it opens: it resumes where it is. */
  #open(way: Way): Carrier {
    let worked = false;
    const opened: Carrier = carrier(way, this.#path, {
      opened: () => {
        if (this.#carrier !== opened) this.#carrier?.close();
        this.#carrier = opened;
        this.#run(this.room.opened(Date.now()));
      },
      heard: () => (this.#heardAt = Date.now()),
      received: (data) => {
        worked = true;
        this.#carriage.worked(way);
        this.#receive(data);
      },
      closed: (code, retryAfterMs) => {
        if (!worked) this.#carriage.failed(way);
        if (this.#carrier !== opened) return;
        this.#carrier = null;
        this.#run(this.room.closed(code, retryAfterMs));
      },
    });
    return opened;
  }

  readonly #look = (): void => {
    if (this.#carrier?.way !== 'events') return;
    this.#trial?.close();
    this.#trial = this.#open('socket');
  };

  #receive(data: string): void {
    const frame = parseFrame(data);
    if (frame) this.#run(this.room.received(frame, Date.now()));
  }

  #run(effects: readonly Effect[]): void {
    for (const effect of effects) this.#do(effect);
    this.dispatchEvent(new Event('change'));
  }

  #do(effect: Effect): void {
    switch (effect.do) {
      case 'connect':
        this.#retry = setTimeout(() => this.#connect(), effect.afterMs);
        return;
      case 'send':
        this.#carrier?.send(effect.frame);
        return;
      case 'fetch':
        void this.#fetch(effect.range.from, effect.range.to);
        return;
      case 'refetch':
        setTimeout(() => {
          if (!this.#closed) this.#run(this.room.retry(effect.range));
        }, effect.afterMs);
        return;
      case 'return':
        this.#tell('return', effect);
        return;
      case 'refused':
        this.#tell('refused', effect);
        return;
      case 'done':
        this.#tell('done', effect.action);
        return;
      case 'held':
        this.#tell('held', effect.why);
        return;
      case 'complain':
        this.#tell('complain', effect.message);
        return;
      case 'voted':
        this.#tabs.postMessage({ person: this.room.you?.id, target: effect.target, choices: [...effect.choices] } satisfies Vote);
        return;
      case 'publish':
        this.#tell('publish', effect);
        return;
      case 'unauthorized':
        this.#tell('unauthorized', null);
    }
  }

  #tell(type: string, detail: unknown): void {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }

  async #fetch(from: number, to: number): Promise<void> {
    try {
      this.#run(this.room.fetched({ from, to }, await readMessages(this.#path, from, to, this.#token)));
    } catch (error) {
      console.warn(`messages ${from} to ${to} could not be fetched`, error);
      this.#run(this.room.fetchFailed({ from, to }));
    }
  }

  /** In another tab one may be somebody else. */
  #votedElsewhere({ person, target, choices }: Vote): void {
    if (person === undefined || person !== this.room.you?.id) return;
    this.room.votedElsewhere(target, choices);
    this.dispatchEvent(new Event('change'));
  }

  #ping(): void {
    if (this.#carrier && Date.now() - this.#heardAt > SILENCE_MS) this.#lost();
    else this.#run(this.room.ping(Date.now()));
  }

  /** A dead socket may take minutes to say so itself. */
  #lost(): void {
    this.#drop();
    this.#run(this.room.closed(1006));
  }

  /** The network is back, or somebody looks again: do not sit out the wait. */
  readonly #hurry = (): void => {
    if (document.visibilityState === 'visible' && this.#retry !== undefined) this.#connect();
  };

  #drop(): void {
    clearTimeout(this.#retry);
    this.#retry = undefined;
    for (const one of [this.#carrier, this.#trial]) one?.close();
    this.#carrier = this.#trial = null;
  }
}

interface Vote {
  person: string | undefined;
  target: number;
  choices: number[];
}

export interface Published {
  events: readonly RoomEvent[];
  /** They happened just now, rather than before we came. */
  fresh: boolean;
}
