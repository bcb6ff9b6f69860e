import { afterEach, expect, test, vi } from 'vitest';
import { BroadcastFollower } from '../src/broadcast-follower';

afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

test('two readings at once do not become two loops; nothing is asked after the end', async () => {
  vi.useFakeTimers();
  let [asked, state] = [0, 'live'];
  vi.stubGlobal('fetch', () => {
    asked += 1;
    return Promise.resolve(new Response(JSON.stringify({ id: 'algebra', state })));
  });
  const follower = new BroadcastFollower('algebra');
  await Promise.all([follower.refresh(), follower.refresh(), follower.refresh()]);
  asked = 0;
  await vi.advanceTimersByTimeAsync(30_500);
  expect(asked).toBe(3);
  state = 'ended';
  await vi.advanceTimersByTimeAsync(60_000);
  expect(asked).toBe(4);
});
