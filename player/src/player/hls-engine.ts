/** hls.js, set up for low latency, and kept going whatever happens while the page is open. */
import Hls, { ErrorDetails, ErrorTypes, Events, type ErrorData, type Fragment, type HlsConfig, type LevelDetails } from 'hls.js';
import workerPath from 'hls.js/dist/hls.worker.js?url';
import { Backoff } from '../core/backoff';
import { lowerBound } from '../core/message';
import type { WallMs } from '../core/time';
import type { Engine, Level } from './engine';

/** Unnoticeable in speech, yet two seconds are made good in half a minute. */
const CATCH_UP_RATE = 1.08;
/** A media error so soon after the last one is not cured by the same medicine. */
const RELAPSE_MS = 5_000;
/** A live playlist that has not grown for this long is asked for anew. */
const STALE_S = 12;
const CHECK_MS = 1_000;
/** Standing still nearer to the end than this is waiting for the last segment. */
const LAST_S = 3.5;
/** Nobody misses so little. */
const CRUMB_S = 0.5;
const STUCK_CHECKS = 3;

const CONFIG: Partial<HlsConfig> = {
  lowLatencyMode: true,
  maxLiveSyncPlaybackRate: CATCH_UP_RATE,
  // The default, a whole second for each stall, is more than the latency itself.
  liveSyncOnStallIncrease: 0.3,
  // The browser drops what is old when its buffer is full. When hls.js 1.7.4 does, it may ask for nothing until the picture has stalled.
  backBufferLength: Infinity,
  liveDurationInfinity: true,
  liveMaxUnchangedPlaylistRefresh: 10,
  capLevelToPlayerSize: true,
  enableWorker: true,
  workerPath,
};

export class HlsEngine extends EventTarget implements Engine {
  #hls!: Hls;
  #backoff = new Backoff(500, 8_000);
  #recovery: ReturnType<typeof setTimeout> | undefined;
  #checking: ReturnType<typeof setInterval>;
  #mediaErrorAt = -Infinity;
  #level = -1;
  #lastTimeS = NaN;
  #stillFor = 0;
  #catchUp = true;
  /** What the video forgets when its source is taken away. */
  #before: { playing: boolean; rate: number; timeS: number } | null = null;

  constructor(
    private readonly video: HTMLVideoElement,
    private readonly url: string,
  ) {
    super();
    this.#build();
    this.#checking = setInterval(() => this.#check(), CHECK_MS);
  }

  get playingDate(): Date | null {
    return this.#hls.playingDate;
  }

  get live(): boolean {
    return this.#hls.latestLevelDetails?.live ?? false;
  }

  get livePosition(): number | null {
    return this.#hls.liveSyncPosition;
  }

  get edge(): { latencyS: number; targetS: number } | null {
    const [targetS, position] = [this.#hls.targetLatency, this.livePosition];
    if (!this.live || targetS === null || position === null) return null;
    // Not hls.js's own `latency`: in the midst of a seek that is still the one from before.
    return { latencyS: position + targetS - this.video.currentTime, targetS };
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

  get catchUp(): boolean {
    return this.#catchUp;
  }

  set catchUp(catchUp: boolean) {
    this.#catchUp = catchUp;
    // At exactly 1 hls.js leaves the playback rate to us; otherwise it sets a viewer's own rate back to 1.
    this.#hls.config.maxLiveSyncPlaybackRate = catchUp ? CATCH_UP_RATE : 1;
  }

  destroy(): void {
    clearInterval(this.#checking);
    clearTimeout(this.#recovery);
    this.#hls.destroy();
  }

  #build(startPosition = -1): void {
    const hls = new Hls({ ...CONFIG, startPosition, maxLiveSyncPlaybackRate: this.#catchUp ? CATCH_UP_RATE : 1 });
    this.#hls = hls;
    hls.on(Events.MANIFEST_PARSED, () => {
      if (this.#level >= 0) hls.nextLevel = this.#level;
      this.dispatchEvent(new Event('levels'));
      this.dispatchEvent(new Event('ready'));
    });
    hls.on(Events.MEDIA_DETACHING, () => this.#remember());
    hls.on(Events.MEDIA_ATTACHED, () => this.#resume());
    hls.on(Events.LEVELS_UPDATED, () => this.dispatchEvent(new Event('levels')));
    hls.on(Events.FRAG_BUFFERED, () => this.#recovered());
    hls.on(Events.ERROR, (_, error) => this.#failed(error));
    hls.loadSource(this.url);
    hls.attachMedia(this.video);
  }

  #failed(error: ErrorData): void {
    if (!error.fatal) return;
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
    this.#trouble('The connection is interrupted. Trying again…');
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
    const startPosition = this.live && this.#catchUp ? -1 : (this.#before?.timeS ?? -1);
    this.#hls.destroy();
    this.#build(startPosition);
  }

  /** Without a source a video is paused, at 0, at its usual speed. A second failure on end has nothing new to tell. */
  #remember(): void {
    const { paused, playbackRate, currentTime } = this.video;
    this.#before ??= { playing: !paused, rate: playbackRate, timeS: currentTime };
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
    else if (details) this.#checkEnd(details);
  }

  /**
   * hls.js can miss the last parts when they come in the same update as EXT-X-ENDLIST, or when sound and picture end a
   * few milliseconds apart: it takes the last segment for loaded, and waits for its end for ever.
   */
  #checkEnd({ edge }: LevelDetails): void {
    const { currentTime, paused, ended } = this.video;
    const still = !paused && !ended && currentTime === this.#lastTimeS;
    this.#lastTimeS = currentTime;
    this.#stillFor = still ? this.#stillFor + 1 : 0;
    if (this.#stillFor < STUCK_CHECKS) return;
    this.#stillFor = 0;
    if (edge - currentTime < CRUMB_S) this.dispatchEvent(new Event('over'));
    // Started anew it loads the last segment whole.
    else if (edge - currentTime < LAST_S) this.#rebuild();
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

const dateOf = (fragment: Fragment): WallMs => fragment.programDateTime ?? Infinity;

/** The rendition's folder is its name. */
const nameOf = (url: string, height: number): string => /([^/]+)\/[^/]+\.m3u8(?:\?.*)?$/.exec(url)?.[1] ?? `${height}p`;
