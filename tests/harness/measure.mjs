/** What is measured on a broadcast, and how it is told. */
import { tmpdir } from 'node:os';
import { mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { download } from './presentation.mjs';
import { probe, quantile } from './probe.mjs';

/** One picture of the line. */
export const FRAME_MS = 1000 / 30;
/** A message stands where its writer was looking: on that frame or, reading being what it is, on the next. */
export const FRAME_TOLERANCE_MS = 2 * FRAME_MS;

/**
 * Decodes a stretch of a broadcast: the pictures of one video rendition, the sound of the audio rendition.
 * @param {import('./presentation.mjs').Rendition} video @param {import('./presentation.mjs').Rendition} [audio]
 * @param {{from?: number, to?: number}} [range] MSNs
 * @returns {Promise<import('./probe.mjs').Findings>} times in ms of media time
 */
export async function decode(video, audio, range) {
  const folder = await mkdtemp(join(tmpdir(), 'lectern-decode-'));
  try {
    const { pictures, keyframes } = await probe(await download(video, join(folder, 'video.mp4'), range));
    const { beeps } = audio ? await probe(await download(audio, join(folder, 'audio.mp4'), range)) : { beeps: [] };
    return { pictures, keyframes, beeps };
  } finally {
    await rm(folder, { recursive: true });
  }
}

/** How far each readable picture stands behind its capture on the line: 0 to one frame is right. @param {number} origin Unix ms */
export function pictureErrors({ pictures }, origin) {
  return pictures.filter(({ clock }) => clock !== null).map(({ at, clock }) => origin + at - clock);
}

/** Beep against flash, second by second, in ms: positive where the sound is late. */
export function lipSync({ pictures, beeps }) {
  const seconds = pictures.filter(({ clock, flash }) => clock !== null && flash).map(({ at, clock }) => at - (clock % 1000));
  return beeps.flatMap((beep) => {
    const nearest = seconds.reduce((best, second) => (Math.abs(second - beep) < Math.abs(best - beep) ? second : best), Infinity);
    return Math.abs(beep - nearest) < 500 ? [beep - nearest] : [];
  });
}

/** @param {number[]} values ms */
export function summary(values) {
  if (values.length === 0) return 'nothing to measure';
  const [p50, p95, max] = [quantile(values, 0.5), quantile(values, 0.95), Math.max(...values)].map((value) => value.toFixed(0));
  return `p50 ${p50} ms, p95 ${p95} ms, max ${max} ms (n = ${values.length})`;
}
