import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Replay } from '../src/core/replay';
import { foldAll } from '../src/core/state';
import { EMPTY, SETTINGS, type ReplayChunk, type RoomEvent, type TextEvent } from '../src/core/wire';

const WINDOW = 1000;
const author = { id: 'p', name: 'P', role: 'participant' } as const;
const host = { id: 'h', name: 'H', role: 'host' } as const;
const text = (seq: number, at: number, more: Partial<TextEvent> = {}): TextEvent => ({ seq, at, sent: 0, author, kind: 'text', body: `m${seq}`, ...more });
const byPosition = (a: RoomEvent, b: RoomEvent) => a.at - b.at || a.seq - b.seq;

/** As the origin cuts and serves a room: each chunk with the state at its head. */
function served(events: RoomEvent[], window = WINDOW) {
  const sorted = [...events].sort(byPosition);
  const numbers = [...new Set(sorted.map(({ at }) => Math.floor(at / window)))];
  const chunks = new Map<number, ReplayChunk>(
    numbers.map((n) => [n, { n, state: foldAll(EMPTY, sorted.filter(({ at }) => at < n * window)), events: sorted.filter(({ at }) => Math.floor(at / window) === n) }]),
  );
  const refs = numbers.map((n) => ({ n, name: `${n}.json`, count: chunks.get(n)?.events.filter(({ kind }) => kind === 'text').length ?? 0 }));
  return { index: { epoch: 'e', window, chunks: refs }, chunks };
}

/** Loads the first of what is wanted at the position: what a seek has to wait for. */
function loadFirst(replay: Replay, { chunks }: ReturnType<typeof served>, position: number): void {
  const [ref] = replay.wanted(position);
  const chunk = ref && ref.n * WINDOW <= position ? chunks.get(ref.n) : undefined;
  if (ref && chunk) replay.setChunk(ref, chunk);
}

const lecture: RoomEvent[] = [
  text(1, 100, { question: true }),
  { seq: 2, at: 500, sent: 0, author: host, kind: 'pin', target: 1, message: text(1, 100, { question: true }) },
  { seq: 3, at: 1500, sent: 0, author: host, kind: 'poll', question: 'Which?', options: ['A', 'B'], multiple: false, quiz: false, results: 'live', closes: null },
  text(4, 1600),
  { seq: 5, at: 1700, sent: 0, kind: 'tally', target: 3, counts: [2, 1], voters: 3 },
  { seq: 6, at: 3200, sent: 0, author: host, kind: 'close', target: 3, counts: [2, 2], voters: 4 },
  { seq: 7, at: 3300, sent: 0, author: host, kind: 'question', target: 1, state: 'answered' },
  { seq: 8, at: 3400, sent: 0, kind: 'reactions', counts: { '👍': 3 } },
];

