import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import type { Layout, Stage } from '../src/core/stage';
import { StageFollower } from '../src/studio/stage-follower';

const AUTO: Layout = { arrangement: 'auto', sources: [] };
const SOLO: Layout = { arrangement: 'solo', sources: ['main'] };

let requests: { method: string; body: unknown; headers: Record<string, string>; answer: (status: number, body: unknown) => void }[];
let follower: StageFollower;

beforeEach(() => {
  vi.useFakeTimers();
  requests = [];
  vi.stubGlobal('fetch', (_: string, { method = 'GET', body = 'null', headers = {} }: { method?: string; body?: string; headers?: Record<string, string> }) =>
    new Promise((resolve) => {
      const answer = (status: number, what: unknown) => resolve(new Response(JSON.stringify(what), { status }));
      requests.push({ method, body: JSON.parse(body) as unknown, headers, answer });
    }),
  );
  follower = new StageFollower('algebra', 'secret');
});

afterEach(() => {
  follower.stop();
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

const stage = (layout: Layout): Stage => ({ layout, on_air: [], cohosts: [] });

async function answer(index: number, status: number, body: unknown): Promise<void> {
  requests[index]?.answer(status, body);
  await vi.advanceTimersByTimeAsync(0);
}

test('the server is asked every two seconds, with the token', async () => {
  void follower.follow();
  await answer(0, 200, stage(AUTO));
  expect([follower.stage?.layout, requests[0]?.headers]).toMatchObject([AUTO, { Authorization: 'Bearer secret' }]);
  await vi.advanceTimersByTimeAsync(2_000);
  await answer(1, 200, stage(SOLO));
  expect([follower.stage?.layout, requests.length]).toEqual([SOLO, 2]);
});

test('another layout is shown once the server says so', async () => {
  void follower.follow();
  await answer(0, 200, stage(AUTO));
  void follower.arrange(SOLO);
  await vi.advanceTimersByTimeAsync(0);
  expect([requests[1]?.method, requests[1]?.body, follower.asking, follower.stage?.layout]).toEqual(['PUT', SOLO, true, AUTO]);
  await answer(1, 200, stage(SOLO));
  expect([follower.asking, follower.stage?.layout]).toEqual([false, SOLO]);
});

test('what was read before a layout was asked for does not take it back', async () => {
  void follower.follow();
  void follower.arrange(SOLO);
  await vi.advanceTimersByTimeAsync(0);
  await answer(1, 200, stage(SOLO));
  await answer(0, 200, stage(AUTO));
  expect(follower.stage?.layout).toEqual(SOLO);
});

test('of two that are asked for at once the last one is shown', async () => {
  void follower.arrange(AUTO);
  void follower.arrange(SOLO);
  await vi.advanceTimersByTimeAsync(0);
  await answer(1, 200, stage(SOLO));
  await answer(0, 200, stage(AUTO));
  expect([follower.stage?.layout, follower.asking]).toEqual([SOLO, false]);
});

test('a refused layout is said, and nothing is marked that is not', async () => {
  void follower.follow();
  await answer(0, 200, stage(AUTO));
  void follower.arrange(SOLO);
  await vi.advanceTimersByTimeAsync(0);
  await answer(1, 409, { detail: 'The broadcast has ended.' });
  expect([follower.problem?.message, follower.stage?.layout]).toEqual(['The broadcast has ended.', AUTO]);
});

test('a broadcast that is not made yet is waited for; a bad token is not', async () => {
  void follower.follow();
  await answer(0, 404, {});
  expect([follower.problem, follower.stage]).toEqual([null, null]);
  await vi.advanceTimersByTimeAsync(5_000);
  await answer(1, 401, { detail: 'the token has expired' });
  await vi.advanceTimersByTimeAsync(60_000);
  expect([follower.problem?.message, requests.length]).toEqual(['the token has expired', 2]);
});

test('a server that is away is asked again', async () => {
  void follower.follow();
  await answer(0, 503, {});
  await vi.advanceTimersByTimeAsync(1_000);
  await answer(1, 200, stage(AUTO));
  expect([follower.problem, follower.stage?.layout]).toEqual([null, AUTO]);
});

test('who is no longer invited is gone once the server says so', async () => {
  void follower.follow();
  await answer(0, 200, { ...stage(AUTO), cohosts: ['ada', 'bo'] });
  void follower.withdraw('ada');
  await vi.advanceTimersByTimeAsync(0);
  expect([requests[1]?.method, requests[1]?.headers, follower.asking, follower.stage?.cohosts]).toEqual(['DELETE', { Authorization: 'Bearer secret' }, true, ['ada', 'bo']]);
  await answer(1, 200, { ...stage(AUTO), cohosts: ['bo'] });
  expect([follower.asking, follower.stage?.cohosts]).toEqual([false, ['bo']]);
});
