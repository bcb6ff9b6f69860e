import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { HlsEngine } from '../src/player/hls-engine';

interface RetryConfig {
  shouldRetry: (config: unknown, count: number, isTimeout: boolean, response?: { code: number }, retry?: boolean) => boolean;
}
type Listener = (event: string, data?: unknown) => void;

/** As hls.js does it: without its source the video is paused at 0, and it tells before and after. */
const { FakeHls, EDGE_S } = vi.hoisted(() => {
  const EDGE_S = 1_000;
  class FakeHls {
    static all: FakeHls[] = [];
    static live = true;
    listeners: [string, Listener][] = [];
    media: FakeVideo | null = null;
    levels = [{}];
    startedAt: number | undefined;
    static DefaultConfig = { loader: null };
    constructor(readonly config: { startPosition: number; abrEwmaDefaultEstimate?: number; playlistLoadPolicy: { default: { errorRetry: RetryConfig } } }) {
      FakeHls.all.push(this);
    }
    get latestLevelDetails() {
      return { live: FakeHls.live, age: 0, edge: EDGE_S };
    }
    on = (event: string, listener: Listener) => this.listeners.push([event, listener]);
    tell = (event: string, data?: unknown) => this.listeners.forEach(([name, listener]) => name === event && listener(event, data));
    loadSource = () => undefined;
    attachMedia(media: FakeVideo) {
      this.media = media;
    }
    recoverMediaError() {
      const media = this.media as FakeVideo;
      this.detach();
      this.attachMedia(media);
    }
    detach() {
      this.tell('hlsMediaDetaching');
      this.media?.empty();
      this.media = null;
    }
    destroy() {
      this.detach();
      this.listeners = [];
    }
  }
  return { FakeHls, EDGE_S };
});
vi.mock('hls.js', async (original) => ({ ...(await original<object>()), default: FakeHls }));

class FakeVideo extends EventTarget {
  paused = true;
  ended = false;
  seeking = false;
  buffered = { length: 1, start: () => 0, end: () => 100 };
  currentTime = 0;
  playbackRate = 1;
  play() {
    this.paused = false;
    return Promise.resolve();
  }
  empty() {
    [this.paused, this.currentTime, this.playbackRate] = [true, 0, 1];
  }
}

let video: FakeVideo;
let engine: HlsEngine;
const hls = () => FakeHls.all.at(-1) as InstanceType<typeof FakeHls>;
const mediaError = () => hls().tell('hlsError', { fatal: true, type: 'mediaError', details: 'bufferAppendError' });

beforeEach(() => {
  vi.useFakeTimers();
  vi.stubGlobal('document', { hidden: false });
  vi.spyOn(console, 'warn').mockImplementation(() => undefined);
  [FakeHls.all, FakeHls.live, video] = [[], true, new FakeVideo()];
  engine = new HlsEngine(video as unknown as HTMLVideoElement, '/index.m3u8');
  hls().tell('hlsMediaAttached');
  expect(video.paused).toBe(true);
  Object.assign(video, { paused: false, currentTime: 42, playbackRate: 1.5 });
});

afterEach(() => {
  engine.destroy();
  vi.useRealTimers();
  vi.unstubAllGlobals();
  vi.restoreAllMocks();
});

test('after a cured media error the video plays on, at the speed of its viewer', () => {
  mediaError();
  expect(video.paused).toBe(true);
  hls().tell('hlsMediaAttached');
  expect([video.paused, video.playbackRate]).toEqual([false, 1.5]);
});

test('whoever had paused stays paused', () => {
  video.paused = true;
  mediaError();
  hls().tell('hlsMediaAttached');
  expect(video.paused).toBe(true);
});

test.each([
  ['who follows what is live is at the live edge again', true, true, -1],
  ['who has rewound stays there', true, false, 42],
  ['a replay goes on where it was', false, true, 42],
])('begun anew: %s', async (_, live, following, startPosition) => {
  FakeHls.live = live;
  engine.following = following;
  mediaError();
  // Before the video has its source back: what it says of itself now is nothing.
  mediaError();
  await vi.advanceTimersByTimeAsync(1_000);
  expect(FakeHls.all).toHaveLength(2);
  expect(hls().config.startPosition).toBe(startPosition);
  hls().tell('hlsMediaAttached');
  expect(video.paused).toBe(false);
});

/** The edge of the line goes on with the clock; 42 s into the video stands whoever watches. */
const advance = async (seconds: number, latencyS = 1.2) => {
  for (let i = 0; i < seconds * 5; i += 1) {
    const details = { live: true, advanced: true, advancedDateTime: Date.now(), partHoldBack: 0.65, holdBack: 9, edge: video.currentTime + latencyS, fragments: [] };
    hls().tell('hlsLevelUpdated', { details });
    await vi.advanceTimersByTimeAsync(200);
    video.currentTime += 0.2;
  }
};

