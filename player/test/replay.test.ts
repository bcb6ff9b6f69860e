import { describe, expect, test } from 'vitest';
import { Replay, shownUpTo } from '../src/core/replay';
import type { ChunkRef, ReplayChunk, TextEvent } from '../src/core/wire';

const WINDOW = 1000;
const author = { id: 'p', name: 'P', role: 'participant' } as const;
const text = (seq: number, at: number): TextEvent => ({ seq, at, sent: 0, author, kind: 'text', body: `m${seq}` });

/** A recorded room: messages by position, served as the origin would. */
class Recorded {
  readonly chunks = new Map<string, ReplayChunk>();
  refs: ChunkRef[] = [];

  constructor(events: TextEvent[], generation = 0) {
    for (const n of new Set(events.map(({ at }) => Math.floor(at / WINDOW)))) {
      const own = events.filter(({ at }) => Math.floor(at / WINDOW) === n);
      const ref = { n, name: `${n}.${generation}.json`, count: own.length };
      this.refs.push(ref);
      this.chunks.set(ref.name, { n, state: null, events: own });
    }
    this.refs.sort((a, b) => a.n - b.n);
  }

  get index() {
    return { epoch: 'e', window: WINDOW, chunks: this.refs };
  }

  /** Loads what is wanted; says which. */
  serve(replay: Replay, position: number): number[] {
    const wanted = replay.wanted(position);
    for (const ref of wanted) replay.setChunk(ref, this.chunks.get(ref.name) as ReplayChunk);
    return wanted.map(({ n }) => n);
  }
}

const seqs = (replay: Replay, position: number) => replay.at(position).messages.map(({ seq }) => seq);

function opened(events: TextEvent[], at: number): [Replay, Recorded] {
  const [replay, recorded] = [new Replay(), new Recorded(events)];
  replay.setIndex(recorded.index);
  recorded.serve(replay, at);
  return [replay, recorded];
}

