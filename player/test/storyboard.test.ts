import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { parseStoryboard, Storyboard } from '../src/player/storyboard';

const URL_ = 'https://lectures.example/broadcasts/algebra/thumbs/storyboard.vtt';
const time = (ms: number) => `${String(Math.floor(ms / 3_600_000)).padStart(2, '0')}:${new Date(ms).toISOString().slice(14, 23)}`;
const cue = (msn: number) => `${time(msn * 3200)} --> ${time((msn + 1) * 3200)}\n${msn}.jpg#xywh=0,0,256,144\n\n`;
const storyboard = (...msns: number[]) => `WEBVTT\n\n${msns.map(cue).join('')}`;

class FakeTrack {
  mode = 'disabled';
  cues: { startTime: number; endTime: number; text: string }[] = [];
  addCue(added: { startTime: number; endTime: number; text: string }) {
    this.cues.push(added);
  }
}

let track: FakeTrack;
let text: string | null;
let requests: number;
let nowMs: number;

beforeEach(() => {
  [track, text, requests, nowMs] = [new FakeTrack(), storyboard(0, 1), 0, 0];
  vi.stubGlobal('document', { baseURI: 'https://lectures.example/watch/algebra' });
  vi.stubGlobal('VTTCue', class { constructor(readonly startTime: number, readonly endTime: number, readonly text: string) {} });
  vi.stubGlobal('fetch', (url: string) => {
    requests += 1;
    expect(url).toBe(URL_);
    return Promise.resolve(text === null ? new Response('{}', { status: 404 }) : new Response(text));
  });
});

afterEach(() => vi.unstubAllGlobals());

const open = () => new Storyboard({ addTextTrack: () => track } as unknown as HTMLVideoElement, '/broadcasts/algebra/index.m3u8', () => nowMs);

test('cues of an hour and more, and only what is understood', () => {
  const parsed = parseStoryboard(`${storyboard(1200)}NOTE 00:00 --> x\n\n00:00:01.000 --> 00:00:02.000\nplain.jpg\n\n`, URL_);
  expect(parsed).toEqual([{ startS: 3840, endS: 3843.2, image: URL_.replace('storyboard.vtt', '1200.jpg#xywh=0,0,256,144') }]);
  expect(parseStoryboard('', URL_)).toEqual([]);
});

test('nothing is fetched before somebody looks, and once for all that is known', async () => {
  const board = open();
  expect(requests).toBe(0);
  expect(await Promise.all([board.lookAt(1), board.lookAt(2)])).toContain(true);
  expect(requests).toBe(1);
  expect(track.mode).toBe('hidden');
  expect(track.cues.map(({ startTime, endTime }) => [startTime, endTime])).toEqual([[0, 3.2], [3.2, 6.4]]);
  nowMs = 60_000;
  expect(await board.lookAt(6)).toBe(false);
  expect(requests).toBe(1);
});

test('who looks beyond what is known makes it grow, but not with each move', async () => {
  const board = open();
  await board.lookAt(1);
  text = storyboard(0, 1, 3);
  nowMs = 1_000;
  expect(await board.lookAt(12)).toBe(false);
  nowMs = 3_000;
  expect(await board.lookAt(12)).toBe(true);
  expect(requests).toBe(2);
  expect(track.cues.map((each) => each.text.split('/').at(-1))).toEqual([0, 1, 3].map((msn) => `${msn}.jpg#xywh=0,0,256,144`));
});

test('a failure is tried again, and an emptied track is filled again', async () => {
  text = null;
  const board = open();
  expect(await board.lookAt(1)).toBe(false);
  text = storyboard(0, 1);
  nowMs = 3_000;
  expect(await board.lookAt(1)).toBe(true);
  track.cues = [];
  expect(await board.lookAt(1)).toBe(true);
  expect([track.cues.length, requests]).toEqual([2, 2]);
});
