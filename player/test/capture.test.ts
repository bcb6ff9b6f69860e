import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { Capture } from '../src/studio/capture';

class FakeTrack extends EventTarget {
  on = true;
  contentHint = '';
  stop = () => (this.on = false);
}

/** What the browser asks its user, until they answer. */
let asked: { kind: string; answer: (track: FakeTrack) => void; refuse: () => void }[];
let capture: Capture;

const ask = (kind: string) => () =>
  new Promise((resolve, reject) => {
    asked.push({ kind, answer: (track) => resolve({ getTracks: () => [track] }), refuse: () => reject(new Error('No.')) });
  });

class FakeStream {
  constructor(readonly tracks: FakeTrack[]) {}
}

beforeEach(() => {
  asked = [];
  const mediaDevices = Object.assign(new EventTarget(), {
    getUserMedia: ({ video }: { video?: unknown }) => ask(video ? 'camera' : 'microphone')(),
    getDisplayMedia: ask('screen'),
    enumerateDevices: () => Promise.resolve([]),
  });
  vi.stubGlobal('navigator', { mediaDevices });
  vi.stubGlobal('MediaStream', FakeStream);
  capture = new Capture();
});

afterEach(() => vi.unstubAllGlobals());

const used = () => (capture.stream as unknown as FakeStream).tracks;
const settled = () => new Promise((resolve) => setTimeout(resolve));

test('an answer that comes after something else was chosen is switched off', async () => {
  const [camera, screen] = [new FakeTrack(), new FakeTrack()];
  const choices = [capture.useCamera(), capture.useScreen()];
  asked[1]?.answer(screen);
  await settled();
  asked[0]?.answer(camera);
  await Promise.all(choices);
  expect([camera.on, screen.on, capture.picture]).toEqual([false, true, 'screen']);
  expect(used()).toEqual([screen]);
});

test('a late refusal is nobody\'s problem any more', async () => {
  const choice = capture.useMicrophone();
  await capture.useMicrophone('none');
  asked[0]?.refuse();
  await choice;
  expect([capture.problem, used()]).toEqual(['', []]);
});

test('released, everything is off, also what is answered later', async () => {
  const [camera, microphone] = [new FakeTrack(), new FakeTrack()];
  const choices = [capture.useCamera(), capture.useMicrophone()];
  asked[0]?.answer(camera);
  await settled();
  expect(used()).toEqual([camera]);
  capture.release();
  asked[1]?.answer(microphone);
  await Promise.all(choices);
  expect([camera.on, microphone.on, capture.picture, used()]).toEqual([false, false, 'none', []]);
});
