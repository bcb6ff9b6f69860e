/** Where a viewer is against the live edge. */

/** Further back than this the room is shown by position; back within the nearer bound, on arrival. */
const REWOUND_MS = 10_000;
const RETURNED_MS = 7_000;

/** With a hysteresis, so that the room does not flip at the bound. */
export const isRewound = (was: boolean, behindMs: number): boolean => behindMs > (was ? RETURNED_MS : REWOUND_MS);

/** hls.js catches up by playing faster only when a second is buffered; a late joiner with less stays late for ever. */
const TOO_LATE_S = 2;
const PATIENCE_MS = 2_000;

/** Says when a viewer who follows the live edge has been too late for too long. */
export class LiveGuard {
  #lateSince: number | null = null;

  /** True: seek to the live edge now. */
  observe(nowMs: number, following: boolean, latencyS: number, targetS: number): boolean {
    if (!following || latencyS <= targetS + TOO_LATE_S) {
      this.#lateSince = null;
      return false;
    }
    this.#lateSince ??= nowMs;
    if (nowMs - this.#lateSince < PATIENCE_MS) return false;
    this.#lateSince = null;
    return true;
  }
}
