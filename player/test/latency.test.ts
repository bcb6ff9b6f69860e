import { describe, expect, test } from 'vitest';
import { LatencyController, type Stretch } from '../src/core/latency';

const PART_S = 0.2;
const HOLD_BACK = { partsS: 0.65, segmentsS: 9 };
const TICK_MS = 20;
const STEER_EVERY = 10;

interface World {
  /** How long a part takes from being whole at the origin to being in the buffer, ms. */
  delayMs: (part: number) => number;
  /** Where playing begins, behind the first edge. */
  startLatencyS?: number;
  steering?: (nowMs: number) => boolean;
  /** Parts that never come; the playlist goes on behind them. */
  lost?: (part: number) => boolean;
}

interface Run {
  controller: LatencyController;
  rates: number[];
  /** Distinct rates in a row. */
  changes: number;
  seeks: { atMs: number; fromS: number; toS: number }[];
  stallsMs: number[];
  /** Behind the edge as the origin has it: what nobody here can see. */
  latencyS: (sinceMs?: number) => number[];
  targetS: { atMs: number; valueS: number }[];
}

/**
 * A live line, its delivery and a `<video>`: each part is whole at (k + 1) × 200 ms, listed and in the buffer `delayMs`
 * after that (in order); the playhead goes on at its rate while there is media.
 */
function play(seconds: number, { delayMs, startLatencyS = 1, steering = () => true, lost = () => false }: World): Run {
  const controller = new LatencyController();
  const [rates, seeks, stallsMs, latencies, targetS]: [number[], Run['seeks'], number[], { atMs: number; valueS: number }[], Run['targetS']] = [[], [], [], [], []];
  // 100 s of the line are there when the viewer comes.
  const base = 100;
  let buffered: Stretch[] = [{ startS: base - 4, endS: base }];
  let [timeS, rate, standing, next, freeMs] = [base - startLatencyS, 1, false, 0, 0];
  controller.listed(0, base, HOLD_BACK);
  for (let nowMs = 0, tick = 0; nowMs < seconds * 1000; nowMs += TICK_MS, tick += 1) {
    for (let due = (next + 1) * PART_S * 1000 + delayMs(next); Math.max(due, freeMs) <= nowMs; due = (next + 1) * PART_S * 1000 + delayMs(next)) {
      freeMs = Math.max(due, freeMs);
      const [startS, endS] = [base + next * PART_S, base + (next + 1) * PART_S];
      controller.listed(nowMs, endS, HOLD_BACK);
      if (!lost(next)) {
        buffered = append(buffered, { startS, endS });
        const here = buffered.findLast((stretch) => stretch.startS <= timeS);
        if (here && steering(nowMs)) controller.buffered(nowMs, here.endS);
      }
      next += 1;
    }
    const endS = buffered.find((stretch) => stretch.startS <= timeS + 1e-9 && timeS < stretch.endS)?.endS ?? timeS;
    const moved = Math.min(timeS + (rate * TICK_MS) / 1000, endS);
    if (moved - timeS < TICK_MS / 4000 && !standing) {
      stallsMs.push(nowMs);
      if (steering(nowMs)) controller.stalled(nowMs);
    }
    standing = moved - timeS < TICK_MS / 4000;
    timeS = moved;
    latencies.push({ atMs: nowMs, valueS: base + nowMs / 1000 - timeS });
    if (tick % STEER_EVERY !== 0) continue;
    const steered = controller.steer(nowMs, { timeS, buffered }, steering(nowMs));
    rates.push((rate = steered.rate));
    targetS.push({ atMs: nowMs, valueS: controller.targetAt(nowMs) });
    if (steered.seekS === null) continue;
    seeks.push({ atMs: nowMs, fromS: timeS, toS: steered.seekS });
    timeS = steered.seekS;
    controller.interrupted();
  }
  const changes = rates.filter((one, i) => i > 0 && one !== rates[i - 1]).length;
  const latencyS = (sinceMs = 0) => latencies.filter(({ atMs }) => atMs >= sinceMs).map(({ valueS }) => valueS);
  return { controller, rates, changes, seeks, stallsMs, latencyS, targetS };
}

function append(buffered: Stretch[], part: Stretch): Stretch[] {
  const last = buffered.at(-1) as Stretch;
  return part.startS - last.endS < 1e-6 ? [...buffered.slice(0, -1), { startS: last.startS, endS: part.endS }] : [...buffered, part];
}

