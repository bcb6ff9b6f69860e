import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Thinning } from '../src/core/thinning';

const never = () => false;
const from = (first: number, count: number) => Array.from({ length: count }, (_, i) => ({ seq: first + i }));
const hidden = (thinning: Thinning, last: number) => from(1, last).filter(({ seq }) => thinning.hides(seq)).map(({ seq }) => seq);

describe('thinning', () => {
  test('leaves a conversation alone', () => {
    const thinning = new Thinning();
    for (let i = 1; i <= 100; i += 1) thinning.arrived(from(i, 1), i * 250, never);
    expect(thinning.runs).toEqual([]);
  });

  test('lets a burst through, then about five a second, and counts the rest', () => {
    const thinning = new Thinning();
    for (let i = 0; i < 100; i += 1) thinning.arrived(from(1 + i * 10, 10), i * 50, never);
    const [run] = thinning.runs;
    const shown = 1000 - hidden(thinning, 1000).length;
    // 5 s at 5 a second, and the burst.
    expect(shown).toBeGreaterThan(30);
    expect(shown).toBeLessThan(40);
    expect(run).toMatchObject({ first: 11, last: 1000, count: 1000 - shown, shown: false });
  });

  test('never hides what must be seen', () => {
    const thinning = new Thinning();
    for (let i = 0; i < 50; i += 1) thinning.arrived(from(1 + i * 10, 10), i * 50, ({ seq }) => seq % 7 === 0);
    expect(hidden(thinning, 500).some((seq) => seq % 7 === 0)).toBe(false);
    expect(hidden(thinning, 500).length).toBeGreaterThan(300);
  });

  test('shows what is asked for, and the rest of that run; the next run is thinned again', () => {
    const thinning = new Thinning();
    thinning.arrived(from(1, 30), 0, never);
    const [run] = thinning.runs;
    if (run) thinning.show(run);
    thinning.arrived(from(31, 30), 1_000, never);
    expect(hidden(thinning, 60)).toEqual([]);
    thinning.arrived(from(61, 30), 10_000, never);
    expect(hidden(thinning, 90)).toEqual(from(71, 20).map(({ seq }) => seq));
    expect(thinning.runs.map(({ count }) => count)).toEqual([45, 20]);
  });

  test('has a note for each half minute', () => {
    const thinning = new Thinning();
    for (let s = 0; s < 90; s += 1) thinning.arrived(from(1 + s * 100, 100), s * 1000, never);
    expect(thinning.runs).toHaveLength(3);
  });

  test('forgets what the log has forgotten', () => {
    const thinning = new Thinning();
    thinning.arrived(from(1, 30), 0, never);
    thinning.arrived(from(31, 30), 60_000, never);
    thinning.forget(40);
    expect(thinning.runs.map(({ first }) => first)).toEqual([41]);
    expect(hidden(thinning, 30)).toEqual([]);
  });

  test('whatever comes, counts exactly what it hides, and shows at most the bucket and five a second', () => {
    const frames = fc.array(fc.record({ count: fc.integer({ min: 0, max: 40 }), afterMs: fc.integer({ min: 0, max: 3000 }) }), { maxLength: 60 });
    fc.assert(
      fc.property(frames, (all) => {
        const thinning = new Thinning();
        let [seq, nowMs] = [1, 0];
        for (const { count, afterMs } of all) {
          nowMs += afterMs;
          thinning.arrived(from(seq, count), nowMs, never);
          seq += count;
        }
        const left = hidden(thinning, seq - 1).length;
        expect(thinning.runs.reduce((sum, { count }) => sum + count, 0)).toBe(left);
        expect(seq - 1 - left).toBeLessThanOrEqual(10 + (nowMs / 1000) * 5);
      }),
    );
  });
});
