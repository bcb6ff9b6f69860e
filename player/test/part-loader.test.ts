import type { HlsConfig, LevelDetails, LoaderConfiguration } from 'hls.js';
import { LoadStats, PlaylistLevelType } from 'hls.js';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { followers, Hints, partLoader, type PlainLoader } from '../src/player/part-loader';

const BASE = 'http://origin/b/360p/';
const { MAIN, AUDIO } = PlaylistLevelType;

/** Playlists as far as they are looked at: the parts 7.0 to 7.{last}, and the hint of the next one. */
const playlist = (last: number, { live = true, hint = true } = {}): LevelDetails =>
  ({
    live,
    url: `${BASE}index.m3u8?_HLS_msn=7`,
    partList: Array.from({ length: last + 1 }, (_, index) => ({ url: `${BASE}7.${index}.m4s`, gap: index === 5, loaded: false })),
    preloadHint: hint ? { TYPE: 'PART', URI: `7.${last + 1}.m4s` } : undefined,
  }) as unknown as LevelDetails;
const part = (index: number) => `${BASE}7.${index}.m4s`;

/** An origin that answers when it is told to. */
class Origin {
  requests = new Map<string, { answer: (bytes: number, status?: number) => Promise<void>; fail: () => void; signal: AbortSignal }>();
  asked: string[] = [];

  fetch = (url: string, { signal }: { signal: AbortSignal }) => {
    this.asked.push(url);
    return new Promise<Response>((resolve, reject) => {
      signal.addEventListener('abort', () => reject(new DOMException('aborted', 'AbortError')));
      const answer = async (bytes: number, status = 200) => {
        resolve(new Response(new Uint8Array(bytes), { status }));
        await vi.advanceTimersByTimeAsync(0);
      };
      this.requests.set(url, { answer, fail: () => reject(new TypeError('refused')), signal });
    });
  };

  at(url: string) {
    const request = this.requests.get(url);
    if (!request) throw new Error(`nobody asked for ${url}`);
    return request;
  }
}

/** hls.js's own loader: asks at once, is answered by the test. */
class Plain {
  static all: Plain[] = [];
  stats: LoadStats | null = new LoadStats();
  context = null;
  url = '';
  aborted = false;
  callbacks: { onSuccess: (...args: unknown[]) => void } | null = null;
  constructor() {
    Plain.all.push(this);
  }
  load(context: { url: string }, _: unknown, callbacks: Plain['callbacks']) {
    if (this.stats?.loading.start) throw new Error('Loader can only be used once.');
    [this.url, this.callbacks] = [context.url, callbacks];
    if (this.stats) this.stats.loading.start = performance.now();
  }
  abort() {
    this.aborted = true;
  }
  destroy() {
    this.stats = null;
  }
  answer(bytes: number) {
    const { stats } = this;
    if (!stats) return;
    stats.loading.first = stats.loading.start + 30;
    stats.loading.end = stats.loading.first + 10;
    this.callbacks?.onSuccess({ url: this.url, data: new ArrayBuffer(bytes), code: 200 }, stats, {}, null);
  }
}

let origin: Origin;
let hints: Hints;
const CONFIG = { loadPolicy: { maxLoadTimeMs: 20_000 } } as LoaderConfiguration;

/** As hls.js loads a part. */
function load(url: string, kind = MAIN) {
  const Loader = partLoader(hints, Plain as unknown as PlainLoader);
  const loader = new Loader({} as HlsConfig);
  const stats = loader.stats;
  const got: { bytes?: number; error?: string } = {};
  const context = { url, frag: { type: kind }, part: {} };
  loader.load(context as never, CONFIG, {
    onSuccess: (response) => (got.bytes = (response.data as ArrayBuffer).byteLength),
    onError: () => (got.error = 'error'),
    onTimeout: () => (got.error = 'timeout'),
    onAbort: () => (got.error = 'aborted'),
  });
  return { loader, stats, got, plain: Plain.all.at(-1) as Plain };
}

beforeEach(() => {
  vi.useFakeTimers();
  [origin, hints, Plain.all] = [new Origin(), new Hints(), []];
  vi.stubGlobal('fetch', origin.fetch);
});

