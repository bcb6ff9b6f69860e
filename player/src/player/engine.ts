/** What plays a presentation in a `<video>`: hls.js, or the browser itself where there is no MediaSource. */
import type { WallMs } from '../core/time';

/** One rung of the ladder. */
export interface Level {
  name: string;
  width: number;
  height: number;
  bitrate: number;
}

/** The stages of latency that a player sees. */
export interface Stages {
  /** From the capture of the newest media to the playlist that lists it, by this machine's clock; `null` before the first. */
  edgeAgeMs: number | null;
  /** From asking for a part to having it, the median of the last ones. */
  fetchMs: number | null;
  /** Media ahead of the playhead. */
  bufferMs: number;
  /** Behind the live edge: as it is, and as it should be. */
  latencyMs: number | null;
  targetMs: number | null;
  rate: number;
  /** Parts that were asked for before a playlist listed them, or before hls.js came: those that it came for, and the others. */
  hints: { used: number; missed: number };
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
  /** Keep the viewer at the live edge: play a little faster or slower, jump when far behind. */
  following: boolean;
  /** What an engine that steers by itself has set; a viewer has chosen any other. */
  readonly rate: number | null;
  /** For a table of where the time between capture and screen goes; null where nobody knows. */
  readonly stages: Stages | null;
  destroy(): void;
}
