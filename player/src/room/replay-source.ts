/** Fetches what the replay of a room wants, and no more than once. */
import { readReplayChunk, readReplayIndex } from '../api';
import { Replay } from '../core/replay';
import type { ChunkRef } from '../core/wire';
import type { Ticks } from '../core/time';

/** As long as an index may be cached; deletions and late messages come with the next one. */
const REFRESH_MS = { live: 15_000, ended: 60_000 };
const RETRY_MS = 3_000;
/** A seek far back wants several chunks; the page has other things to load too. */
const AT_ONCE = 3;

export class ReplaySource {
  readonly replay = new Replay();
  #url: string;
  #loaded: () => void;
  #indexAt = -Infinity;
  #busy = new Set<string>();
  #notBefore = new Map<string, number>();

  /** `loaded` is called when the replay knows more than before. */
  constructor(url: string, loaded: () => void) {
    this.#url = url;
    this.#loaded = loaded;
  }

  /** The index must be read again before it is trusted: something happened that was not seen live. */
  expire(): void {
    this.#indexAt = -Infinity;
  }

  /** Call it as the position moves; most calls do nothing. */
  follow(position: Ticks, ended: boolean): void {
    const age = performance.now() - this.#indexAt;
    if (age > (ended ? REFRESH_MS.ended : REFRESH_MS.live)) void this.#load('index', () => this.#readIndex());
    for (const ref of this.replay.wanted(position)) {
      if (this.#busy.size >= AT_ONCE) return;
      void this.#load(ref.name, () => this.#readChunk(ref));
    }
  }

  async #readIndex(): Promise<void> {
    this.replay.setIndex(await readReplayIndex(this.#url));
    this.#indexAt = performance.now();
  }

  async #readChunk(ref: ChunkRef): Promise<void> {
    this.replay.setChunk(ref, await readReplayChunk(this.#url, ref.name));
  }

  async #load(name: string, read: () => Promise<void>): Promise<void> {
    if (this.#busy.has(name) || performance.now() < (this.#notBefore.get(name) ?? 0)) return;
    this.#busy.add(name);
    try {
      await read();
      this.#notBefore.delete(name);
    } catch (error) {
      console.warn(`the room's replay: ${name} could not be read`, error);
      this.#notBefore.set(name, performance.now() + RETRY_MS);
      // A chunk that is gone was issued anew under another name.
      this.expire();
    } finally {
      this.#busy.delete(name);
    }
    this.#loaded();
  }
}
