/** The room's WebSocket: runs the effects of the core, and keeps at it while the page is open. */
import { readMessages } from '../api';
import { Room, type Effect } from '../core/room';
import { parseFrame, type Action, type RoomEvent, type Say } from '../core/wire';

/** Often enough to notice a dead line and to follow the clock, seldom enough to cost nothing. */
const PING_MS = 15_000;
/** No word for this long, pings included: the line is dead whatever the socket says. */
const SILENCE_MS = 40_000;

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
  #url: string;
  #path: string;
  #token: string | undefined;
  #socket: WebSocket | null = null;
  #retry: ReturnType<typeof setTimeout> | undefined;
  #pinging: ReturnType<typeof setInterval> | undefined;
  #heardAt = 0;
  #closed = false;
  /** One's votes go round among one's tabs: the room keeps them to itself. */
  #tabs: BroadcastChannel;

  constructor(path: string, token: string | undefined) {
    super();
    this.room = new Room(token);
    this.#path = path;
    this.#token = token;
    this.#url = new URL(path, location.href).href.replace(/^http/, 'ws');
    this.#tabs = new BroadcastChannel(`lectern:${path}`);
    this.#tabs.onmessage = ({ data }: MessageEvent<Vote>) => this.#votedElsewhere(data);
    this.#pinging = setInterval(() => this.#ping(), PING_MS);
    addEventListener('online', this.#hurry);
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
    removeEventListener('online', this.#hurry);
    document.removeEventListener('visibilitychange', this.#hurry);
    this.#drop();
  }

  #connect(): void {
    clearTimeout(this.#retry);
    this.#retry = undefined;
    if (this.#closed) return;
    const socket = new WebSocket(this.#url);
    this.#socket = socket;
    this.#heardAt = Date.now();
    socket.onopen = () => this.#run(this.room.opened(Date.now()));
    socket.onmessage = ({ data }) => this.#receive(String(data));
    socket.onclose = ({ code }) => {
      this.#socket = null;
      this.#run(this.room.closed(code));
    };
  }

  #receive(data: string): void {
    this.#heardAt = Date.now();
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
        if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify(effect.frame));
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
    if (this.#socket && Date.now() - this.#heardAt > SILENCE_MS) this.#lost();
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
    if (!this.#socket) return;
    this.#socket.onclose = this.#socket.onmessage = this.#socket.onopen = null;
    this.#socket.close(1000);
    this.#socket = null;
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
