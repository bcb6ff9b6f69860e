/**
 * A picture that stands still though it could go on. hls.js and browsers now and then wait for what nobody brings: a
 * seek ends in a hole beside media that is there, a decoder does not start, nothing more is asked for, or the end is
 * not seen. hls.js can miss the last parts when they come in the same update as EXT-X-ENDLIST, or when sound and picture
 * end a few milliseconds apart: it takes the last segment for loaded, and waits for its end for ever.
 */
import type { Stretch } from './latency';

export interface Look {
  /** The viewer wants it to move: not paused, not ended. */
  playing: boolean;
  /** More will come. */
  live: boolean;
  timeS: number;
  buffered: readonly Stretch[];
  /** The end of what the playlist lists. */
  edgeS: number;
  /** When media was last asked for, or came. */
  lastMediaMs: number;
}

/** Where to jump; the player to be built anew; or nothing more, as this was the end. */
export type Cure = { seekS: number } | 'rebuild' | 'over';

/** So long the picture may stand before something is done; twice as long after each cure that did not help. */
const PATIENCE_MS = 3_000;
const MOST_PATIENCE_MS = 30_000;
/** As much as a decoder may want before it starts. */
const ENOUGH_S = 0.5;
/** Beyond a hole less will do: there, more of it is asked for. */
const CRUMB_S = 0.1;
/**
 * A segment of ours. So much may be left out to go on: beyond a larger hole the media may be of another time. And so near
 * to the end one waits for the last.
 */
const SEGMENT_S = 3.5;
/** Nobody misses so little of the end. */
const LAST_CRUMB_S = 0.5;
/** Into what is there, past the rounding of its first picture's time. */
const STEP_S = 0.05;
/** Longer than any request may take before it is given up. */
const SILENCE_MS = 25_000;

/** Movement in a second at no more than twice the speed, with a late timer: more than this is a jump. */
const MOST_PROGRESS_S = 4;

export class Standstill {
  #sinceMs = 0;
  #timeS = NaN;
  #live = true;
  /** In vain so far. */
  #cures = 0;
  #cured = false;

  /** To be asked about once a second. */
  check(nowMs: number, look: Look): Cure | null {
    const progressS = look.timeS - this.#timeS;
    // With the end come the last parts: they are given time to be loaded.
    const justEnded = this.#live && !look.live;
    [this.#timeS, this.#live] = [look.timeS, look.live];
    if (!look.playing || progressS !== 0 || justEnded) return this.#moved(nowMs, look.playing && !(progressS > 0 && progressS < MOST_PROGRESS_S));
    if (nowMs - this.#sinceMs < Math.min(PATIENCE_MS * 2 ** this.#cures, MOST_PATIENCE_MS)) return null;
    const cure = this.#cureOf(nowMs, look);
    if (cure === null) return null;
    this.#sinceMs = nowMs;
    this.#cures += 1;
    this.#cured = true;
    return cure;
  }

  /** Put elsewhere, as a cure does, is not yet cured. */
  #moved(nowMs: number, jumped: boolean): null {
    if (!jumped && !this.#cured) this.#cures = 0;
    this.#cured = false;
    this.#sinceMs = nowMs;
    return null;
  }

  #cureOf(nowMs: number, { timeS, live, buffered, edgeS, lastMediaMs }: Look): Cure | null {
    const leftS = edgeS - timeS;
    // Built anew it loads the last segment whole.
    if (!live && leftS < SEGMENT_S) return leftS < LAST_CRUMB_S ? 'over' : 'rebuild';
    const next = buffered.find(({ startS, endS }) => (startS > timeS ? endS - startS > CRUMB_S : endS - timeS >= ENOUGH_S));
    if (next && next.startS - timeS <= SEGMENT_S) return this.#cures === 0 ? { seekS: Math.max(next.startS, timeS) + STEP_S } : 'rebuild';
    const starved = leftS > SEGMENT_S && nowMs - lastMediaMs > SILENCE_MS;
    return starved ? 'rebuild' : null;
  }
}
