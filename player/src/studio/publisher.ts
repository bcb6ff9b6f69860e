/** On air and staying there: a WHIP session that is opened again whenever it is lost, until somebody stops it. */
import { Problem } from '../api';
import { Backoff } from '../core/backoff';
import { reading, upstream, type Reading, type Upstream } from '../core/upstream';
import { WhipSession } from './whip';

/** ICE often mends itself; longer than this it does not. */
const DISCONNECTED_MS = 3_000;
/** An answer came, but no connection: a firewall, or a server that is gone again. */
const CONNECT_MS = 10_000;
const STATS_MS = 1_000;

export type OnAir = 'off' | 'connecting' | 'on' | 'reconnecting';

/** Tells `change`. */
export class Publisher extends EventTarget {
  state: OnAir = 'off';
  /** Why it is not on air, in words. */
  problem: Problem | null = null;
  upstream: Upstream | null = null;
  /** For so many readings on end the browser sent less than it should; the first are its start. */
  limitedFor = 0;
  #session: WhipSession | null = null;
  #stream = new MediaStream();
  #backoff = new Backoff(500, 8_000);
  #retry: ReturnType<typeof setTimeout> | undefined;
  #watch: ReturnType<typeof setTimeout> | undefined;
  #measuring: ReturnType<typeof setInterval> | undefined;
  #reading: Reading | null = null;
  /** We were on air: the place is ours, and our own lost session must not keep us out of it. */
  #held = false;

  constructor(
    private readonly endpoint: string,
    private readonly token: string,
  ) {
    super();
    addEventListener('online', () => {
      if (this.#retry !== undefined) void this.#open(this.#held);
    });
    addEventListener('pagehide', () => void this.#session?.close());
  }

  /** What is sent, now and from now on. */
  use(stream: MediaStream): void {
    this.#stream = stream;
    void this.#session?.replace(this.#video, this.#audio);
  }

  async start(takeover = false): Promise<void> {
    if (this.state !== 'off') return;
    this.#become('connecting');
    this.#held = takeover;
    await this.#open(takeover);
  }

  async stop(): Promise<void> {
    clearTimeout(this.#retry);
    this.#retry = undefined;
    const session = this.#session;
    this.#forget();
    this.#held = false;
    this.problem = null;
    this.#become('off');
    await session?.close();
  }

  get #video(): MediaStreamTrack | null {
    return this.#stream.getVideoTracks()[0] ?? null;
  }

  get #audio(): MediaStreamTrack | null {
    return this.#stream.getAudioTracks()[0] ?? null;
  }

  async #open(takeover: boolean): Promise<void> {
    clearTimeout(this.#retry);
    this.#retry = undefined;
    this.#session?.abandon();
    this.#forget();
    const session = new WhipSession(this.endpoint, this.token, { video: this.#video, audio: this.#audio });
    this.#session = session;
    session.connection.addEventListener('connectionstatechange', () => this.#stateOf(session));
    try {
      await session.open(takeover);
    } catch (error) {
      if (this.#session === session) this.#failed(error);
      else await session.close();
      return;
    }
    // Stopped, or begun anew, while the answer was on its way.
    if (this.#session === session) this.#expect(session, CONNECT_MS);
    else await session.close();
  }

  #stateOf(session: WhipSession): void {
    if (this.#session !== session) return;
    switch (session.connection.connectionState) {
      case 'connected':
        clearTimeout(this.#watch);
        this.#backoff.succeeded();
        this.problem = null;
        this.#held = true;
        this.#measure(session);
        this.#become('on');
        return;
      case 'disconnected':
        this.#expect(session, DISCONNECTED_MS);
        return;
      case 'failed':
        this.#lost();
    }
  }

  /** Connected within this time, or we begin anew. */
  #expect(session: WhipSession, withinMs: number): void {
    clearTimeout(this.#watch);
    if (session.connection.connectionState === 'connected') return;
    this.#watch = setTimeout(() => this.#lost(), withinMs);
  }

  #lost(): void {
    this.#session?.abandon();
    this.#forget();
    this.#again(this.#backoff.next());
  }

  #failed(error: unknown): void {
    this.#session?.abandon();
    this.#forget();
    this.problem = error instanceof Problem ? error : new Problem(0, 'The server does not answer.', null);
    if (isFinal(this.problem)) this.#become('off');
    else this.#again(Math.max(this.#backoff.next(), (this.problem.retryAfterS ?? 0) * 1000));
  }

  #again(afterMs: number): void {
    this.#become(this.#held ? 'reconnecting' : 'connecting');
    this.#retry = setTimeout(() => void this.#open(this.#held), afterMs);
  }

  #forget(): void {
    clearTimeout(this.#watch);
    clearInterval(this.#measuring);
    [this.#session, this.#reading, this.upstream, this.limitedFor] = [null, null, null, 0];
  }

  #measure(session: WhipSession): void {
    clearInterval(this.#measuring);
    this.#measuring = setInterval(() => void this.#read(session), STATS_MS);
  }

  async #read(session: WhipSession): Promise<void> {
    const report = await session.connection.getStats();
    if (this.#session !== session) return;
    const stats: Record<string, unknown>[] = [];
    report.forEach((stat: Record<string, unknown>) => stats.push(stat));
    const now = reading(performance.now(), stats);
    if (this.#reading) this.upstream = upstream(this.#reading, now);
    this.limitedFor = this.upstream?.limitedBy ? this.limitedFor + 1 : 0;
    this.#reading = now;
    this.dispatchEvent(new Event('change'));
  }

  #become(state: OnAir): void {
    this.state = state;
    this.dispatchEvent(new Event('change'));
  }
}

/** Asking again would get the same answer: a bad token, somebody else on air, an ended broadcast, a refused offer. */
const isFinal = ({ status }: Problem): boolean => status >= 400 && status < 500 && status !== 408 && status !== 429;
