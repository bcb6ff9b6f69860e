import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { Capture } from '../src/studio/capture';

class FakeTrack extends EventTarget {
  on = true;
  enabled = true;
  constructor(readonly kind = 'video') {
    super();
  }
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
  getVideoTracks = () => this.tracks.filter(({ kind }) => kind === 'video');
  getAudioTracks = () => this.tracks.filter(({ kind }) => kind === 'audio');
}

beforeEach(() => {
  asked = [];
  const mediaDevices = Object.assign(new EventTarget(), {
    getUserMedia: ({ video }: { video?: unknown }) => ask(video ? 'camera' : 'microphone')(),
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
  const [one, other] = [new FakeTrack(), new FakeTrack()];
  const choices = [capture.useCamera('one'), capture.useCamera('other')];
  asked[1]?.answer(other);
  await settled();
  asked[0]?.answer(one);
  await Promise.all(choices);
  expect([one.on, other.on, capture.cameraId]).toEqual([false, true, 'other']);
  expect(used()).toEqual([other]);
});

test('a late refusal is nobody\'s problem any more', async () => {
  const choice = capture.useMicrophone();
  await capture.useMicrophone('none');
  asked[0]?.refuse();
  await choice;
  expect([capture.problem, used()]).toEqual(['', []]);
});

test('released, everything is off, also what is answered later', async () => {
  const [camera, microphone] = [new FakeTrack(), new FakeTrack('audio')];
  const choices = [capture.useCamera(), capture.useMicrophone()];
  asked[0]?.answer(camera);
  await settled();
  expect(used()).toEqual([camera]);
  capture.release();
  asked[1]?.answer(microphone);
  await Promise.all(choices);
  expect([camera.on, microphone.on, used()]).toEqual([false, false, []]);
});

test('muted, another microphone is muted too; the picture is not', async () => {
  const [camera, microphone] = [new FakeTrack(), new FakeTrack('audio')];
  capture.mute(true);
  const choices = [capture.useCamera(), capture.useMicrophone()];
  asked[0]?.answer(camera);
  asked[1]?.answer(microphone);
  await Promise.all(choices);
  expect([camera.enabled, microphone.enabled]).toEqual([true, false]);
  capture.mute(false);
  expect([microphone.on, microphone.enabled]).toEqual([true, true]);
});

test('a camera that is switched off leaves the microphone alone', async () => {
  const [camera, microphone] = [new FakeTrack(), new FakeTrack('audio')];
  const choices = [capture.useCamera(), capture.useMicrophone()];
  asked[0]?.answer(camera);
  asked[1]?.answer(microphone);
  await Promise.all(choices);
  capture.stopCamera();
  expect([camera.on, capture.filming, used()]).toEqual([false, false, [microphone]]);
});
