import { beforeEach, expect, test, vi } from 'vitest';
import { Air } from '../src/studio/air';
import type { Capture } from '../src/studio/capture';
import type { ScreenShare } from '../src/studio/screen';

/** Sessions that go as they are told. */
const publishers = vi.hoisted(() => [] as FakePublisher[]);

class FakePublisher extends EventTarget {
  state = 'off';
  problem: { status: number } | null = null;
  uses = 0;
  takeovers: boolean[] = [];
  constructor(readonly endpoint: string) {
    super();
    publishers.push(this);
  }
  use = () => (this.uses += 1);
  start = (takeover = false) => {
    this.takeovers.push(takeover);
    return this.become('connecting');
  };
  stop = () => {
    this.problem = null;
    return this.become('off');
  };
  become(state: string, status?: number) {
    this.state = state;
    if (status !== undefined) this.problem = { status };
    this.dispatchEvent(new Event('change'));
    return Promise.resolve();
  }
}

vi.mock('../src/studio/publisher', () => ({
  get Publisher() {
    return FakePublisher;
  },
}));

class FakeCapture extends EventTarget {
  tracks: string[] = [];
  get stream() {
    return { getTracks: () => this.tracks };
  }
  become(...tracks: string[]) {
    this.tracks = tracks;
    this.dispatchEvent(new Event('change'));
  }
}

let [camera, screen]: FakeCapture[] = [];
let air: Air;
let [main, second]: FakePublisher[] = [];

beforeEach(() => {
  publishers.length = 0;
  [camera, screen] = [new FakeCapture(), new FakeCapture()];
  air = new Air('/whip/algebra', 'secret', 'main', camera as unknown as Capture, screen as unknown as ScreenShare);
  [main, second] = publishers;
});

const states = () => [air.state, main?.state, second?.state];

test('camera and screen have a session each, under a name of its own', () => {
  expect([main?.endpoint, second?.endpoint]).toEqual(['/whip/algebra', '/whip/algebra?source=screen']);
  publishers.length = 0;
  new Air('/whip/algebra', 'secret', 'ada', new FakeCapture() as unknown as Capture, new FakeCapture() as unknown as ScreenShare);
  expect(publishers.map(({ endpoint }) => endpoint)).toEqual(['/whip/algebra', '/whip/algebra?source=ada-screen']);
});

test('nothing goes out before somebody presses the button; then all that there is', async () => {
  camera?.become('picture', 'sound');
  screen?.become('slides');
  expect(states()).toEqual(['off', 'off', 'off']);
  await air.start();
  expect(states()).toEqual(['connecting', 'connecting', 'connecting']);
});

test('a screen that is shared on air goes on air at once, and off when it is not shared any more', async () => {
  camera?.become('picture');
  await air.start();
  await main?.become('on');
  screen?.become('slides');
  expect(states()).toEqual(['on', 'on', 'connecting']);
  await second?.become('on');
  screen?.become();
  expect(states()).toEqual(['on', 'on', 'off']);
});

test('each reconnects by itself; on air is who is with one of them', async () => {
  camera?.become('picture');
  screen?.become('slides');
  await air.start();
  await main?.become('on');
  await second?.become('on');
  await main?.become('reconnecting');
  expect(states()).toEqual(['on', 'reconnecting', 'on']);
  await second?.become('reconnecting');
  expect(air.state).toBe('reconnecting');
});

test('all switched off: what is switched on next is on air', async () => {
  camera?.become('picture');
  await air.start();
  await main?.become('on');
  camera?.become();
  expect(states()).toEqual(['empty', 'off', 'off']);
  camera?.become('picture');
  expect(states()).toEqual(['connecting', 'connecting', 'off']);
});

test('a screen that is refused leaves the camera on air, and is asked for again when it is shared again', async () => {
  camera?.become('picture');
  screen?.become('slides');
  await air.start();
  await main?.become('on');
  await second?.become('off', 409);
  screen?.become('slides', 'sound');
  expect(states()).toEqual(['on', 'on', 'off']);
  screen?.become();
  screen?.become('slides');
  expect(second?.state).toBe('connecting');
});

test('where all is refused nobody is on air, until somebody takes over', async () => {
  camera?.become('picture');
  await air.start();
  await main?.become('off', 409);
  expect(air.state).toBe('off');
  await air.start(true);
  expect([air.state, main?.takeovers]).toEqual(['connecting', [false, true]]);
});

test('stopped, both are', async () => {
  camera?.become('picture');
  screen?.become('slides');
  await air.start();
  await main?.become('on');
  await air.stop();
  expect(states()).toEqual(['off', 'off', 'off']);
  screen?.become('other slides');
  expect(states()).toEqual(['off', 'off', 'off']);
});
