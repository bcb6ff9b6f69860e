/**
 * Parts are asked for before hls.js knows that they exist.
 *
 * hls.js 1.7 asks for a part when a playlist lists it, one after the other. The part that it will ask for next is known
 * earlier: it is the next one listed or, at the end of the playlist, the one of EXT-X-PRELOAD-HINT, whose request the
 * origin holds until the part is whole (draft-pantos-hls-rfc8216bis 4.4.5.3). So as soon as hls.js asks for one part,
 * the next one is asked for too; when hls.js comes for it, it is there or on its way. While it is still on its way to
 * the end of the playlist, it is a few. One request for each part. What goes wrong with it is forgotten, and hls.js
 * asks as it always does.
 */
import type { Fragment, FragmentLoaderContext, HlsConfig, LevelDetails, Loader, LoaderCallbacks, LoaderConfiguration, LoaderStats } from 'hls.js';

type Context = FragmentLoaderContext;
export type PlainLoader = new (config: HlsConfig) => Loader<Context>;
/** `main` is the picture, `audio` its sound. */
type Kind = Fragment['type'];

/** Of each rendition. With HTTP/1.1 a browser has six connections, two of them held by playlists. */
const MOST_AHEAD = 3;
/** What the figures of parts are taken over: six seconds of parts of 200 ms. */
const REMEMBERED = 32;

/** One request that nobody has come for yet, or that somebody waits for. */
class Ahead {
  readonly whole: Promise<ArrayBuffer>;
  firstMs = 0;
  endMs = 0;
  #aborter = new AbortController();

  constructor(readonly url: string) {
    this.whole = this.#load();
  }

  async #load(): Promise<ArrayBuffer> {
    const response = await fetch(this.url, { signal: this.#aborter.signal });
    if (!response.ok) throw new Error(`HTTP ${response.status}`);
    // The origin sends nothing before all can go: from here on it is the network's time.
    this.firstMs = performance.now();
    const whole = await response.arrayBuffer();
    this.endMs = performance.now();
    return whole;
  }

  abort(): void {
    this.#aborter.abort();
  }
}

/** What is known of the parts to come, for one hls.js. */
export class Hints {
  used = 0;
  missed = 0;
  /** What a request costs before its first byte, as seen on those that nothing held back. */
  roundTripMs = 0;
  #playlists = new Map<Kind, LevelDetails>();
  #asked = new Map<Kind, string>();
  /** In the order of the playlist. */
  #ahead = new Map<Kind, Ahead[]>();
  #failed = new Map<Kind, string>();
  #fetchesMs: number[] = [];

  /** A media playlist has come. */
  listed(kind: Kind, details: LevelDetails): void {
    this.#playlists.set(kind, details);
    this.#askAhead(kind);
  }

