import { describe, expect, test } from 'vitest';
import { fold, foldAll, tallied, voted } from '../src/core/state';
import { EMPTY, SETTINGS, parseEvents, parseFrame, parseState, type Person, type RoomEvent, type State, type TextEvent } from '../src/core/wire';

const ana: Person = { id: 'p1', name: 'Ana', role: 'participant' };
const bo: Person = { id: 'p2', name: 'Bo', role: 'participant' };
const host: Person = { id: 'h', name: 'Prof. Okafor', role: 'host' };
const STAFF: State = { ...EMPTY, staff: { held: [], reports: [], sanctions: [], notes: [] } };

/** An event with its place: seq is also its second. */
type Bare = RoomEvent extends infer E ? (E extends RoomEvent ? Omit<E, 'seq' | 'at' | 'sent'> : never) : never;
const event = (seq: number, bare: Bare): RoomEvent => ({ seq, at: seq * 90_000, sent: seq * 1000, ...bare });
const text = (seq: number, more: Partial<TextEvent> = {}): TextEvent => ({ seq, at: seq * 90_000, sent: seq * 1000, author: ana, kind: 'text', body: `m${seq}`, ...more });
const ask = (seq: number, more: Partial<TextEvent> = {}) => text(seq, { question: true, ...more });
const poll = (seq: number, results: 'live' | 'closed' = 'live', quiz = false) =>
  event(seq, { kind: 'poll', author: host, question: 'Which one?', options: ['A', 'B'], multiple: false, quiz, results, closes: null });

const seqs = (state: State) => state.questions.map(({ message }) => message.seq);

describe('questions', () => {
  test('are asked, voted for, answered and dismissed', () => {
    let state = foldAll(EMPTY, [text(1), ask(2), ask(3)]);
    expect(seqs(state)).toEqual([2, 3]);
    state = tallied(state, { target: 3, counts: [5], voters: 5 });
    state = voted(state, 3, [0]);
    expect(state.questions[1]).toMatchObject({ votes: 5, voted: true, state: 'open' });
    expect(voted(state, 3, []).questions[1]).toMatchObject({ votes: 5, voted: false });
    state = fold(state, event(4, { kind: 'question', author: host, target: 3, state: 'answered' }));
    expect(state.questions[1]).toMatchObject({ votes: 5, voted: true, state: 'answered' });
  });

  test('that wait, or are private, are no questions of the room yet', () => {
    expect(seqs(foldAll(STAFF, [ask(1, { held: 'moderated' }), ask(2, { to: 'staff' })]))).toEqual([]);
  });

  test('are edited and deleted where they stand, and only the newest are kept', () => {
    const state = foldAll(EMPTY, [ask(1), ask(2), event(3, { kind: 'edit', author: ana, target: 1, body: 'better' }), event(4, { kind: 'delete', author: ana, target: 2 })]);
    expect(state.questions.map(({ message }) => [message.body, message.edited])).toEqual([['better', 3000]]);
    const many = foldAll(EMPTY, Array.from({ length: 250 }, (_, i) => ask(i + 1)));
    expect([many.questions.length, many.questions[0]?.message.seq]).toEqual([200, 51]);
  });
});

describe('what is held', () => {
  test('waits for staff until it is released as another event', () => {
    const held = foldAll(STAFF, [ask(1, { held: 'moderated' }), text(2, { held: 'word' })]);
    expect(held.staff?.held.map(({ seq }) => seq)).toEqual([1, 2]);
    const shown = foldAll(held, [ask(3, { of: 1 }), event(4, { kind: 'discard', author: host, target: 2 })]);
    expect(shown.staff?.held).toEqual([]);
    expect(seqs(shown)).toEqual([3]);
  });

  test('is nothing to those who do not see it', () => {
    expect(fold(EMPTY, text(1, { held: 'moderated' }))).toBe(EMPTY);
  });
});

describe('a pin', () => {
  const pinned = fold(EMPTY, event(2, { kind: 'pin', author: host, target: 1, message: text(1) }));

  test('shows one text until it is unpinned, replaced or deleted', () => {
    expect(pinned.pinned?.seq).toBe(1);
    expect(fold(pinned, event(3, { kind: 'unpin', author: host, target: 9 })).pinned?.seq).toBe(1);
    expect(fold(pinned, event(3, { kind: 'unpin', author: host, target: 1 })).pinned).toBeNull();
    expect(fold(pinned, event(3, { kind: 'delete', author: host, target: 1 })).pinned).toBeNull();
    expect(fold(pinned, event(4, { kind: 'pin', author: host, target: 3, message: text(3) })).pinned?.seq).toBe(3);
  });

  test('follows its text', () => {
    expect(fold(pinned, event(3, { kind: 'edit', author: ana, target: 1, body: 'new' })).pinned?.body).toBe('new');
  });
});

