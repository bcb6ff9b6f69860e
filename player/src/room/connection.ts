/** The room's WebSocket: runs the effects of the core, and keeps at it while the page is open. */
import { readMessages } from '../api';
import { Room, type Effect } from '../core/room';
import { parseFrame, type RoomEvent } from '../core/wire';

/** Often enough to notice a dead line and to follow the clock, seldom enough to cost nothing. */
const PING_MS = 15_000;
/** No word for this long, pings included: the line is dead whatever the socket says. */
const SILENCE_MS = 40_000;

export interface Returned {
  body: string;
  code: string;
  message: string;
  retryAfterMs: number;
}

/** Tells `change`, `return` (detail: Returned), `complain` (detail: string), `publish` and `unauthorized`. */
export class Connection extends EventTarget {
  readonly room: Room;
  #url: string;
  #path: string;
  #socket: WebSocket | null = null;
  #retry: ReturnType<typeof setTimeout> | undefined;
  #pinging: ReturnType<typeof setInterval> | undefined;
  #heardAt = 0;
  #closed = false;

  constructor(path: string, token: string | undefined) {
    super();
    this.room = new Room(token);
    this.#path = path;
    this.#url = new URL(path, location.href).href.replace(/^http/, 'ws');
    this.#pinging = setInterval(() => this.#ping(), PING_MS);
    addEventListener('online', this.#hurry);
    document.addEventListener('visibilitychange', this.#hurry);
    this.#connect();
  }

  say(body: string, playing: number | null): boolean {
    const { taken, effects } = this.room.say(body, playing);
    this.#run(effects);
    return taken;
  }

  delete(seq: number): void {
    this.#run(this.room.delete(seq));
  }

  /** Loads the page of history before what is shown. */
  async loadEarlier(): Promise<void> {
    const range = this.room.earlier();
    if (range) await this.#fetch(range.from, range.to);
  }

  /** Joins again as somebody else; what is shown stays. */
  identify(token: string | undefined): void {
    this.room.identify(token);
    this.#drop();
    this.#connect();
  }

  close(): void {
    this.#closed = true;
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
      case 'complain':
        this.#tell('complain', effect.message);
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
      this.#run(this.room.fetched({ from, to }, await readMessages(this.#path, from, to)));
    } catch (error) {
      console.warn(`messages ${from} to ${to} could not be fetched`, error);
      this.#run(this.room.fetchFailed({ from, to }));
    }
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

export interface Published {
  events: readonly RoomEvent[];
  /** They happened just now, rather than before we came. */
  fresh: boolean;
}
