/** On air and staying there: a WHIP session that is opened again whenever it is lost, until somebody stops it. */
import { Problem } from '../api';
import { Backoff } from '../core/backoff';
import { reading, upstream, type Reading, type Upstream } from '../core/upstream';
import { WhipSession } from './whip';

/** ICE often mends itself; longer than this it does not. */
const DISCONNECTED_MS = 3_000;
/** An answer came, but no connection: a firewall, or a server that is gone again. */
const CONNECT_MS = 10_000;
/** A restart of ICE is quicker than a new session, or does not help. */
const RESTART_MS = 5_000;
const STATS_MS = 1_000;
/** A request without an answer may have been granted. The server finds such a session silent by then, and drops it. */
const DOUBT_MS = 45_000;

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
  /** We were on air. */
  #held = false;
  /** Whose place the next session may take: `true` is anybody's, else the id of our own former session. */
  #claim: string | null = null;
  /** Resolved once what we gave back is gone. */
  #farewell: Promise<unknown> = Promise.resolve();
  #doubtUntilMs = 0;

  constructor(
    private readonly endpoint: string,
    private readonly token: string,
  ) {
    super();
    addEventListener('online', () => {
      if (this.#retry !== undefined) void this.#open();
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
    this.#claim = takeover ? 'true' : null;
    await this.#open();
  }

  async stop(): Promise<void> {
    clearTimeout(this.#retry);
    this.#retry = undefined;
    const session = this.#session;
    this.#forget();
    [this.#held, this.#claim, this.#doubtUntilMs] = [false, null, 0];
    this.problem = null;
    this.#become('off');
    if (session) await this.#giveBack(session);
  }

  /** The origin of the server that has the session; null while there is none. */
  get server(): string | null {
    return this.#session?.server ?? null;
  }

  get #video(): MediaStreamTrack | null {
    return this.#stream.getVideoTracks()[0] ?? null;
  }

  get #audio(): MediaStreamTrack | null {
    return this.#stream.getAudioTracks()[0] ?? null;
  }

  async #open(): Promise<void> {
    clearTimeout(this.#retry);
    this.#retry = undefined;
    this.#release();
    const session = new WhipSession(this.endpoint, this.token, { video: this.#video, audio: this.#audio });
    this.#session = session;
    session.connection.addEventListener('connectionstatechange', () => this.#stateOf(session));
    try {
      // The place is not free before; and our own former session is no "somebody else".
      await this.#farewell;
      if (this.#session === session) await session.open(this.#claim);
    } catch (error) {
      if (this.#session === session) this.#failed(error);
      else await this.#giveBack(session);
      return;
    }
    // Stopped, or begun anew, while the answer was on its way.
    if (this.#session === session) this.#connecting(session);
    else await this.#giveBack(session);
  }

  #stateOf(session: WhipSession): void {
    if (this.#session !== session) return;
    switch (session.connection.connectionState) {
      case 'connected':
        clearTimeout(this.#watch);
        this.#backoff.succeeded();
        this.problem = null;
        [this.#held, this.#doubtUntilMs] = [true, 0];
        this.#measure(session);
        this.#become('on');
        return;
      case 'disconnected':
        this.#expect(session, DISCONNECTED_MS, () => void this.#mend(session));
        return;
      case 'failed':
        this.#lost();
    }
  }

  /** Connected within this time, or we begin anew. */
  #expect(session: WhipSession, withinMs: number, otherwise = () => this.#lost()): void {
    clearTimeout(this.#watch);
    if (session.connection.connectionState === 'connected') return;
    this.#watch = setTimeout(otherwise, withinMs);
  }

  #connecting(session: WhipSession): void {
    if (session.hasServers) this.#expect(session, DISCONNECTED_MS, () => void this.#mend(session));
    else this.#expect(session, CONNECT_MS);
  }

  /** The same session over another way: the network may be another. */
  async #mend(session: WhipSession): Promise<void> {
    this.#expect(session, RESTART_MS);
    try {
      await session.restart();
    } catch {
      if (this.#session === session && session.connection.connectionState !== 'connected') this.#lost();
    }
  }

  #lost(): void {
    this.#release();
    this.#again(this.#backoff.next());
  }

  /** The next session takes the lost one's place. A DELETE is a good-bye, which ends the lecture soon: not once we were on air. */
  #release(): void {
    const session = this.#session;
    this.#forget();
    if (!session) return;
    this.#claim = session.id ?? this.#claim;
    if (this.#held) session.abandon();
    else void this.#giveBack(session);
  }

  #giveBack(session: WhipSession): Promise<unknown> {
    this.#farewell = Promise.all([this.#farewell, session.close()]);
    return this.#farewell;
  }

  #failed(error: unknown): void {
    this.#release();
    this.problem = Problem.of(error, 'The server does not answer.');
    if (this.problem.status === 0) this.#doubtUntilMs = Date.now() + DOUBT_MS;
    if (this.#isFinal(this.problem)) this.#giveUp();
    else this.#again(Math.max(this.#backoff.next(), (this.problem.retryAfterS ?? 0) * 1000));
  }

  #again(afterMs: number): void {
    this.#become(this.#held ? 'reconnecting' : 'connecting');
    this.#retry = setTimeout(() => void this.#open(), afterMs);
  }

  #giveUp(): void {
    [this.#held, this.#claim] = [false, null];
    this.#become('off');
  }

  /** Asking again would get the same answer: a bad token, somebody else on air, an ended broadcast, a refused offer. */
  #isFinal({ status }: Problem): boolean {
    // Who is on air may be ourselves: the session of a request that was granted, and its answer lost.
    if (status === 409 && Date.now() < this.#doubtUntilMs) return false;
    return status >= 400 && status < 500 && status !== 408 && status !== 429;
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
