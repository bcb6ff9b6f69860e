import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { ScreenShare } from '../src/studio/screen';

class FakeTrack extends EventTarget {
  on = true;
  contentHint = '';
  constructor(readonly kind = 'video') {
    super();
  }
  stop = () => (this.on = false);
}

class FakeStream {
  constructor(readonly tracks: FakeTrack[] = []) {}
  getTracks = () => this.tracks;
  getVideoTracks = () => this.tracks.filter(({ kind }) => kind === 'video');
}

/** What the browser asks its user, until they answer. */
let asked: { answer: (stream: FakeStream) => void; refuse: (error: unknown) => void }[];
let screen: ScreenShare;

beforeEach(() => {
  asked = [];
  const getDisplayMedia = () => new Promise((answer, refuse) => asked.push({ answer, refuse }));
  vi.stubGlobal('navigator', { mediaDevices: { getDisplayMedia } });
  vi.stubGlobal('MediaStream', FakeStream);
  screen = new ScreenShare();
});

afterEach(() => vi.unstubAllGlobals());

test('a screen comes with its sound, and is shown sharp rather than smooth', async () => {
  const [picture, sound] = [new FakeTrack(), new FakeTrack('audio')];
  const sharing = screen.share();
  asked[0]?.answer(new FakeStream([picture, sound]));
  await sharing;
  expect([screen.shared, screen.stream.getTracks(), picture.contentHint]).toEqual([true, [picture, sound], 'detail']);
});

test('the browser’s own "stop sharing" ends all of it', () => {
  const [picture, sound] = [new FakeTrack(), new FakeTrack('audio')];
  screen.use(new FakeStream([picture, sound]) as unknown as MediaStream);
  picture.dispatchEvent(new Event('ended'));
  expect([screen.shared, sound.on, screen.stream.getTracks()]).toEqual([false, false, []]);
});

test('another choice takes the place of the first, which goes on until then', async () => {
  const [first, second] = [new FakeTrack(), new FakeTrack()];
  screen.use(new FakeStream([first]) as unknown as MediaStream);
  const sharing = screen.share();
  expect([screen.shared, first.on]).toEqual([true, true]);
  asked[0]?.answer(new FakeStream([second]));
  await sharing;
  first.dispatchEvent(new Event('ended'));
  expect([first.on, second.on, screen.shared]).toEqual([false, true, true]);
});

test('an answer that comes after it was stopped is switched off', async () => {
  const picture = new FakeTrack();
  const sharing = screen.share();
  screen.stop();
  asked[0]?.answer(new FakeStream([picture]));
  await sharing;
  expect([picture.on, screen.shared]).toEqual([false, false]);
});

test('who chooses none is told that none is shared', async () => {
  const sharing = screen.share();
  asked[0]?.refuse(new DOMException('', 'NotAllowedError'));
  await sharing;
  expect(screen.problem).toMatch(/^No screen is shared/);
});

test('phones have none', () => {
  expect(ScreenShare.offered).toBe(true);
  vi.stubGlobal('navigator', { mediaDevices: {} });
  expect(ScreenShare.offered).toBe(false);
});
