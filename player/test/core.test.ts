import { describe, expect, test } from 'vitest';
import { Backoff } from '../src/core/backoff';
import { ServerClock } from '../src/core/clock';
import { isRewound } from '../src/core/edge';
import { bitrate, bytes, clockTime, duration, initials, latency } from '../src/core/format';
import { trickleFragment } from '../src/core/sdp';
import { ticksAt, wallAt } from '../src/core/time';
import { reading, upstream } from '../src/core/upstream';
import { parseChunk, parseFrame, parseIndex } from '../src/core/wire';

describe('the timeline', () => {
  test('maps both ways exactly', () => {
    const origin = 1_760_000_000_123;
    expect(ticksAt(origin, origin + 1500)).toBe(135_000);
    expect(wallAt(origin, ticksAt(origin, origin + 33.5))).toBe(origin + 33.5);
  });
});

describe('the server clock', () => {
  test('trusts the quickest round trip', () => {
    const clock = new ServerClock();
    clock.observe(1000, 1400, 6000); // a slow one, 200 ms wrong at worst
    clock.observe(2000, 2010, 7105);
    clock.observe(3000, 3300, 8400);
    expect(clock.offsetMs).toBe(5100);
    expect(clock.at(10_000)).toBe(15_100);
  });

  test('forgets old samples, so that it follows', () => {
    const clock = new ServerClock();
    clock.observe(0, 1, 100);
    for (let i = 0; i < 8; i += 1) clock.observe(1000, 1010, 3005);
    expect(clock.offsetMs).toBe(2000);
  });

  test('knows nothing at first, and nothing from a clock set back', () => {
    const clock = new ServerClock();
    clock.observe(1000, 900, 5);
    expect(clock.offsetMs).toBe(0);
  });
});

describe('the live edge', () => {
  test('is left at ten seconds and reached again at seven', () => {
    expect(isRewound(false, 9_000)).toBe(false);
    expect(isRewound(false, 10_001)).toBe(true);
    expect(isRewound(true, 8_000)).toBe(true);
    expect(isRewound(true, 6_900)).toBe(false);
  });
});

describe('numbers', () => {
  test('are written as people read them', () => {
    expect([0, 59.9, 61, 3600, 3671].map(clockTime)).toEqual(['0:00', '0:59', '1:01', '1:00:00', '1:01:11']);
    expect([20, 61, 3900].map(duration)).toEqual(['20 s', '1 min', '1 h 5 min']);
    expect([latency(1449), latency(-5)]).toEqual(['1.4 s', '0.0 s']);
    expect([bitrate(640.4), bitrate(2449)]).toEqual(['640 kbit/s', '2.4 Mbit/s']);
    expect([999, 12_345, 3_400_000].map(bytes)).toEqual(['999 B', '12 kB', '3.4 MB']);
    expect(['Ana', 'Ana María Ruiz', '  ', '😀 x', 'Jonas (TA)'].map(initials)).toEqual(['A', 'AR', '', 'X', 'JT']);
  });
});

describe('waiting', () => {
  test('doubles up to its limit, between half and all of each step', () => {
    const least = new Backoff(100, 500, () => 0);
    expect([1, 2, 3, 4, 5].map(() => least.next())).toEqual([50, 100, 200, 250, 250]);
    least.succeeded();
    expect(least.next()).toBe(50);
    expect(new Backoff(100, 500, () => 1).next()).toBe(100);
    // Many at once: any time in as long as it takes to serve them.
    expect([0, 0.5, 1].map((random) => new Backoff(100, 500, () => random).anyTime(300))).toEqual([0, 150, 300]);
    expect(new Backoff(100, 500, () => 1).anyTime(10_000)).toBe(500);
  });
});

describe('the wire', () => {
  test('skips what it does not understand, and keeps the rest of a batch', () => {
    expect(parseFrame('{"type":"events","from":1,"to":3,"events":[{"seq":1,"kind":"wave"},{"seq":2,"at":0,"sent":9,"kind":"delete","target":1},{"kind":"text"}]}')).toEqual({
      type: 'events',
      from: 1,
      to: 3,
      events: [{ seq: 2, at: 0, sent: 9, kind: 'delete', target: 1 }],
    });
    for (const bad of ['', 'null', '[]', '{}', '{"type":"ack"}', '{"type":"joined"}', '{"type":"later"}', '{"type":"presence","count":"many"}']) {
      expect(parseFrame(bad)).toBeNull();
    }
  });

  test('reads the replay folder, in order', () => {
    const index = parseIndex({ v: 1, epoch: 'e', window: 10, chunks: [{ n: 2, name: 'b', count: 1 }, { n: 1, name: 'a', count: 1 }, { n: 'x' }] });
    expect(index?.chunks.map(({ n }) => n)).toEqual([1, 2]);
    expect(parseIndex({ window: 0, chunks: [] })).toBeNull();
    expect(parseChunk({ n: 1, events: [{ seq: 1, kind: 'delete', target: 1 }] })?.events).toEqual([]);
  });
});

describe('what a publisher sends', () => {
  test('is the difference of two readings', () => {
    const stats = (bytes: number, sent: number, lost: number) => [
      { type: 'outbound-rtp', kind: 'video', bytesSent: bytes, packetsSent: sent, framesPerSecond: 30, frameWidth: 1280, frameHeight: 720, qualityLimitationReason: 'cpu' },
      { type: 'outbound-rtp', kind: 'audio', bytesSent: 0, packetsSent: 0 },
      { type: 'remote-inbound-rtp', packetsLost: lost, roundTripTime: 0.025 },
      { type: 'candidate-pair' },
    ];
    expect(upstream(reading(0, stats(1000, 100, 0)), reading(2000, stats(501_000, 300, 4)))).toEqual({
      kbps: 2000, fps: 30, width: 1280, height: 720, roundTripMs: 25, lossPercent: 2, limitedBy: 'cpu',
    });
  });
});

test('a trickle fragment holds the credentials and each medium’s candidates', () => {
  const offer = 'v=0\r\na=group:BUNDLE 0 1\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=ice-ufrag:u\r\na=ice-pwd:p\r\na=mid:0\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\na=ice-ufrag:u\r\na=ice-pwd:p\r\na=mid:1\r\n';
  expect(trickleFragment(offer, [{ candidate: 'candidate:1 1 udp 1 192.0.2.1 5000 typ host', mid: '0' }])).toBe(
    'a=ice-ufrag:u\r\na=ice-pwd:p\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\na=candidate:1 1 udp 1 192.0.2.1 5000 typ host\r\n',
  );
});