describe('the state of the room in the replay', () => {
  test('needs one chunk for a seek, and is unknown until that is here', () => {
    const [replay, recorded] = [new Replay(), served(lecture)];
    replay.setIndex(recorded.index);
    expect(replay.stateAt(3250)).toBeNull();
    loadFirst(replay, recorded, 3250);
    expect(replay.stateAt(3250)).toMatchObject({ pinned: { seq: 1 }, questions: [{ state: 'open' }], polls: [{ closed: true, counts: [2, 2] }] });
    expect(replay.stateAt(3199)?.polls).toMatchObject([{ closed: false, counts: [2, 1] }]);
    expect(replay.stateAt(3300)?.questions).toMatchObject([{ state: 'answered' }]);
  });

  test('is that of the last chunk before, where nothing happened since', () => {
    const [replay, recorded] = [new Replay(), served(lecture)];
    replay.setIndex(recorded.index);
    loadFirst(replay, recorded, 2900);
    expect(replay.stateAt(2900)?.polls).toMatchObject([{ counts: [2, 1], closed: false }]);
  });

  test('before anything happened is that of an empty room', () => {
    const [replay, recorded] = [new Replay(), served(lecture.slice(2))];
    replay.setIndex(recorded.index);
    expect(replay.stateAt(20)).toEqual(EMPTY);
  });

  test('changes when its view says so', () => {
    const [replay, recorded] = [new Replay(), served(lecture)];
    replay.setIndex(recorded.index);
    for (const ref of recorded.index.chunks) replay.setChunk(ref, recorded.chunks.get(ref.n) as ReplayChunk);
    const view = replay.at(1650);
    expect(view.until).toBe(1700);
    expect(replay.at(1699)).toBe(view);
    expect(replay.at(1700).state).not.toBe(view.state);
    expect(replay.at(3100).until).toBe(3200);
  });

  test('takes on what comes live, and what was deleted is gone at every position', () => {
    const [replay, recorded] = [new Replay(), served(lecture)];
    replay.setIndex(recorded.index);
    loadFirst(replay, recorded, 3500);
    replay.add([{ seq: 9, at: 3600, sent: 0, author: host, kind: 'settings', settings: { ...SETTINGS, messages: 'off' } }, lecture[6] as RoomEvent]);
    expect(replay.stateAt(3599)?.settings.messages).toBe('open');
    expect(replay.stateAt(3600)?.settings.messages).toBe('off');
    replay.add([{ seq: 10, at: 9000, sent: 0, author: host, kind: 'delete', target: 1 }]);
    expect(replay.stateAt(3599)).toMatchObject({ pinned: null, questions: [] });
  });

  test('of chunks of the first version is what can be worked out', () => {
    const replay = new Replay();
    replay.setIndex({ epoch: 'e', window: WINDOW, chunks: [{ n: 0, name: '0', count: 1 }] });
    replay.setChunk({ n: 0, name: '0', count: 1 }, { n: 0, state: null, events: [text(1, 10)] });
    expect(replay.at(20)).toMatchObject({ messages: [{ seq: 1 }], state: EMPTY });
  });

  test('tells what passes by, such as reactions', () => {
    const [replay, recorded] = [new Replay(), served(lecture)];
    replay.setIndex(recorded.index);
    loadFirst(replay, recorded, 3500);
    expect(replay.passed(3300, 3400).map(({ kind }) => kind)).toEqual(['reactions']);
    expect(replay.passed(3400, 9999)).toEqual([]);
  });

  const kinds = fc.constantFrom('say', 'ask', 'pin', 'unpin', 'question', 'poll', 'tally', 'close', 'hand', 'settings');
  const steps = fc.array(fc.record({ kind: kinds, after: fc.integer({ min: 0, max: 700 }), which: fc.nat(30), back: fc.integer({ min: 0, max: 2000 }) }), { maxLength: 60 });

  test('agrees with the fold from the beginning, wherever one seeks, with one chunk', () => {
    fc.assert(
      fc.property(steps, fc.array(fc.nat(20_000), { maxLength: 10 }), (all, positions) => {
        const events = history(all);
        const [replay, recorded] = [new Replay(), served(events)];
        replay.setIndex(recorded.index);
        for (const position of positions) {
          loadFirst(replay, recorded, position);
          const expected = foldAll(EMPTY, [...events].sort(byPosition).filter(({ at }) => at <= position));
          expect(replay.stateAt(position)).toEqual(expected);
          // And at the last moment for which the view says that it holds.
          const { until, state } = replay.at(position);
          if (Number.isFinite(until)) expect(replay.at(until - 1).state).toBe(state);
        }
      }),
      { numRuns: 1000 },
    );
  });
});

/** A room in which things happen in the order of `steps`; words stand where their writers were. */
function history(all: { kind: string; after: number; which: number; back: number }[]): RoomEvent[] {
  const events: RoomEvent[] = [];
  let at = 0;
  for (const { kind, after, which, back } of all) {
    at += after;
    const seq = events.length + 1;
    const target = 1 + (which % seq);
    const base = { seq, at, sent: seq, author: host };
    if (kind === 'say') events.push(text(seq, Math.max(0, at - back)));
    if (kind === 'ask') events.push(text(seq, Math.max(0, at - back), { question: true }));
    if (kind === 'pin') events.push({ ...base, kind, target, message: text(target, 0) });
    if (kind === 'unpin') events.push({ ...base, kind, target });
    if (kind === 'question') events.push({ ...base, kind, target, state: which % 2 ? 'answered' : 'dismissed' });
    if (kind === 'poll') events.push({ ...base, kind, question: '?', options: ['A', 'B'], multiple: false, quiz: false, results: 'live', closes: null });
    if (kind === 'tally') events.push({ ...base, kind, target, counts: [which], voters: which });
    if (kind === 'close') events.push({ ...base, kind, target, counts: [1, 2], voters: 3 });
    if (kind === 'hand') events.push({ ...base, author: { ...author, id: `p${which % 5}` }, kind, raised: back % 2 === 0 });
    if (kind === 'settings') events.push({ ...base, kind, settings: { ...SETTINGS, slow_ms: which } });
  }
  return events;
}