describe('a poll', () => {
  test('counts as it is told, and at its close for everyone', () => {
    let state = fold(EMPTY, poll(1, 'closed', true));
    expect(state.polls[0]).toMatchObject({ counts: null, voters: 0, closed: false, right: null });
    state = tallied(state, { target: 1, counts: null, voters: 3 });
    state = voted(state, 1, [1]);
    expect(state.polls[0]).toMatchObject({ counts: null, voters: 3, voted: [1] });
    state = fold(state, event(2, { kind: 'close', author: host, target: 1, counts: [1, 3], voters: 4, right: [1] }));
    expect(state.polls[0]).toMatchObject({ counts: [1, 3], voters: 4, closed: true, right: [1], voted: [1] });
    expect(tallied(state, { target: 1, counts: null, voters: 3 }).polls[0]).toMatchObject({ counts: [1, 3], voters: 4 });
  });

  test('is counted from nothing where the results are live, and always for staff', () => {
    expect(fold(EMPTY, poll(1)).polls[0]?.counts).toEqual([0, 0]);
    expect(fold(STAFF, poll(1, 'closed')).polls[0]?.counts).toEqual([0, 0]);
  });

  test('takes back a vote', () => {
    const state = voted(voted(fold(EMPTY, poll(1)), 1, [0]), 1, []);
    expect(state.polls[0]).not.toHaveProperty('voted');
  });

  test('in the replay is told its votes by events', () => {
    const state = foldAll(EMPTY, [poll(1), event(2, { kind: 'tally', target: 1, counts: [2, 1], voters: 3 })]);
    expect(state.polls[0]).toMatchObject({ counts: [2, 1], voters: 3 });
  });
});

describe('hands', () => {
  const up = (seq: number, author: Person) => event(seq, { kind: 'hand', author, raised: true });

  test('stand in a queue, and are lowered by oneself or by staff', () => {
    const both = foldAll(EMPTY, [up(1, ana), up(2, bo), up(3, ana)]);
    expect(both.hands).toMatchObject({ count: 2, people: [{ person: ana, since: 1000 }, { person: bo, since: 2000 }] });
    expect(fold(both, event(4, { kind: 'hand', author: ana, raised: false })).hands.people.map(({ person }) => person)).toEqual([bo]);
    expect(fold(both, event(4, { kind: 'hand', author: host, raised: false, person: bo })).hands).toMatchObject({ count: 1, people: [{ person: ana }] });
  });

  test('are counted beyond those that are known by name', () => {
    const many = foldAll(EMPTY, Array.from({ length: 120 }, (_, i) => up(i + 1, { ...ana, id: `x${i}` })));
    expect([many.hands.count, many.hands.people.length]).toEqual([120, 100]);
    expect(fold(many, event(200, { kind: 'hand', author: { ...ana, id: 'x110' }, raised: false })).hands.count).toBe(119);
  });
});