const after = (run: Run, atMs: number) => run.targetS.find((target) => target.atMs >= atMs)?.valueS as number;

describe('on a quick network', () => {
  test('the target is PART-HOLD-BACK, reached without a jump and held without a sound', () => {
    const run = play(60, { delayMs: () => 20, startLatencyS: 1.4 });
    expect(run.seeks).toEqual([]);
    expect(run.stallsMs).toEqual([]);
    expect(run.controller.targetAt(60_000)).toBe(0.65);
    // The quickest answer is itself 20 ms old.
    for (const latencyS of run.latencyS(20_000)) expect(Math.abs(latencyS - 0.67)).toBeLessThan(0.1);
    expect(new Set(run.rates.slice(-150))).toEqual(new Set([1]));
  });

  test('who comes too near falls back by playing slower', () => {
    const run = play(30, { delayMs: () => 20, startLatencyS: 0.4 });
    expect(Math.min(...run.rates)).toBeGreaterThanOrEqual(0.95);
    expect(run.latencyS(15_000)[0]).toBeGreaterThan(0.6);
  });

  test('answers that come late now and then do not move the edge', () => {
    const run = play(40, { delayMs: (part) => 20 + (part % 7) * 20, startLatencyS: 0.67 });
    expect(run.changes).toBe(0);
  });
});

describe('property: whatever the network does', () => {
  test.each(Array.from({ length: 40 }, (_, seed) => seed))('rates are bounded, turn slowly and do not swing (%i)', (seed) => {
    const random = mulberry(seed);
    const [jitterMs, startLatencyS] = [random() * 600, 0.3 + random() * 2];
    const run = play(120, { delayMs: () => 20 + random() * jitterMs, startLatencyS });
    run.rates.forEach((rate, i) => {
      expect(rate).toBeGreaterThanOrEqual(0.95);
      expect(rate).toBeLessThanOrEqual(1.08);
      // A jump begins anew.
      if (!run.seeks.some(({ atMs }) => atMs === i * STEER_EVERY * TICK_MS)) expect(Math.abs(rate - (run.rates[i - 1] ?? 1))).toBeLessThan(0.031);
    });
    // From faster to slower or back: by adapting now and then, not for ever.
    const sides = run.rates.map((rate) => Math.sign(rate - 1)).filter((side) => side !== 0);
    const swings = sides.filter((side, i) => i > 0 && side !== sides[i - 1]).length;
    expect(swings).toBeLessThanOrEqual(12);
    expect(run.targetS.every(({ valueS }) => valueS >= 0.65 && valueS <= 9)).toBe(true);
    expect(run.seeks.length).toBeLessThanOrEqual(1);
  });

  test.each(Array.from({ length: 20 }, (_, seed) => seed))('after half a minute of the same jitter there are no stalls (%i)', (seed) => {
    const random = mulberry(seed);
    const jitterMs = random() * 700;
    const run = play(150, { delayMs: () => 20 + random() * jitterMs });
    expect(run.stallsMs.filter((atMs) => atMs > 60_000)).toEqual([]);
  });
});

describe('when parts come slowly', () => {
  const slow = (fromMs: number, toMs: number, ms: number) => (part: number) => (part * 200 >= fromMs && part * 200 < toMs && part % 10 === 0 ? ms : 20);

  test('the target grows to hold, and comes back slowly when it is good again', () => {
    const run = play(150, { delayMs: slow(20_000, 50_000, 900), startLatencyS: 0.67 });
    expect(after(run, 15_000)).toBe(0.65);
    expect(after(run, 40_000)).toBeGreaterThan(1);
    expect(run.stallsMs.filter((atMs) => atMs > 30_000)).toEqual([]);
    const raised = after(run, 60_000);
    expect(raised - after(run, 75_000)).toBeLessThan(0.02 * 15 + 0.01);
    expect(after(run, 149_000)).toBe(0.65);
    expect(run.seeks).toEqual([]);
  });

  test('one late part is no reason, one stall a small one', () => {
    const run = play(30, { delayMs: (part) => (part === 75 ? 400 : 20), startLatencyS: 0.67 });
    expect(run.stallsMs).toEqual([]);
    expect(run.changes).toBe(0);
    const stalled = play(30, { delayMs: (part) => (part === 75 ? 1_000 : 20), startLatencyS: 0.67 });
    expect(stalled.stallsMs).toHaveLength(1);
    expect(after(stalled, 20_000)).toBeCloseTo(0.85);
  });

  test('never further back than HOLD-BACK', () => {
    const run = play(200, { delayMs: (part) => (part % 100 < 2 ? 15_000 : 20) });
    expect(Math.max(...run.targetS.map(({ valueS }) => valueS))).toBeLessThanOrEqual(9);
  });
});

