/** Numbers as people read them. */
import { TICKS_PER_SECOND, type Ticks } from './time';

/** `4:07`, `1:04:07`. */
export function clockTime(seconds: number): string {
  const whole = Math.max(0, Math.floor(seconds));
  const [h, m, s] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  const padded = (n: number) => String(n).padStart(2, '0');
  return h > 0 ? `${h}:${padded(m)}:${padded(s)}` : `${m}:${padded(s)}`;
}

export const positionTime = (at: Ticks): string => clockTime(at / TICKS_PER_SECOND);

/** `1 h 5 min`, `12 min`, `40 s`. */
export function duration(seconds: number): string {
  const minutes = Math.round(seconds / 60);
  if (minutes < 1) return `${Math.max(0, Math.round(seconds))} s`;
  return minutes < 60 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

/** `1.4 s`. */
export const latency = (ms: number): string => `${(Math.max(0, ms) / 1000).toFixed(1)} s`;

/** `2.4 Mbit/s`, `640 kbit/s`. */
export const bitrate = (kbps: number): string =>
  kbps >= 1000 ? `${(kbps / 1000).toFixed(1)} Mbit/s` : `${Math.round(kbps)} kbit/s`;

/** One or two letters to stand for a person. */
export function initials(name: string): string {
  const words = name.split(/[^\p{L}\p{N}\p{M}]+/u).filter(Boolean);
  const picked = words.length > 1 ? [words[0], words.at(-1)] : words;
  return picked.map((word) => Array.from(word ?? '')[0]).join('').toUpperCase();
}

/** `640 B`, `12 kB`, `3.4 MB`. */
export function bytes(size: number): string {
  if (size < 1000) return `${size} B`;
  return size < 1_000_000 ? `${Math.round(size / 1000)} kB` : `${(size / 1_000_000).toFixed(1)} MB`;
}
