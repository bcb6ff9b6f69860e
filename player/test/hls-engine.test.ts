import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { HlsEngine } from '../src/player/hls-engine';

type Listener = (event: string, data?: unknown) => void;

/** As hls.js does it: without its source the video is paused at 0, and it tells before and after. */
const { FakeHls } = vi.hoisted(() => {
  class FakeHls {
    static all: FakeHls[] = [];
    static live = true;
    listeners: [string, Listener][] = [];
    media: FakeVideo | null = null;
    levels = [{}];
    startedAt: number | undefined;
    constructor(readonly config: { startPosition: number }) {
      FakeHls.all.push(this);
    }
    get latestLevelDetails() {
      return { live: FakeHls.live, age: 0, edge: 1_000 };
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
  return { FakeHls };
});
vi.mock('hls.js', async (original) => ({ ...(await original<object>()), default: FakeHls }));

class FakeVideo {
  paused = true;
  ended = false;
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
  engine.catchUp = following;
  mediaError();
  // Before the video has its source back: what it says of itself now is nothing.
  mediaError();
  await vi.advanceTimersByTimeAsync(1_000);
  expect(FakeHls.all).toHaveLength(2);
  expect(hls().config.startPosition).toBe(startPosition);
  hls().tell('hlsMediaAttached');
  expect(video.paused).toBe(false);
});