describe('a picture that stands still, as a seek into a gap leaves it', () => {
  beforeEach(() => {
    Object.assign(video, { seeking: true, buffered: { length: 1, start: () => 42.4, end: () => 43.2 } });
  });

  test('goes on behind the gap', async () => {
    await vi.advanceTimersByTimeAsync(5_000);
    expect(video.currentTime).toBeCloseTo(42.45);
    expect(FakeHls.all).toHaveLength(1);
  });

  test('has hls.js built anew when that did not help', async () => {
    await vi.advanceTimersByTimeAsync(12_000);
    expect(FakeHls.all).toHaveLength(2);
  });

  test('or stays where its viewer paused it', async () => {
    video.paused = true;
    await vi.advanceTimersByTimeAsync(12_000);
    expect([video.currentTime, FakeHls.all.length]).toEqual([42, 1]);
  });
});

describe('the end of what is over', () => {
  const over = vi.fn();

  beforeEach(() => {
    FakeHls.live = false;
    over.mockClear();
    engine.addEventListener('over', over);
  });

  test('is told when a crumb of it never comes', async () => {
    video.currentTime = EDGE_S - 0.2;
    await vi.advanceTimersByTimeAsync(5_000);
    expect([over.mock.calls.length, FakeHls.all.length]).toEqual([1, 1]);
  });

  test('is loaded anew when more of it is missing', async () => {
    video.currentTime = EDGE_S - 2;
    await vi.advanceTimersByTimeAsync(5_000);
    expect([over.mock.calls.length, FakeHls.all.length, hls().config.startPosition]).toEqual([0, 2, EDGE_S - 2]);
  });
});

describe('the live edge', () => {
  beforeEach(() => {
    video.playbackRate = 1;
  });

  test('is caught up with by playing faster', async () => {
    await advance(3);
    expect(video.playbackRate).toBeGreaterThan(1.03);
    expect(engine.rate).toBe(video.playbackRate);
    expect(engine.edge?.targetS).toBe(0.65);
  });

  test.each([
    ['paused', () => (video.paused = true)],
    ['rewound', () => (engine.following = false)],
    ['hidden', () => vi.stubGlobal('document', { hidden: true })],
    ['ended', () => (FakeHls.live = false)],
  ])('is nobody\'s concern while %s', async (_, quiet) => {
    quiet();
    await advance(3, 5);
    expect([video.playbackRate, Math.round(video.currentTime)]).toEqual([1, 45]);
  });

  test('leaves the speed alone that somebody chose for what was rewound', async () => {
    engine.following = false;
    video.playbackRate = 1.5;
    await advance(3);
    expect(video.playbackRate).toBe(1.5);
  });

  test('is jumped to from far behind', async () => {
    await advance(3, 10);
    expect(video.currentTime).toBeGreaterThan(51);
  });

  test('does not make a cure remember its own rate as the viewer\'s', async () => {
    await advance(3);
    mediaError();
    hls().tell('hlsMediaAttached');
    expect(video.playbackRate).toBe(1);
  });
});

test.each([
  [undefined, undefined],
  [0.6, 600_000],
  [10, 5_000_000],
])('a browser that knows its network (%s Mbit/s) chooses the first rung by it', (downlink, estimate) => {
  vi.stubGlobal('navigator', { connection: downlink && { downlink } });
  const other = new HlsEngine(video as unknown as HTMLVideoElement, '/index.m3u8');
  expect(hls().config.abrEwmaDefaultEstimate).toBe(estimate);
  other.destroy();
});

test('a server that is away is asked again until it is back; what it refuses, a few times', () => {
  const { shouldRetry } = hls().config.playlistLoadPolicy.default.errorRetry;
  const again = (code: number, count: number) => shouldRetry(null, count, false, { code });
  expect([again(0, 1_000), again(503, 1_000), again(404, 1), again(404, 4), shouldRetry(null, 1_000, true)]).toEqual([true, true, true, false, true]);
});

test('a connection that stays interrupted is told, and that it is back', () => {
  const told: unknown[] = [];
  engine.addEventListener('trouble', (event) => told.push((event as CustomEvent).detail));
  const networkError = (retryCount: number) => hls().tell('hlsError', { fatal: false, type: 'networkError', details: 'levelLoadError', errorAction: { retryCount } });
  networkError(0);
  expect(told).toEqual([]);
  networkError(3);
  expect(told).toEqual([expect.stringContaining('interrupted')]);
  hls().tell('hlsFragBuffered');
  expect(told.at(-1)).toBeNull();
});