describe('who is far behind', () => {
  test('jumps, over what is buffered, after an outage', () => {
    const run = play(30, { delayMs: (part) => (part >= 50 && part < 65 ? Math.max(20, 13_000 - (part + 1) * 200) : 20), startLatencyS: 0.67 });
    expect(run.stallsMs).toHaveLength(1);
    expect(run.seeks).toHaveLength(1);
    expect(run.seeks[0]?.atMs).toBeLessThan(14_500);
    expect(run.latencyS(16_000)[0]).toBeLessThan(1.1);
  });

  test('does not jump to where there is nothing yet', () => {
    const controller = new LatencyController();
    controller.listed(0, 100, HOLD_BACK);
    const standing = { timeS: 99.9, buffered: [{ startS: 90, endS: 100 }] };
    for (let nowMs = 0; nowMs < 20_000; nowMs += 200) expect(controller.steer(nowMs, standing, true).seekS).toBeNull();
  });

  test('jumps to unbuffered media only after waiting for it to come', () => {
    const controller = new LatencyController();
    let seekAtMs: number | null = null;
    for (let nowMs = 0; nowMs < 10_000 && seekAtMs === null; nowMs += 200) {
      controller.listed(nowMs, 100 + nowMs / 1000, HOLD_BACK);
      const { seekS } = controller.steer(nowMs, { timeS: 50, buffered: [{ startS: 40, endS: 60 }] }, true);
      if (seekS === null) continue;
      expect(seekS).toBeCloseTo(100 + nowMs / 1000 - 0.65);
      seekAtMs = nowMs;
    }
    expect(seekAtMs).toBe(2_000);
  });
});

test('even a short hole is passed, half a second after the media before it is used up', () => {
  const run = play(30, { delayMs: () => 20, lost: (part) => part >= 50 && part < 54, startLatencyS: 0.67 });
  expect(run.stallsMs).toHaveLength(1);
  expect(run.seeks).toHaveLength(1);
  expect(run.seeks[0]?.toS).toBeCloseTo(100 + 54 * 0.2, 1);
});

test('a hole in the line is passed when there is something after it', () => {
  const run = play(40, { delayMs: (part) => (part >= 50 && part < 80 ? Math.max(20, 16_000 - (part + 1) * 200) : 20), lost: (part) => part >= 45 && part < 75, startLatencyS: 0.67 });
  expect(run.seeks.length).toBeGreaterThanOrEqual(1);
  expect(run.seeks.length).toBeLessThanOrEqual(2);
  expect(run.latencyS(30_000)[0]).toBeLessThan(1.5);
});

describe('it is quiet', () => {
  test('while the viewer is elsewhere', () => {
    const run = play(60, { delayMs: () => 20, startLatencyS: 30, steering: () => false });
    expect(new Set(run.rates)).toEqual(new Set([1]));
    expect(run.seeks).toEqual([]);
  });

  test('and what was loaded meanwhile says nothing of how late parts are', () => {
    const controller = new LatencyController();
    for (let nowMs = 0; nowMs <= 10_000; nowMs += 200) controller.listed(nowMs, 100 + nowMs / 1000, HOLD_BACK);
    controller.interrupted();
    for (let endS = 20; endS < 100; endS += 3) controller.buffered(10_000 + endS, endS);
    expect(controller.targetAt(10_200)).toBe(0.65);
  });

  test('before there is a playlist', () => {
    const controller = new LatencyController();
    expect(controller.livePositionAt(0)).toBeNull();
    expect(controller.steer(0, { timeS: 0, buffered: [] }, true)).toEqual({ rate: 1, seekS: null });
  });
});

/** A small seeded generator, so that a failure repeats. */
function mulberry(seed: number): () => number {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  };
}