describe('order', () => {
  test('settings are those of the last switch', () => {
    const set = (seq: number, slow_ms: number) => event(seq, { kind: 'settings', author: host, settings: { ...SETTINGS, slow_ms } });
    expect(foldAll(EMPTY, [set(1, 5000), set(2, 10_000)]).settings.slow_ms).toBe(10_000);
  });

  test('a sanction stands until it is lifted, and only staff know', () => {
    const muted = event(1, { kind: 'sanction', author: host, person: bo, what: 'mute', until: null });
    expect(fold(EMPTY, muted)).toBe(EMPTY);
    const state = foldAll(STAFF, [muted, event(2, { kind: 'sanction', author: host, person: bo, what: 'timeout', until: 9000 })]);
    expect(state.staff?.sanctions).toEqual([{ person: bo, what: 'timeout', until: 9000 }]);
    expect(fold(state, event(3, { kind: 'sanction', author: host, person: bo, what: 'lift', until: null })).staff?.sanctions).toEqual([]);
  });

  test('reports and notes are kept for staff', () => {
    const events = [event(2, { kind: 'report', author: bo, target: 1, reason: 'rude' }), event(3, { kind: 'note', author: host, person: ana.id, body: 'spoke with her' })];
    expect(foldAll(EMPTY, events)).toEqual(EMPTY);
    expect(foldAll(STAFF, events).staff).toMatchObject({ reports: [{ target: 1, by: bo }], notes: [{ person: ana.id, body: 'spoke with her' }] });
  });

  test('an erased person is nowhere', () => {
    const state = foldAll(STAFF, [
      ask(1),
      ask(2, { author: bo }),
      text(3, { held: 'word' }),
      event(4, { kind: 'pin', author: host, target: 1, message: ask(1) }),
      event(5, { kind: 'hand', author: ana, raised: true }),
      event(6, { kind: 'report', author: ana, target: 2, reason: 'x' }),
      event(7, { kind: 'erase', author: host, person: ana.id }),
    ]);
    expect(JSON.stringify(state)).not.toContain('Ana');
    expect(seqs(state)).toEqual([2]);
  });

  test('an event twice is an event once', () => {
    const events: RoomEvent[] = [
      ask(1),
      text(2, { held: 'word' }),
      poll(3),
      event(4, { kind: 'hand', author: ana, raised: true }),
      event(5, { kind: 'report', author: bo, target: 1, reason: 'rude' }),
      event(6, { kind: 'note', author: host, target: 1, body: 'n' }),
      event(7, { kind: 'sanction', author: host, person: bo, what: 'mute' }),
    ];
    const once = foldAll(STAFF, events);
    for (const one of events) expect(fold(once, one)).toEqual(once);
  });

  test('what changes nothing gives the same state', () => {
    expect(foldAll(EMPTY, [text(1), event(2, { kind: 'reactions', counts: { '👍': 3 } }), event(3, { kind: 'tally', target: 9, counts: [1], voters: 1 })])).toBe(EMPTY);
  });
});

describe('the wire', () => {
  test('lets in every kind of event, and none that lacks a field', () => {
    const all: RoomEvent[] = [
      text(1, { reply_to: 3, mentions: ['p2'], files: [{ id: 'a.png', name: 'a', type: 'image/png', size: 3 }] }),
      text(2, { deleted: true }),
      poll(3),
      event(4, { kind: 'close', target: 3, counts: [1], voters: 1 }),
      event(5, { kind: 'hand', author: ana, raised: true }),
      event(6, { kind: 'erase', person: 'p1' }),
      event(7, { kind: 'question', target: 1, state: 'open' }),
      event(8, { kind: 'reactions', counts: { '👍': 2 } }),
    ];
    expect(parseEvents(JSON.parse(JSON.stringify(all)))).toEqual(all);
    for (const one of all) {
      for (const field of Object.keys(one).filter((name) => !['author', 'deleted', 'reply_to', 'mentions', 'files'].includes(name) && !(one.kind === 'text' && one.deleted && name === 'body'))) {
        const { [field]: _, ...less } = one as unknown as Record<string, unknown>;
        if (field === 'closes') continue;
        expect(parseEvents([less]), `${one.kind} without ${field}`).toEqual([]);
      }
    }
    expect(parseEvents([{ ...text(1), mentions: 'p2' }, { ...text(1), kind: 'hologram' }, null, 7])).toEqual([]);
  });

  test('completes a state from what is there', () => {
    expect(parseState(undefined)).toEqual(EMPTY);
    const state = parseState({ settings: { messages: 'moderated', slow_ms: 'soon' }, questions: [{ message: ask(1), state: 'open', votes: 2 }, { votes: 1 }], staff: { held: [text(2, { held: 'word' })] } });
    expect(state.settings).toEqual({ ...SETTINGS, messages: 'moderated' });
    expect(seqs(state)).toEqual([1]);
    expect(state.staff).toMatchObject({ held: [{ seq: 2 }], reports: [], sanctions: [], notes: [] });
    expect(parseState({}).staff).toBeUndefined();
  });

  test('knows its frames', () => {
    expect(parseFrame('{"type":"events","from":3,"to":9,"events":[{"seq":4}]}')).toEqual({ type: 'events', from: 3, to: 9, events: [] });
    expect(parseFrame('{"type":"events","events":[]}')).toBeNull();
    expect(parseFrame('{"type":"tally","tallies":[{"target":1,"counts":[2],"voters":2},{"target":1}]}')).toMatchObject({ tallies: [{ voters: 2 }] });
    expect(parseFrame('{"type":"settled","id":"n1","seq":null}')).toMatchObject({ seq: null });
    expect(parseFrame('{"type":"provisional","id":"n1","event":{"kind":"text"}}')).toBeNull();
    for (const text of ['', '[]', 'null', '{"type":"later"}', '{"type":"toString"}', '{"type":"joined"}']) expect(parseFrame(text)).toBeNull();
  });
});