afterEach(() => {
  hints.destroy();
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

describe('what is asked for ahead', () => {
  test('are the next ones listed, three at most; after the last one the announced one', () => {
    expect(followers(playlist(4), part(0))).toEqual([part(1), part(2), part(3)]);
    expect(followers(playlist(4), part(3))).toEqual([part(4)]);
    expect(followers(playlist(4), part(4))).toEqual([part(5)]);
  });

  test('is nothing beyond a gap, after the end, or when the part is not in the list', () => {
    expect(followers(playlist(6), part(3))).toEqual([part(4)]);
    expect(followers(playlist(6), part(4))).toEqual([]);
    expect(followers(playlist(3, { hint: false }), part(3))).toEqual([]);
    expect(followers(playlist(3, { live: false }), part(3))).toEqual([]);
    expect(followers(playlist(3), part(9))).toEqual([]);
  });
});

describe('a hinted part', () => {
  test('is asked for as soon as hls.js asks for the last one listed, and only once', async () => {
    hints.listed(MAIN, playlist(3));
    expect(origin.asked).toEqual([]);
    load(part(3)).plain.answer(100);
    expect(origin.asked).toEqual([part(4)]);
    hints.listed(MAIN, playlist(4));
    expect(origin.asked).toEqual([part(4)]);
    const { got, plain } = load(part(4));
    await origin.at(part(4)).answer(700);
    expect([got.bytes, plain.url]).toEqual([700, '']);
    expect(origin.asked).toEqual([part(4), part(5)]);
    expect([hints.used, hints.missed]).toEqual([1, 0]);
  });

  test('is there at once when it came before hls.js did', async () => {
    hints.listed(MAIN, playlist(3));
    load(part(3));
    await origin.at(part(4)).answer(700);
    hints.listed(MAIN, playlist(4));
    const { got } = load(part(4));
    await vi.advanceTimersByTimeAsync(0);
    expect(got.bytes).toBe(700);
  });

  test('is found even when hls.js asks before it tells of the playlist', () => {
    load(part(3));
    expect(origin.asked).toEqual([]);
    hints.listed(MAIN, playlist(3));
    expect(origin.asked).toEqual([part(4)]);
  });

  test('of sound and of pictures are two', () => {
    hints.listed(MAIN, playlist(3));
    hints.listed(AUDIO, playlist(2));
    load(part(3));
    load(part(2), AUDIO);
    expect(origin.asked).toEqual([part(4), part(3)]);
  });

  test.each([404, 503])('that is answered with %i is asked for in the plain way when it is listed', async (status) => {
    hints.listed(MAIN, playlist(3));
    load(part(3));
    await origin.at(part(4)).answer(0, status);
    hints.listed(MAIN, playlist(4));
    expect(origin.asked).toEqual([part(4)]);
    const { got, plain } = load(part(4));
    plain.answer(300);
    expect([plain.url, got.bytes]).toEqual([part(4), 300]);
  });

  test('that breaks while hls.js waits for it is asked for anew, into the same statistics', async () => {
    hints.listed(MAIN, playlist(3));
    load(part(3));
    const { got, plain, stats } = load(part(4));
    origin.at(part(4)).fail();
    await vi.advanceTimersByTimeAsync(0);
    expect(plain.url).toBe(part(4));
    plain.answer(300);
    expect([got.bytes, stats === plain.stats]).toEqual([300, true]);
  });
});

test('on the way to the edge, each part is asked for once', async () => {
  hints.listed(MAIN, playlist(4));
  for (let index = 0; index <= 4; index += 1) {
    const { got } = load(part(index));
    if (index > 0) await origin.at(part(index)).answer(index);
    expect(got.bytes).toBe(index > 0 ? index : undefined);
  }
  expect(origin.asked).toEqual([1, 2, 3, 4, 5].map(part));
  expect([hints.used, hints.missed]).toEqual([4, 0]);
});

test('a part that has to wait for its initialisation is asked for meanwhile, others not twice', async () => {
  hints.expected(MAIN, part(1));
  expect(origin.asked).toEqual([part(1)]);
  await origin.at(part(1)).answer(500);
  const { got } = load(part(1));
  hints.expected(MAIN, part(1));
  await vi.advanceTimersByTimeAsync(0);
  expect([got.bytes, origin.asked]).toEqual([500, [part(1)]]);
});

describe('is given up', () => {
  beforeEach(() => {
    hints.listed(MAIN, playlist(3));
    load(part(3));
  });

  test('when the level is switched or the viewer jumps', () => {
    hints.forget(MAIN);
    expect([origin.at(part(4)).signal.aborted, hints.missed]).toEqual([true, 1]);
    hints.listed(MAIN, playlist(4));
    expect(origin.asked).toEqual([part(4)]);
  });

  test('when hls.js goes on elsewhere', () => {
    load(part(0));
    expect(origin.at(part(4)).signal.aborted).toBe(true);
    expect(origin.asked).toEqual([part(4), part(1), part(2), part(3)]);
  });

  test('when hls.js does not want it any more', () => {
    const { loader, got, stats } = load(part(4));
    loader.abort();
    expect([got.error, stats.aborted, origin.at(part(4)).signal.aborted]).toEqual(['aborted', true, true]);
  });

  test('when it is destroyed, without a word', async () => {
    const { loader, got } = load(part(4));
    loader.destroy();
    await vi.advanceTimersByTimeAsync(0);
    expect([got, origin.at(part(4)).signal.aborted]).toEqual([{}, true]);
  });

  test('when it takes longer than hls.js allows', async () => {
    const { got } = load(part(4));
    await vi.advanceTimersByTimeAsync(20_000);
    expect([got.error, origin.at(part(4)).signal.aborted]).toEqual(['timeout', true]);
  });
});

describe('what hls.js measures of a hinted part', () => {
  beforeEach(() => {
    hints.listed(MAIN, playlist(3));
    load(part(3)).plain.answer(100);
  });

  test('is the network, not the wait for the part to be made', async () => {
    await vi.advanceTimersByTimeAsync(180);
    await origin.at(part(4)).answer(700);
    await vi.advanceTimersByTimeAsync(50);
    const { stats } = load(part(4));
    await vi.advanceTimersByTimeAsync(0);
    const { start, first, end } = stats.loading;
    expect([first - start, end - first, end]).toEqual([30, 0, performance.now()]);
    expect([stats.loaded, stats.total]).toEqual([700, 700]);
  });

  test('is what hls.js waited for, when it did', async () => {
    const { stats } = load(part(4));
    const askedMs = performance.now();
    await vi.advanceTimersByTimeAsync(80);
    await origin.at(part(4)).answer(700);
    expect(stats.loading).toMatchObject({ start: askedMs, first: askedMs + 80 });
    expect(hints.fetchMs).toBe(80);
  });
});
