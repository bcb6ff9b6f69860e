/** How this reader wants the chat, on this machine. */
import type { Loudness } from '../core/announcer';

export interface Preferences {
  /** What a screen reader reads out. */
  loudness: Loudness;
  /** Every message, however fast they come. */
  everything: boolean;
}

const KEY = 'lectern:chat';
const USUAL: Preferences = { loudness: 'all', everything: false };

/** Storage may be switched off, or hold what another version wrote. */
export function preferences(): Preferences {
  try {
    const { loudness, everything } = JSON.parse(localStorage.getItem(KEY) ?? '{}') as Partial<Preferences>;
    const known = loudness === 'all' || loudness === 'mentions' || loudness === 'off';
    return { loudness: known ? loudness : USUAL.loudness, everything: everything === true };
  } catch {
    return USUAL;
  }
}

export function remember(some: Partial<Preferences>): void {
  try {
    localStorage.setItem(KEY, JSON.stringify({ ...preferences(), ...some }));
  } catch {
    // Then it is asked again.
  }
}
