import { describe, expect, test } from 'vitest';
import { Standstill, type Cure, type Look } from '../src/core/standstill';

const AT: Look = { playing: true, live: true, timeS: 100, buffered: [], edgeS: 110, lastMediaMs: 0 };

/** Looks once a second; the cures with their seconds. */
function watch(seconds: number, look: (second: number) => Partial<Look>): [number, Cure][] {
  const standstill = new Standstill();
  const cures: [number, Cure][] = [];
  for (let second = 0; second < seconds; second++) {
    const cure = standstill.check(second * 1000, { ...AT, lastMediaMs: second * 1000, ...look(second) });
    if (cure) cures.push([second, cure]);
  }
  return cures;
}

const holeAhead = [{ startS: 100.4, endS: 101.2 }];

describe('a picture that stands still', () => {
  test('before a hole goes on behind it', () => {
    expect(watch(6, () => ({ buffered: holeAhead }))).toEqual([[3, { seekS: 100.45 }]]);
  });

  test('goes on behind a hole to a part alone, where more will come', () => {
    expect(watch(6, () => ({ buffered: [{ startS: 100.8, endS: 101 }] }))).toEqual([[3, { seekS: 100.85 }]]);
  });

  test('in front of media that is there is nudged', () => {
    expect(watch(6, () => ({ buffered: [{ startS: 90, endS: 103 }] }))).toEqual([[3, { seekS: 100.05 }]]);
  });

  test('is looked at again behind the hole, and then the player is built anew, ever less often', () => {
    let timeS = 100;
    const cures = watch(60, (second) => {
      if (second === 4) timeS = 100.45;
      return { timeS, buffered: holeAhead };
    });
    expect(cures).toEqual([
      [3, { seekS: 100.45 }],
      [10, 'rebuild'],
      [22, 'rebuild'],
      [46, 'rebuild'],
    ]);
  });

  test('that was cured has all patience again', () => {
    const timeS = (second: number) => (second < 4 ? 100 : second < 10 ? 100.05 + (second - 4) : 106);
    const cures = watch(14, (second) => ({ timeS: timeS(second), buffered: [{ startS: 90, endS: 120 }] }));
    expect(cures).toEqual([
      [3, { seekS: 100.05 }],
      [13, { seekS: 106.05 }],
    ]);
  });

  test('for want of media waits while media is asked for', () => {
    expect(watch(120, () => ({}))).toEqual([]);
    expect(watch(120, () => ({ buffered: [{ startS: 90, endS: 100.2 }] }))).toEqual([]);
  });

  test('for want of media that nobody asks for is built anew', () => {
    expect(watch(30, () => ({ lastMediaMs: 0 }))[0]).toEqual([26, 'rebuild']);
  });

  test('at the end of what there is waits', () => {
    expect(watch(120, () => ({ lastMediaMs: 0, edgeS: 101 }))).toEqual([]);
  });

  test('far from the next media waits for its own', () => {
    expect(watch(20, () => ({ buffered: [{ startS: 110, endS: 120 }] }))).toEqual([]);
  });
});

describe('a picture that stands at the end', () => {
  const END = { live: false, timeS: 108, buffered: [{ startS: 90, endS: 110 }] };

  test('a crumb away has come to it', () => {
    expect(watch(6, () => ({ ...END, timeS: 109.6 }))).toEqual([[3, 'over']]);
  });

  test('before the last segment is built anew, ever less often', () => {
    expect(watch(30, () => END)).toEqual([
      [3, 'rebuild'],
      [9, 'rebuild'],
      [21, 'rebuild'],
    ]);
  });

  test('waits for the last parts, that come with the end, however long it has stood', () => {
    expect(watch(15, (second) => ({ ...END, buffered: [], live: second < 10 }))).toEqual([[13, 'rebuild']]);
  });

  test('is left alone while it is paused', () => {
    expect(watch(20, () => ({ ...END, playing: false }))).toEqual([]);
  });

  test('more than a segment away goes on as anywhere else', () => {
    expect(watch(6, () => ({ live: false, buffered: holeAhead }))).toEqual([[3, { seekS: 100.45 }]]);
  });
});

describe('a picture that may stand', () => {
  test('is left alone while it is paused', () => {
    expect(watch(20, () => ({ playing: false, buffered: holeAhead }))).toEqual([]);
  });

  test('or moves', () => {
    expect(watch(20, (second) => ({ timeS: second, buffered: [{ startS: 0, endS: 60 }] }))).toEqual([]);
  });
});
