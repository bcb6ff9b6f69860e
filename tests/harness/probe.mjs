/** What decoded media show and say: picture clocks, flashes, beeps, keyframes. */
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);
const PYTHON = join(import.meta.dirname, '../.venv/bin/python');
const LIMITS = { timeout: 120_000, maxBuffer: 64 << 20 };

/** @typedef {{ pictures: {at: number, clock: number | null, flash: boolean}[], beeps: number[], keyframes: number[] }} Findings times in ms */

/**
 * @param {string} source file or URL
 * @param {{seconds?: number, place?: number[]}} [options] `place`: left, top, width and height of the picture that is looked at
 * @returns {Promise<Findings>}
 */
export async function probe(source, { seconds = Infinity, place } = {}) {
  const args = [join(import.meta.dirname, 'probe.py'), source, seconds === Infinity ? 'inf' : String(seconds), ...(place ? [place.join()] : [])];
  return JSON.parse((await run(PYTHON, args, LIMITS)).stdout);
}

/** `ffprobe` on a file or URL. @param {string[]} args @returns {Promise<any>} its JSON */
export async function ffprobe(source, ...args) {
  return JSON.parse((await run('ffprobe', ['-v', 'error', '-of', 'json', ...args, source], LIMITS)).stdout);
}

/** `ffmpeg`; fails with what it said. @param {string[]} args @returns {Promise<string>} what it wrote to stderr */
export async function ffmpeg(...args) {
  return (await run('ffmpeg', ['-nostdin', '-hide_banner', '-v', 'warning', ...args], LIMITS)).stderr;
}

/** The value below which a share of the values lies. @param {number[]} values @param {number} share */
export function quantile(values, share) {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))];
}
