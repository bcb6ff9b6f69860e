/** hls.js, set up for low latency, and kept going whatever happens while the page is open. */
import Hls, { ErrorDetails, ErrorTypes, Events, type ErrorData, type Fragment, type HlsConfig, type LevelDetails, type Part, PlaylistLevelType, type LoaderConfig, type RetryConfig } from 'hls.js';
import { Backoff } from '../core/backoff';
import { LatencyController, type Stretch } from '../core/latency';
import { lowerBound } from '../core/message';
import { Standstill } from '../core/standstill';
import type { WallMs } from '../core/time';
import type { Engine, Level, Stages } from './engine';
import { Hints, partLoader, type PlainLoader } from './part-loader';

/** How often the distance to the live edge is looked at. */
const STEER_MS = 200;
/** A media error so soon after the last one is not cured by the same medicine. */
const RELAPSE_MS = 5_000;
/** A live playlist that has not grown for this long is asked for anew. */
const STALE_S = 12;
const CHECK_MS = 1_000;
const INTERRUPTED = 'The connection is interrupted. Trying again…';

/** As hls.js has it for the first one listed. */
const MOST_FIRST_MBPS = 5;

/** So often that nothing has come, before the viewer is told. */
const TELL_AFTER = 3;
/** What the server says is not there may have been lost with it; a few attempts later something else is tried. */
const MOST_REFUSALS = 4;

/**
 * A server that restarts refuses connections or answers 503 for some seconds, and then goes on where it was: everything
 * is asked for again until it does. hls.js by itself gives up at the first refused connection.
 */
const RETRY: RetryConfig = {
  maxNumRetry: Infinity,
  retryDelayMs: 250,
  maxRetryDelayMs: 2_000,
  shouldRetry: (_, count, isTimeout, response) => {
    const status = response?.code ?? 0;
    return isTimeout || status === 0 || status >= 500 || (status >= 400 && count < MOST_REFUSALS);
  },
};
const POLICY: LoaderConfig = { maxTimeToFirstByteMs: 8_000, maxLoadTimeMs: 20_000, timeoutRetry: RETRY, errorRetry: RETRY };

const CONFIG: Partial<HlsConfig> = {
  lowLatencyMode: true,
  // The distance to the live edge is ours to keep: at exactly 1 hls.js leaves the playback rate alone.
  maxLiveSyncPlaybackRate: 1,
  liveSyncOnStallIncrease: 0,
  manifestLoadPolicy: { default: POLICY },
  playlistLoadPolicy: { default: POLICY },
  fragLoadPolicy: { default: POLICY },
  // The browser drops what is old when its buffer is full. When hls.js 1.7.4 does, it may ask for nothing until the picture has stalled.
  backBufferLength: Infinity,
  liveDurationInfinity: true,
  liveMaxUnchangedPlaylistRefresh: 10,
  capLevelToPlayerSize: true,
  // Nothing is remuxed: to look into a part takes less than to send it to a worker and back, and to load one first.
  enableWorker: false,
};

export class HlsEngine extends EventTarget implements Engine {
  #hls!: Hls;
  #backoff = new Backoff(500, 8_000);
  #recovery: ReturnType<typeof setTimeout> | undefined;
  #checking: ReturnType<typeof setInterval>;
  #mediaErrorAt = -Infinity;
  #level = -1;
  #following = true;
  #latency = new LatencyController();
  #standstill = new Standstill();
  #lastMediaMs = 0;
  #hints = new Hints();
  #steering: ReturnType<typeof setInterval>;
  #rate = 1;
  #edgeAgeMs: number | null = null;
  #aborter = new AbortController();
  /** What the video forgets when its source is taken away. */
  #before: { playing: boolean; rate: number; timeS: number } | null = null;

