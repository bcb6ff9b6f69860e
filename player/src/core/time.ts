/** A broadcast's timeline: wall time = origin + media time, an affine map that never changes. */

/** Media time in 90 kHz ticks from the origin. */
export type Ticks = number;
/** A moment on a clock, in (possibly fractional) milliseconds since the Unix epoch. */
export type WallMs = number;

export const TICKS_PER_SECOND = 90_000;
export const TICKS_PER_MS = 90;

export const ticksAt = (origin: WallMs, wall: WallMs): Ticks => (wall - origin) * TICKS_PER_MS;

export const wallAt = (origin: WallMs, at: Ticks): WallMs => origin + at / TICKS_PER_MS;
