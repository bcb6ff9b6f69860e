/** What plays a presentation in a `<video>`: hls.js, or the browser itself where there is no MediaSource. */
import type { WallMs } from '../core/time';

/** One rung of the ladder. */
export interface Level {
  name: string;
  width: number;
  height: number;
  bitrate: number;
}

/** Tells `ready`, `levels`, `trouble` (detail: in words, or null when it is over) and `over` (nothing more will come). */
export interface Engine extends EventTarget {
  /** The wall time of the picture on show, from PROGRAM-DATE-TIME. */
  readonly playingDate: Date | null;
  /** Where in the video that moment is. */
  timeOf(wall: WallMs): number | null;
  /** The presentation goes on. */
  readonly live: boolean;
  /** Where a viewer at the live edge should be, in the video's time. */
  readonly livePosition: number | null;
  /** Behind the edge of the playlist, in seconds; and how far one ought to be. */
  readonly edge: { latencyS: number; targetS: number } | null;
  readonly levels: readonly Level[];
  /** The index of the level asked for; −1 is automatic. */
  level: number;
  /** Play a little faster to get back to the target latency. */
  catchUp: boolean;
  destroy(): void;
}
