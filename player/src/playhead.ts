/** What a room needs to know of the player beside it. */
import type { Ticks } from './core/time';

export interface Playhead extends EventTarget {
  /** The wall time of the picture that is shown. */
  readonly playingDate: Date | null;
  readonly mediaTicks: Ticks | null;
  /** How far behind the server's clock that picture is; null where nothing plays or all is over. */
  readonly latencyMs: number | null;
  /** The viewer wants to be at the live edge, wherever a slow connection leaves them just now. */
  readonly following: boolean;
  /** 0 while it stands still. */
  readonly rate: number;
  goLive(): void;
}

/** The playhead moved, jumped, stopped or went on. */
export const MOVED = 'playheadmove';

/** A picture was shown: where timers come late, on a busy machine, these still come with the picture. */
export const SHOWN = 'playheadshown';