  /** hls.js will ask for a part, once it has what initialises it. */
  expected(kind: Kind, url: string): void {
    if (this.#asked.get(kind) !== url) this.#begin(kind, url);
  }

  /** hls.js asks for a part. */
  asked(kind: Kind, url: string): void {
    this.#asked.set(kind, url);
    this.#askAhead(kind);
  }

  /** The request for this part that is on its way already. */
  take(kind: Kind, url: string): Ahead | null {
    const ahead = this.#ahead.get(kind)?.find((one) => one.url === url);
    if (!ahead) return null;
    this.#remove(kind, ahead);
    this.used += 1;
    return ahead;
  }

  /** Nobody will come for what is on its way: another rendition, another place. */
  forget(kind: Kind): void {
    this.#asked.delete(kind);
    this.#keep(kind, []);
  }

  destroy(): void {
    for (const kind of [...this.#ahead.keys()]) this.forget(kind);
    this.#playlists.clear();
  }

  /** A part was whole so long after hls.js asked for it. */
  fetched(ms: number): void {
    this.#fetchesMs.push(ms);
    if (this.#fetchesMs.length > REMEMBERED) this.#fetchesMs.shift();
  }

  /** The median of the last parts. */
  get fetchMs(): number | null {
    const sorted = [...this.#fetchesMs].sort((a, b) => a - b);
    return sorted[Math.floor(sorted.length / 2)] ?? null;
  }

  #askAhead(kind: Kind): void {
    const [details, asked] = [this.#playlists.get(kind), this.#asked.get(kind)];
    if (!details || !asked) return;
    const next = followers(details, asked);
    // A playlist may know less than is known already, for the moment that hls.js takes to tell of the newest.
    if (next.length > 0) this.#keep(kind, next);
    for (const url of next) this.#begin(kind, url);
  }

  #begin(kind: Kind, url: string): void {
    const all = this.#ahead.get(kind) ?? [];
    if (url === this.#failed.get(kind) || all.some((one) => one.url === url)) return;
    const ahead = new Ahead(url);
    this.#ahead.set(kind, [...all, ahead]);
    ahead.whole.catch(() => {
      if (this.#remove(kind, ahead)) this.#failed.set(kind, url);
    });
  }

  #remove(kind: Kind, ahead: Ahead): boolean {
    const all = this.#ahead.get(kind) ?? [];
    this.#ahead.set(kind, all.filter((one) => one !== ahead));
    return all.includes(ahead);
  }

  #keep(kind: Kind, urls: readonly string[]): void {
    const dropped = (this.#ahead.get(kind) ?? []).filter(({ url }) => !urls.includes(url));
    for (const ahead of dropped) {
      this.#remove(kind, ahead);
      this.missed += 1;
      ahead.abort();
    }
  }
}

/** The parts after the one at `url`: the next ones listed; after the last one, the one announced. */
export function followers({ partList, preloadHint, url: playlist, live }: LevelDetails, url: string): string[] {
  const at = partList?.findLastIndex((part) => part.url === url) ?? -1;
  if (!partList || at < 0) return [];
  const listed = partList.slice(at + 1, at + 1 + MOST_AHEAD);
  const absent = listed.findIndex((part) => part.gap || part.loaded);
  if (listed.length > 0) return listed.slice(0, absent < 0 ? undefined : absent).map((part) => part.url);
  const hint = live && preloadHint?.TYPE === 'PART' ? (preloadHint.URI as string | undefined) : undefined;
  return hint ? [new URL(hint, playlist).href] : [];
}

/** An `fLoader` for hls.js, on top of the loader that it has. */
export function partLoader(hints: Hints, Plain: PlainLoader): PlainLoader {
  return class PartLoader implements Loader<Context> {
    context: Context | null = null;
    #plain: Loader<Context>;
    #ahead: Ahead | null = null;
    #callbacks: LoaderCallbacks<Context> | null = null;
    #timer: ReturnType<typeof setTimeout> | undefined;

    constructor(config: HlsConfig) {
      this.#plain = new Plain(config);
    }

    /** The very same object all along: hls.js keeps it. */
    get stats(): LoaderStats {
      return this.#plain.stats;
    }

    load(context: Context, config: LoaderConfiguration, callbacks: LoaderCallbacks<Context>): void {
      this.context = context;
      const kind = context.frag.type;
      this.#ahead = context.part ? hints.take(kind, context.url) : null;
      if (context.part) hints.asked(kind, context.url);
      if (this.#ahead) void this.#join(this.#ahead, context, config, callbacks);
      else this.#loadPlainly(context, config, callbacks);
    }

    abort(): void {
      const { context } = this;
      if (!this.#ahead || !context) {
        this.#plain.abort();
        return;
      }
      const callbacks = this.#callbacks;
      this.stats.aborted = true;
      this.#leave();
      callbacks?.onAbort?.(this.stats, context, null);
    }

    destroy(): void {
      this.#leave();
      this.#plain.destroy();
    }

    getCacheAge(): number | null {
      return this.#plain.getCacheAge?.() ?? null;
    }

    getResponseHeader(name: string): string | null {
      return this.#plain.getResponseHeader?.(name) ?? null;
    }

    #leave(): void {
      clearTimeout(this.#timer);
      this.#ahead?.abort();
      this.#ahead = this.#callbacks = null;
    }

    async #join(ahead: Ahead, context: Context, config: LoaderConfiguration, callbacks: LoaderCallbacks<Context>): Promise<void> {
      this.#callbacks = callbacks;
      const askedMs = performance.now();
      this.stats.loading.start = askedMs;
      this.#timer = setTimeout(() => this.#timeout(context), config.loadPolicy.maxLoadTimeMs);
      const data = await ahead.whole.catch(() => null);
      // Aborted, timed out or destroyed meanwhile.
      if (this.#ahead !== ahead) return;
      clearTimeout(this.#timer);
      this.#ahead = null;
      if (!data) {
        this.stats.loading.start = 0;
        this.#loadPlainly(context, config, callbacks);
        return;
      }
      this.#account(ahead, askedMs, data.byteLength);
      callbacks.onSuccess({ url: context.url, data, code: 200 }, this.stats, context, null);
    }

    #timeout(context: Context): void {
      const callbacks = this.#callbacks;
      this.#leave();
      callbacks?.onTimeout(this.stats, context, null);
    }

    /**
     * As if it had been asked for when it was there: hls.js takes the time from `first` to `end` for the network's
     * bandwidth, from `start` to `first` for its round trip, and the wait for the part to be made is neither.
     */
    #account({ firstMs, endMs }: Ahead, askedMs: number, bytes: number): void {
      const { stats } = this;
      const nowMs = performance.now();
      hints.fetched(nowMs - askedMs);
      stats.loaded = stats.total = bytes;
      if (firstMs > askedMs) {
        Object.assign(stats.loading, { first: firstMs, end: Math.max(endMs, firstMs) });
        return;
      }
      const transferMs = endMs - firstMs;
      Object.assign(stats.loading, { start: nowMs - transferMs - hints.roundTripMs, first: nowMs - transferMs, end: nowMs });
    }

    #loadPlainly(context: Context, config: LoaderConfiguration, callbacks: LoaderCallbacks<Context>): void {
      const askedMs = performance.now();
      this.#plain.load(context, config, {
        ...callbacks,
        onSuccess: (response, stats, ...rest) => {
          hints.roundTripMs = stats.loading.first - stats.loading.start;
          if (context.part) hints.fetched(performance.now() - askedMs);
          callbacks.onSuccess(response, stats, ...rest);
        },
      });
    }
  };
}
