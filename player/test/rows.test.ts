import { describe, expect, test } from 'vitest';
import { actionsOn, type Circumstances } from '../src/core/actions';
import { Announcer, isHeard } from '../src/core/announcer';
import type { Message } from '../src/core/message';
import { neighbour, rowsOf, unread, type Row } from '../src/core/rows';
import { Thinning } from '../src/core/thinning';
import { EMPTY, SETTINGS, type Person } from '../src/core/wire';

const ana: Person = { id: 'ana', name: 'Ana', role: 'participant' };
const bo: Person = { id: 'bo', name: 'Bo', role: 'participant' };
const host: Person = { id: 'host', name: 'Prof', role: 'host' };
const message = (seq: number, more: Partial<Message> = {}): Message => ({ seq, at: seq * 90_000, sent: 1_000, author: ana, body: `m${seq}`, ...more });
const keys = (rows: readonly Row[]) => rows.map(({ key }) => key);

describe('rows', () => {
  test('name a person once while they go on, and again for whatever is more than words', () => {
    const rows = rowsOf([message(1), message(2), message(3, { author: bo }), message(4, { author: bo, question: true }), message(5, { author: bo }), message(6, { author: bo, at: 500 * 90_000 })], [], null);
    expect(rows.map((row) => row.kind === 'message' && row.continued)).toEqual([false, true, false, false, false, false]);
  });

  test('name each one in a replay without names', () => {
    const nobody = { id: '', name: '', role: 'participant' } as const;
    const rows = rowsOf([message(1, { author: nobody }), message(2, { author: nobody })], [], null);
    expect(rows.map((row) => row.kind === 'message' && row.continued)).toEqual([false, false]);
  });

  test('have a note behind what was left out, until it is shown; what is not sent comes last', () => {
    const thinning = new Thinning();
    const messages = Array.from({ length: 14 }, (_, i) => message(i + 1));
    thinning.arrived(messages, 0, ({ seq }) => seq === 13);
    const rows = rowsOf(messages, [{ ref: 'a', body: 'x' }], thinning);
    expect(keys(rows).slice(9)).toEqual([10, 13, 'left-out-11', 'waiting-a']);
    const [run] = thinning.runs;
    if (run) thinning.show(run);
    expect(keys(rowsOf(messages, [], thinning))).toHaveLength(14);
  });

  test('count what came behind the last one that was seen, without one’s own, also where that one is gone', () => {
    const messages = [message(1), message(3), message(4, { author: bo }), message(5), message(6, { body: null })];
    expect(unread(messages, message(3), 'bo', () => false)).toBe(1);
    expect(unread(messages, message(2), 'bo', (seq) => seq === 5)).toBe(1);
    const byPosition = [message(5, { at: 10 }), message(1, { at: 20 }), message(2, { at: 30 })];
    expect(unread(byPosition, message(9, { at: 20 }), undefined, () => false)).toBe(1);
  });

  test('know a neighbour of one that went: the next, else the one before', () => {
    const before = rowsOf([message(1), message(2), message(3)], [], null);
    const now = (...seqs: number[]) => new Map(seqs.map((seq, i) => [seq, i]));
    expect(neighbour(before, 2, now(1, 3))).toBe(3);
    expect(neighbour(before, 3, now(1))).toBe(1);
    expect(neighbour(before, 1, now())).toBeNull();
  });
});

describe('what one may do', () => {
  const circumstances = (more: Partial<Circumstances> = {}): Circumstances => ({ you: ana, state: EMPTY, writable: true, ended: false, now: 2_000, ...more });

  test.each<[string, Message, Partial<Circumstances>, string[]]>([
    ['own', message(1), {}, ['reply', 'copy', 'edit', 'delete']],
    ['own, too old to be edited', message(1), { now: 400_000 }, ['reply', 'copy', 'delete']],
    ['another’s', message(1, { author: bo }), {}, ['reply', 'copy', 'report']],
    ['the host’s', message(1, { author: host }), {}, ['reply', 'copy']],
    ['another’s, as a viewer', message(1), { you: { ...bo, role: 'viewer' } }, ['copy']],
    ['another’s, as nobody yet', message(1), { you: null }, ['copy']],
    ['another’s, read only', message(1, { author: bo }), { state: { ...EMPTY, settings: { ...SETTINGS, messages: 'off' } } }, ['copy', 'report']],
    ['a participant’s, as staff', message(1), { you: host }, ['reply', 'private', 'copy', 'pin', 'delete', 'mute', 'timeout', 'ban']],
    ['a held one, as staff', message(1, { held: 'word' }), { you: host }, ['approve', 'discard', 'private', 'copy', 'delete', 'mute', 'timeout', 'ban']],
    ['the pinned one, as staff', message(1, { author: host }), { you: host, state: { ...EMPTY, pinned: { ...message(1), kind: 'text', body: '' } } }, ['reply', 'copy', 'edit', 'unpin', 'delete']],
    ['an open question, as staff', message(1, { author: host }), { you: { ...host, id: 'ta' }, state: { ...EMPTY, questions: [{ message: { ...message(1), kind: 'text', body: '' }, state: 'open', votes: 0 }] } }, ['reply', 'copy', 'pin', 'answered', 'dismissed', 'delete']],
    ['own, after the end', message(1), { writable: false, ended: true }, ['copy']],
    ['any, after the end, as staff', message(1), { you: host, writable: false, ended: true }, ['copy', 'delete']],
    ['a deleted one', message(1, { body: null }), { you: host }, []],
  ])('with %s', (_, one, more, expected) => expect(actionsOn(one, circumstances(more))).toEqual(expected));
});

describe('what is read out', () => {
  test('says one message whole and sums up many, at most every five seconds', () => {
    const announcer = new Announcer();
    announcer.add([message(1, { body: 'Why **not** $x$?' })]);
    expect(announcer.due(0)).toBe('Ana: Why not x?');
    announcer.add([message(2), message(3, { body: null }), message(4, { author: bo, question: true, body: 'b'.repeat(200) })]);
    expect(announcer.due(4_999)).toBeNull();
    expect(announcer.due(5_000)).toBe(`2 new messages. Question of Bo: ${'b'.repeat(120)}…`);
    expect(announcer.due(20_000)).toBeNull();
  });

  test('is what its reader chose, and never their own', () => {
    expect(isHeard(message(1), 'all', 'bo', false)).toBe(true);
    expect(isHeard(message(1), 'all', 'ana', false)).toBe(false);
    expect(isHeard(message(1), 'mentions', 'bo', false)).toBe(false);
    expect(isHeard(message(1), 'mentions', 'bo', true)).toBe(true);
    expect(isHeard(message(1, { author: host }), 'mentions', 'bo', false)).toBe(true);
    expect(isHeard(message(1, { author: host }), 'off', 'bo', true)).toBe(false);
    expect(isHeard(message(1, { body: null }), 'all', 'bo', true)).toBe(false);
  });
});