  constructor(
    private readonly video: HTMLVideoElement,
    private readonly url: string,
  ) {
    super();
    this.#build();
    this.#checking = setInterval(() => this.#check(), CHECK_MS);
    this.#steering = setInterval(() => this.#steer(), STEER_MS);
    const { signal } = this.#aborter;
    video.addEventListener('seeking', () => this.#jumped(), { signal });
    video.addEventListener('waiting', () => this.#steers && this.#latency.stalled(performance.now()), { signal });
  }

  get playingDate(): Date | null {
    return this.#hls.playingDate;
  }

  get live(): boolean {
    return this.#hls.latestLevelDetails?.live ?? false;
  }

  get livePosition(): number | null {
    return this.#latency.livePositionAt(performance.now()) ?? this.#hls.liveSyncPosition;
  }

  get edge(): { latencyS: number; targetS: number } | null {
    const nowMs = performance.now();
    const latencyS = this.live ? this.#latency.latencyAt(nowMs, this.video.currentTime) : null;
    return latencyS === null ? null : { latencyS, targetS: this.#latency.targetAt(nowMs) };
  }

  get rate(): number {
    return this.#rate;
  }

  get stages(): Stages {
    const { edge } = this;
    return {
      edgeAgeMs: this.#edgeAgeMs,
      fetchMs: this.#hints.fetchMs,
      bufferMs: 1000 * Math.max(0, (this.#stretch?.endS ?? -Infinity) - this.video.currentTime),
      latencyMs: edge && edge.latencyS * 1000,
      targetMs: edge && edge.targetS * 1000,
      rate: this.video.playbackRate,
      hints: { used: this.#hints.used, missed: this.#hints.missed },
    };
  }

  timeOf(wall: WallMs): number | null {
    const fragments = this.#hls.latestLevelDetails?.fragments ?? [];
    const after = lowerBound(fragments, (fragment) => dateOf(fragment) <= wall);
    const fragment = fragments[Math.max(0, after - 1)];
    return fragment ? fragment.start + (wall - dateOf(fragment)) / 1000 : null;
  }

  get levels(): readonly Level[] {
    return this.#hls.levels.map(({ url, width, height, bitrate }) => ({ name: nameOf(url[0] ?? '', height), width, height, bitrate }));
  }

  get level(): number {
    return this.#level;
  }

  /** From the next segment on: what is buffered plays on, so nothing stands still. */
  set level(level: number) {
    this.#level = level;
    this.#hls.nextLevel = level;
  }

  get following(): boolean {
    return this.#following;
  }

  /** From here on the video's speed is its viewer's, or ours to begin with: 1. */
  set following(following: boolean) {
    this.#following = following;
    this.#rate = 1;
  }

  destroy(): void {
    clearInterval(this.#checking);
    clearInterval(this.#steering);
    clearTimeout(this.#recovery);
    this.#aborter.abort();
    this.#hls.destroy();
    this.#hints.destroy();
  }

  #build(startPosition = -1): void {
    this.#hints.destroy();
    const hls = new Hls({ ...CONFIG, ...firstEstimate(), startPosition, fLoader: partLoader(this.#hints, Hls.DefaultConfig.loader as PlainLoader) });
    this.#hls = hls;
    hls.on(Events.MANIFEST_PARSED, () => {
      if (this.#level >= 0) hls.nextLevel = this.#level;
      this.dispatchEvent(new Event('levels'));
      this.dispatchEvent(new Event('ready'));
    });
    hls.on(Events.MEDIA_DETACHING, () => this.#remember());
    hls.on(Events.MEDIA_ATTACHED, () => this.#resume());
    hls.on(Events.LEVELS_UPDATED, () => this.dispatchEvent(new Event('levels')));
    hls.on(Events.LEVEL_LOADED, (_, { details }) => this.#hints.listed(PlaylistLevelType.MAIN, details));
    hls.on(Events.AUDIO_TRACK_LOADED, (_, { details }) => this.#hints.listed(PlaylistLevelType.AUDIO, details));
    hls.on(Events.FRAG_LOADING, (_, { frag, part }) => this.#asked(frag, part));
    hls.on(Events.LEVEL_SWITCHING, () => this.#hints.forget(PlaylistLevelType.MAIN));
    hls.on(Events.AUDIO_TRACK_SWITCHING, () => this.#hints.forget(PlaylistLevelType.AUDIO));
    hls.on(Events.LEVEL_UPDATED, (_, { details }) => this.#listed(details));
    hls.on(Events.FRAG_BUFFERED, () => this.#recovered());
    hls.on(Events.BUFFER_APPENDED, () => this.#appended());
    hls.on(Events.ERROR, (_, error) => this.#failed(error));
    hls.loadSource(this.url);
    hls.attachMedia(this.video);
  }

  /** There is a live edge to keep, and a viewer who sees it kept. */
  get #steers(): boolean {
    const { paused, seeking, ended, currentTime } = this.video;
    return this.#following && this.live && !paused && !seeking && !ended && currentTime > 0 && !document.hidden;
  }

  get #stretches(): Stretch[] {
    const { buffered } = this.video;
    return Array.from({ length: buffered.length }, (_, i) => ({ startS: buffered.start(i), endS: buffered.end(i) }));
  }

  /** What is buffered around the playhead. */
  get #stretch(): Stretch | undefined {
    return this.#stretches.findLast(({ startS }) => startS <= this.video.currentTime);
  }

  #listed(details: LevelDetails): void {
    if (!details.live || !details.advanced || details.advancedDateTime === undefined) return;
    const agoMs = Date.now() - details.advancedDateTime;
    this.#latency.listed(performance.now() - agoMs, details.edge, { partsS: details.partHoldBack || details.holdBack, segmentsS: details.holdBack });
    const fragment = details.fragmentHint ?? details.fragments.at(-1);
    if (fragment) this.#edgeAgeMs = details.advancedDateTime - dateOf(fragment) - (details.edge - fragment.start) * 1000;
  }

  #asked({ type }: Fragment, part: Part | null | undefined): void {
    this.#lastMediaMs = performance.now();
    if (part) this.#hints.expected(type, part.url);
  }

  #appended(): void {
    this.#lastMediaMs = performance.now();
    const { endS } = this.#stretch ?? {};
    if (endS !== undefined && this.#steers) this.#latency.buffered(performance.now(), endS);
  }

  #jumped(): void {
    this.#latency.interrupted();
    const { currentTime } = this.video;
    if (this.#stretches.some(({ startS, endS }) => startS <= currentTime && currentTime < endS)) return;
    for (const kind of [PlaylistLevelType.MAIN, PlaylistLevelType.AUDIO]) this.#hints.forget(kind);
  }

  #steer(): void {
    const steering = this.#steers;
    if (!steering) this.#latency.interrupted();
    const { rate, seekS } = this.#latency.steer(performance.now(), { timeS: this.video.currentTime, buffered: this.#stretches }, steering);
    if (rate !== this.#rate) this.#rate = this.video.playbackRate = rate;
    if (seekS !== null) this.video.currentTime = seekS;
  }

  #failed(error: ErrorData): void {
    if (!error.fatal) {
      if (error.type === ErrorTypes.NETWORK_ERROR && (error.errorAction?.retryCount ?? 0) >= TELL_AFTER) this.#trouble(INTERRUPTED);
      return;
    }
    console.warn(`hls.js: ${error.details}`, error.error);
    if (error.type === ErrorTypes.MEDIA_ERROR) this.#cure();
    else if (error.type === ErrorTypes.NETWORK_ERROR) this.#retry(error.details);
    else this.#later(() => this.#rebuild());
  }

  #cure(): void {
    const again = performance.now() - this.#mediaErrorAt < RELAPSE_MS;
    this.#mediaErrorAt = performance.now();
    if (again) this.#later(() => this.#rebuild());
    else this.#hls.recoverMediaError();
  }

  #retry(details: ErrorDetails): void {
    this.#trouble(INTERRUPTED);
    // Before there are levels there is nothing to go on with.
    if (this.#hls.levels.length === 0 || details === ErrorDetails.MANIFEST_LOAD_ERROR) this.#later(() => this.#hls.loadSource(this.url));
    else this.#later(() => this.#hls.startLoad());
  }

  #later(action: () => void): void {
    clearTimeout(this.#recovery);
    this.#recovery = setTimeout(action, this.#backoff.next());
  }

  #rebuild(): void {
    this.#remember();
    // Who follows what is live starts at the live edge again; everybody else where they were.
    const startPosition = this.live && this.#following ? -1 : (this.#before?.timeS ?? -1);
    this.#hls.destroy();
    this.#build(startPosition);
  }

  /** Without a source a video is paused, at 0, at its usual speed. A second failure on end has nothing new to tell. */
  #remember(): void {
    const { paused, playbackRate, currentTime } = this.video;
    this.#before ??= { playing: !paused, rate: playbackRate === this.#rate ? 1 : playbackRate, timeS: currentTime };
    this.#rate = 1;
  }

  #resume(): void {
    const before = this.#before;
    this.#before = null;
    if (!before) return;
    this.video.playbackRate = before.rate;
    if (before.playing) void this.video.play().catch(() => undefined);
  }

  #recovered(): void {
    this.#backoff.succeeded();
    this.#trouble(null);
  }

  #trouble(words: string | null): void {
    this.dispatchEvent(new CustomEvent('trouble', { detail: words }));
  }

  #check(): void {
    const details = this.#hls.latestLevelDetails;
    if (details?.live) this.#checkAge(details);
    if (details) this.#checkMovement(details);
  }

  #checkMovement({ edge, live }: LevelDetails): void {
    const { currentTime: timeS, paused, ended } = this.video;
    const look = { playing: !paused && !ended, live, timeS, buffered: this.#stretches, edgeS: edge, lastMediaMs: this.#lastMediaMs };
    const cure = this.#standstill.check(performance.now(), look);
    if (cure === null) return;
    console.warn('the picture stands still', timeS, JSON.stringify(cure));
    if (cure === 'rebuild') this.#rebuild();
    else if (cure === 'over') this.dispatchEvent(new Event('over'));
    else this.video.currentTime = cure.seekS;
  }

  /** hls.js stops asking for a playlist that did not change for ten times; a broadcast may go on much later. */
  #checkAge(details: LevelDetails): void {
    if (details.age < STALE_S) return;
    this.#trouble('Nothing new arrives from the server. Trying again…');
    details.advancedDateTime = Date.now();
    this.#hls.stopLoad();
    this.#hls.startLoad();
  }
}

/** What the browser knows of its network (not all do) chooses the first rung; hls.js by itself takes the first one listed. */
function firstEstimate(): Partial<HlsConfig> {
  const mbps = (globalThis.navigator as { connection?: { downlink?: number } } | undefined)?.connection?.downlink;
  return mbps ? { abrEwmaDefaultEstimate: Math.min(mbps, MOST_FIRST_MBPS) * 1e6 } : {};
}

const dateOf = (fragment: Fragment): WallMs => fragment.programDateTime ?? Infinity;

/** The rendition's folder is its name. */
const nameOf = (url: string, height: number): string => /([^/]+)\/[^/]+\.m3u8(?:\?.*)?$/.exec(url)?.[1] ?? `${height}p`;
