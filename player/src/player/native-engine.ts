/** The browser's own HLS, for iPhones that have no MediaSource (iOS before 17.1). */
import type { WallMs } from '../core/time';
import type { Engine, Level } from './engine';

/** Without blocking reloads the edge of `seekable` is where Safari wants to be already. */
const TARGET_S = 6;

interface SafariVideo extends HTMLVideoElement {
  /** The wall time of time 0, from PROGRAM-DATE-TIME. */
  getStartDate?(): Date;
}

export class NativeEngine extends EventTarget implements Engine {
  readonly levels: readonly Level[] = [];
  readonly level = -1;
  readonly rate = null;
  readonly stages = null;
  /** Safari keeps its own distance. */
  following = false;
  #aborter = new AbortController();

  constructor(
    private readonly video: SafariVideo,
    url: string,
  ) {
    super();
    const { signal } = this.#aborter;
    video.addEventListener('loadedmetadata', () => this.dispatchEvent(new Event('ready')), { signal });
    video.addEventListener('error', () => setTimeout(() => video.load(), 3_000), { signal });
    video.src = url;
  }

  get #startMs(): number {
    return this.video.getStartDate?.().getTime() ?? NaN;
  }

  get playingDate(): Date | null {
    const start = this.#startMs;
    return Number.isNaN(start) ? null : new Date(start + this.video.currentTime * 1000);
  }

  timeOf(wall: WallMs): number | null {
    const start = this.#startMs;
    return Number.isNaN(start) ? null : (wall - start) / 1000;
  }

  get live(): boolean {
    return this.video.duration === Infinity;
  }

  get livePosition(): number | null {
    const { seekable } = this.video;
    return seekable.length > 0 ? seekable.end(seekable.length - 1) : null;
  }

  get edge(): { latencyS: number; targetS: number } | null {
    const position = this.livePosition;
    return this.live && position !== null ? { latencyS: position - this.video.currentTime, targetS: TARGET_S } : null;
  }

  destroy(): void {
    this.#aborter.abort();
    this.video.removeAttribute('src');
    this.video.load();
  }
}
