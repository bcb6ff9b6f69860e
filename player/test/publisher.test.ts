import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { Publisher } from '../src/studio/publisher';

/** What the server and the browser do in a story; requests are noted. */
let requests: { method: string; url: string; headers: Record<string, string>; body: string }[];
let answers: (Response | Error | Promise<Response>)[];
let connections: FakeConnection[];

class FakeSender {
  track: unknown = null;
  replaceTrack = vi.fn((track: unknown) => {
    this.track = track;
    return Promise.resolve();
  });
  getParameters = () => ({ encodings: [{}] });
  setParameters = vi.fn(() => Promise.resolve());
}

class FakeConnection extends EventTarget {
  connectionState = 'new';
  iceGatheringState = 'complete';
  localDescription = { sdp: 'v=0\r\nm=audio 9 x 0\r\na=ice-ufrag:u\r\na=ice-pwd:p\r\na=mid:0\r\n' };
  senders: FakeSender[] = [];
  answer = '';
  closed = false;
  constructor() {
    super();
    connections.push(this);
  }
  addTransceiver() {
    const sender = new FakeSender();
    this.senders.push(sender);
    return { sender, setCodecPreferences: () => undefined };
  }
  setLocalDescription = () => Promise.resolve();
  setRemoteDescription = ({ sdp }: { sdp: string }) => {
    this.answer = sdp;
    return Promise.resolve();
  };
  getStats = () => Promise.resolve(new Map());
  close() {
    this.closed = true;
  }
  become(state: string) {
    this.connectionState = state;
    this.dispatchEvent(new Event('connectionstatechange'));
  }
}

class FakeStream {
  constructor(private readonly tracks: { kind: string }[] = []) {}
  getVideoTracks = () => this.tracks.filter(({ kind }) => kind === 'video');
  getAudioTracks = () => this.tracks.filter(({ kind }) => kind === 'audio');
}

const created = (id = 's1') => answerOf(201, 'answer', { Location: `/whip/algebra/${id}`, ETag: '"1"' });
const gone = () => answerOf(200, '', {});
const problem = (status: number, detail: string, headers = {}) => answerOf(status, JSON.stringify({ detail }), headers);

function answerOf(status: number, body: string, headers: Record<string, string>, url = 'https://lectern.test/whip/algebra'): Response {
  const response = new Response(body, { status, headers });
  Object.defineProperty(response, 'url', { value: url });
  return response;
}

beforeEach(() => {
  vi.useFakeTimers();
  [requests, answers, connections] = [[], [], []];
  vi.stubGlobal('RTCPeerConnection', FakeConnection);
  vi.stubGlobal('RTCRtpSender', { getCapabilities: () => ({ codecs: [] }) });
  vi.stubGlobal('MediaStream', FakeStream);
  vi.stubGlobal('addEventListener', () => undefined);
  vi.stubGlobal('fetch', (url: string, { method, headers, body }: { method: string; headers: Record<string, string>; body: string }) => {
    requests.push({ method, url, headers, body });
    const answer = answers.shift() ?? new Error('nobody answers');
    return answer instanceof Error ? Promise.reject(answer) : Promise.resolve(answer);
  });
});

afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

const posts = () => requests.filter(({ method }) => method === 'POST').map(({ url }) => url);
const last = () => connections.at(-1) as FakeConnection;

async function onAir(endpoint = '/whip/algebra'): Promise<Publisher> {
  const publisher = new Publisher(endpoint, 'secret');
  answers.push(created());
  await publisher.start();
  last().become('connected');
  expect(publisher.state).toBe('on');
  return publisher;
}

test('on air: an offer with the token, an answer, a connection; off again with a DELETE', async () => {
  const publisher = await onAir();
  expect(requests[0]).toMatchObject({ url: '/whip/algebra', headers: { Authorization: 'Bearer secret', 'Content-Type': 'application/sdp' } });
  expect(last().answer).toBe('answer');
  answers.push(answerOf(200, '', {}));
  await publisher.stop();
  expect(requests.at(-1)).toMatchObject({ method: 'DELETE', url: 'https://lectern.test/whip/algebra/s1', headers: { Authorization: 'Bearer secret' } });
  expect([publisher.state, last().closed]).toEqual(['off', true]);
});

test('sent to another server, it says goodbye there, with the token', async () => {
  const publisher = new Publisher('/whip/algebra', 'secret');
  answers.push(answerOf(201, 'answer', { Location: '/whip/algebra/s1' }, 'https://two.test/whip/algebra?pass=p'), gone());
  await publisher.start();
  expect(publisher.server).toBe('https://two.test');
  await publisher.stop();
  expect(requests[1]).toMatchObject({ method: 'DELETE', url: 'https://two.test/whip/algebra/s1', headers: { Authorization: 'Bearer secret' } });
  expect(publisher.server).toBeNull();
});

test('a break that mends itself within three seconds is let be', async () => {
  const publisher = await onAir();
  last().become('disconnected');
  await vi.advanceTimersByTimeAsync(2_900);
  last().become('connected');
  await vi.advanceTimersByTimeAsync(10_000);
  expect([publisher.state, posts().length]).toEqual(['on', 1]);
});