describe('replay', () => {
  const lecture = [text(1, 0), text(2, 400), text(3, 900), text(5, 2100), text(4, 2100), text(6, 3500)];

  test('shows what stood there then, ordered by position and then by seq', () => {
    const [replay, recorded] = opened(lecture, 3600);
    expect(recorded.serve(replay, 3600)).toEqual([]);
    expect(seqs(replay, 3600)).toEqual([1, 2, 3, 4, 5, 6]);
  });

  test.each([
    [0, [1]],
    [399, [1]],
    [400, [1, 2]],
    [1500, [1, 2, 3]],
    [2099, [1, 2, 3]],
    [2100, [1, 2, 3, 4, 5]],
  ])('follows seeks both ways: at %i stand %j', (position, expected) => {
    const [replay, recorded] = opened(lecture, 3600);
    recorded.serve(replay, position);
    expect(seqs(replay, 5000)).toHaveLength(6);
    expect(seqs(replay, position)).toEqual(expected);
  });

  test('says until when its view holds, and gives the same view until then', () => {
    const [replay] = opened(lecture, 3600);
    const view = replay.at(950);
    expect(view.until).toBe(2100);
    expect(replay.at(2099)).toBe(view);
    expect(replay.at(2100)).not.toBe(view);
    expect(replay.at(3500).until).toBe(Infinity);
  });

  test('wants the chunk at the position first, then those before, and fetches the next ahead', () => {
    const [replay, recorded] = [new Replay(), new Recorded(lecture)];
    replay.setIndex(recorded.index);
    expect(replay.wanted(2500).map(({ n }) => n)).toEqual([2, 0, 3]);
  });

  test('does not fetch an hour of history for a screen of messages', () => {
    const many = Array.from({ length: 3600 }, (_, i) => text(i + 1, i * 100));
    const [replay, recorded] = [new Replay(), new Recorded(many)];
    replay.setIndex(recorded.index);
    expect(replay.wanted(300_000).length).toBeLessThan(20);
    recorded.serve(replay, 300_000);
    expect(seqs(replay, 300_000).at(-1)).toBe(3001);
    expect(seqs(replay, 300_000)).toHaveLength(150);
  });

  test('shows nothing above a hole while the chunk in it is on its way', () => {
    const [replay, recorded] = [new Replay(), new Recorded(lecture)];
    replay.setIndex(recorded.index);
    for (const n of [0, 3]) replay.setChunk(recorded.refs.find((ref) => ref.n === n) as ChunkRef, recorded.chunks.get(`${n}.0.json`) as ReplayChunk);
    expect(seqs(replay, 3600)).toEqual([6]);
  });

  test('puts a message that came live where its writer was, once', () => {
    const [replay, recorded] = opened(lecture, 3600);
    replay.add([text(7, 450), text(7, 450), text(8, 1200)]);
    expect(seqs(replay, 3600)).toEqual([1, 2, 7, 3, 8, 4, 5, 6]);
    const reissued = new Recorded([...lecture, text(7, 450), text(8, 1200)], 1);
    replay.setIndex(reissued.index);
    reissued.serve(replay, 3600);
    expect(seqs(replay, 3600)).toEqual([1, 2, 7, 3, 8, 4, 5, 6]);
    expect(recorded.refs).not.toEqual(reissued.refs);
  });

  test('keeps live messages that came before the index was known', () => {
    const replay = new Replay();
    replay.add([text(9, 2500)]);
    const recorded = new Recorded(lecture);
    replay.setIndex(recorded.index);
    recorded.serve(replay, 3600);
    expect(seqs(replay, 2600)).toEqual([1, 2, 3, 4, 5, 9]);
  });

  test('forgets what is deleted, also where the chunk still holds it', () => {
    const [replay, recorded] = opened(lecture, 3600);
    replay.add([{ seq: 10, at: 0, sent: 0, kind: 'delete', target: 2 }]);
    expect(seqs(replay, 1000)).toEqual([1, 3]);
    recorded.serve(replay, 0);
    expect(seqs(replay, 1000)).toEqual([1, 3]);
  });

  test('fetches a chunk anew when the index names a new one, and shows the old until it is there', () => {
    const [replay] = opened(lecture, 3600);
    const moderated = new Recorded(lecture.filter(({ seq }) => seq !== 2), 1);
    replay.setIndex(moderated.index);
    expect(seqs(replay, 1000)).toEqual([1, 2, 3]);
    expect(moderated.serve(replay, 1000)).toEqual([0, 2]);
    expect(seqs(replay, 1000)).toEqual([1, 3]);
  });

  test('at the end of an ended line shows what stands behind the last picture too', () => {
    const late = text(9, 1_000_000 + 300_000);
    const [replay, recorded] = opened([...lecture, late], 0);
    const shown = (position: number, duration: number | null) => {
      const upTo = shownUpTo(position, duration);
      recorded.serve(replay, upTo);
      expect(replay.at(upTo)).toBe(replay.at(upTo));
      return seqs(replay, upTo).includes(late.seq);
    };
    expect(shown(1_000_000, null)).toBe(false);
    expect(shown(954_999, 1_000_000)).toBe(false);
    expect(shown(1_000_000 - 18_000, 1_000_000)).toBe(true);
    expect(shown(1_000_003, 1_000_000)).toBe(true);
    expect(shown(900_000, 1_000_000)).toBe(false);
  });

  test('in random order of loading and asking, agrees with a plain filter', () => {
    const random = mulberry(7);
    const events = Array.from({ length: 400 }, (_, i) => text(i + 1, Math.floor(random() * 40_000)));
    const [replay, recorded] = [new Replay(), new Recorded(events)];
    replay.setIndex(recorded.index);
    for (let i = 0; i < 300; i += 1) {
      const position = Math.floor(random() * 41_000);
      recorded.serve(replay, position);
      const expected = events.filter(({ at }) => at <= position).sort((a, b) => a.at - b.at || a.seq - b.seq).slice(-150);
      expect(seqs(replay, position)).toEqual(expected.map(({ seq }) => seq));
    }
  });
});

/** A small seeded generator, so that a failure repeats. */
function mulberry(seed: number): () => number {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}