test('a longer break: a new session takes the place of the lost one', async () => {
  const publisher = await onAir();
  const lost = last();
  lost.become('disconnected');
  answers.push(created());
  await vi.advanceTimersByTimeAsync(3_600);
  // Not deleted: that would be a good-bye.
  expect([lost.closed, requests[1]]).toMatchObject([true, { method: 'POST', url: '/whip/algebra?takeover=s1' }]);
  last().become('connected');
  expect(publisher.state).toBe('on');
});

test('while the network is away it tries again and again, ever more slowly, and comes back', async () => {
  const publisher = await onAir();
  last().become('failed');
  await vi.advanceTimersByTimeAsync(60_000);
  expect(publisher.state).toBe('reconnecting');
  const tries = posts().length;
  expect(tries).toBeGreaterThan(6);
  expect(tries).toBeLessThan(25);
  answers.push(created());
  await vi.advanceTimersByTimeAsync(8_000);
  last().become('connected');
  expect([publisher.state, publisher.problem]).toEqual(['on', null]);
});

test('an answer without a connection is no session: it is given back before the next is asked for', async () => {
  const publisher = new Publisher('/whip/algebra', 'secret');
  let deleted: (response: Response) => void = () => undefined;
  answers.push(created(), new Promise((resolve) => (deleted = resolve)), created('s2'));
  await publisher.start();
  await vi.advanceTimersByTimeAsync(12_000);
  expect(requests.map(({ method }) => method)).toEqual(['POST', 'DELETE']);
  deleted(gone());
  await vi.advanceTimersByTimeAsync(0);
  // Whoever else is there now is not ours to replace.
  expect(posts()).toEqual(['/whip/algebra', '/whip/algebra?takeover=s1']);
  last().become('connected');
  expect(publisher.state).toBe('on');
});

test('each reconnect takes the place of the session before it; where somebody else took that, it is over', async () => {
  const publisher = await onAir();
  answers.push(created('s2'));
  last().become('failed');
  await vi.advanceTimersByTimeAsync(500);
  last().become('connected');
  answers.push(problem(409, 'Somebody else is on air.'));
  last().become('failed');
  await vi.advanceTimersByTimeAsync(60_000);
  expect(posts()).toEqual(['/whip/algebra', '/whip/algebra?takeover=s1', '/whip/algebra?takeover=s2']);
  expect([publisher.state, publisher.problem?.status]).toEqual(['off', 409]);
  answers.push(created('s3'));
  await publisher.start(true);
  expect(posts()[3]).toBe('/whip/algebra?takeover=true');
});

test('a request whose answer was lost may stand in our own way for a while', async () => {
  const publisher = await onAir();
  answers.push(new Error('the answer is lost'), problem(409, 'Somebody else is on air.'), created('s3'));
  last().become('failed');
  await vi.advanceTimersByTimeAsync(5_000);
  last().become('connected');
  expect([publisher.state, publisher.problem]).toEqual(['on', null]);
});

test.each([
  [401, 'The token has expired.'],
  [403, 'This token is for another broadcast.'],
  [409, 'Somebody else is on air.'],
])('%i is final, and is said', async (status, words) => {
  const publisher = new Publisher('/whip/algebra', 'secret');
  answers.push(problem(status, words));
  await publisher.start();
  await vi.advanceTimersByTimeAsync(60_000);
  expect([publisher.state, publisher.problem?.message, posts().length]).toEqual(['off', words, 1]);
});

test('a lecturer may take over from another publisher', async () => {
  const publisher = new Publisher('/whip/algebra', 'secret');
  answers.push(problem(409, 'Somebody else is on air.'), created());
  await publisher.start();
  await publisher.start(true);
  expect(posts()[1]).toBe('/whip/algebra?takeover=true');
});

test('a busy server is given the time it asks for', async () => {
  const publisher = new Publisher('/whip/algebra', 'secret');
  answers.push(problem(503, 'Full.', { 'Retry-After': '7' }), created());
  await publisher.start();
  await vi.advanceTimersByTimeAsync(6_900);
  expect(posts()).toHaveLength(1);
  await vi.advanceTimersByTimeAsync(200);
  expect(posts()).toHaveLength(2);
});

test('another device is used without a new offer', async () => {
  const publisher = await onAir();
  const camera = { kind: 'video' };
  publisher.use(new MediaStream([camera as MediaStreamTrack]));
  await vi.advanceTimersByTimeAsync(0);
  expect(last().senders.map(({ track }) => track)).toEqual([camera, null]);
  expect(posts()).toHaveLength(1);
});

test('stopped while the answer is on its way: the session that comes is given back', async () => {
  const publisher = new Publisher('/whip/algebra', 'secret');
  let answer: (response: Response) => void = () => undefined;
  answers.push(new Promise((resolve) => (answer = resolve)), gone());
  const starting = publisher.start();
  await vi.advanceTimersByTimeAsync(0);
  await publisher.stop();
  answer(created());
  await starting;
  expect(requests.map(({ method }) => method)).toEqual(['POST', 'DELETE']);
  expect(publisher.state).toBe('off');
});

test('a source of its own keeps its name when it returns', async () => {
  await onAir('/whip/algebra?source=screen');
  answers.push(created('s2'));
  last().become('failed');
  await vi.advanceTimersByTimeAsync(500);
  expect(posts()).toEqual(['/whip/algebra?source=screen', '/whip/algebra?source=screen&takeover=s1']);
});
