import { describe, expect, test } from 'vitest';
import { Room, type Effect } from '../src/core/room';
import type { ServerFrame, TextEvent } from '../src/core/wire';

const author = { id: 'p1', name: 'Ana', role: 'participant' } as const;
const text = (seq: number, body = `m${seq}`): TextEvent => ({ seq, at: seq * 90_000, sent: 0, author, kind: 'text', body });
const frames = (effects: Effect[]) => effects.filter((effect) => effect.do === 'send').map(({ frame }) => frame);
const joined = (events: TextEvent[], seq: number, more: Partial<Extract<ServerFrame, { type: 'joined' }>> = {}): ServerFrame => ({
  type: 'joined',
  epoch: 'e1',
  seq,
  you: author,
  now: 50_000,
  line: { state: 'live', origin: 0, duration: null },
  limits: { body: 100 },
  events,
  resumed: false,
  ...more,
});
/** The ref of the one message that was sent. */
const refOf = (effects: Effect[]) => (frames(effects)[0] as { ref: string }).ref;
const shown = (room: Room) => room.log.messages.map(({ seq, body }) => [seq, body]);

function inRoom(events = [text(1), text(2)], seq = 2): Room {
  const room = new Room('token', () => 0.5);
  room.opened(1000);
  room.received(joined(events, seq), 1100);
  return room;
}

describe('a room', () => {
  test('is joined with the token and shows its history', () => {
    const room = new Room('token');
    expect(frames(room.opened(0))).toEqual([{ type: 'join', token: 'token' }]);
    room.received(joined([text(1), text(2)], 2), 10);
    expect(room.status).toBe('joined');
    expect(shown(room)).toEqual([[1, 'm1'], [2, 'm2']]);
  });

  test('is resumed after a break from the last event that was seen', () => {
    const room = inRoom();
    expect(room.closed(1006)).toEqual([{ do: 'connect', afterMs: 250 }]);
    expect(room.status).toBe('reconnecting');
    expect(frames(room.opened(2000))[0]).toMatchObject({ resume: { epoch: 'e1', seq: 2 } });
    room.received(joined([text(3)], 3, { resumed: true }), 2010);
    expect(shown(room).map(([seq]) => seq)).toEqual([1, 2, 3]);
  });

  test('starts over where the server does not know its epoch any more', () => {
    const room = inRoom();
    room.closed(1006);
    room.opened(0);
    room.received(joined([text(1, 'new')], 1, { epoch: 'e2' }), 0);
    expect(shown(room)).toEqual([[1, 'new']]);
  });

  test('waits longer with every failure, and not after a success', () => {
    const room = inRoom();
    const waits = [1, 2, 3].map(() => (room.closed(1006)[0] as { afterMs: number }).afterMs);
    expect(waits).toEqual([250, 500, 1000]);
    room.opened(0);
    room.received(joined([], 2, { resumed: true }), 0);
    expect(room.closed(1006)).toEqual([{ do: 'connect', afterMs: 250 }]);
  });

  test('a full room comes back over as long as it takes to serve it, and not before the server asked for', () => {
    const room = inRoom();
    room.received({ type: 'presence', count: 10_000 }, 0);
    expect(room.closed(1001)).toEqual([{ do: 'connect', afterMs: 5_000 }]);
    expect(room.closed(1013, 3_000)).toEqual([{ do: 'connect', afterMs: 8_000 }]);
  });

  test('fetches what a jump in the numbers shows to be missing, and resumes before it until then', () => {
    const room = inRoom();
    const effects = room.received({ type: 'events', events: [text(6)] }, 0);
    expect(effects).toContainEqual({ do: 'fetch', range: { from: 3, to: 5 } });
    expect(room.log.resumeAt).toBe(2);
    room.fetched({ from: 3, to: 5 }, 'e1', [text(3), text(4), text(5)]);
    expect(shown(room).map(([seq]) => seq)).toEqual([1, 2, 3, 4, 5, 6]);
    expect(room.log.resumeAt).toBe(6);
  });

  test('fetches a gap that the server announces, page by page', () => {
    const room = inRoom();
    expect(room.received({ type: 'gap', from: 3, to: 6 }, 0)).toEqual([{ do: 'fetch', range: { from: 3, to: 6 } }]);
    const rest = room.fetched({ from: 3, to: 6 }, 'e1', [text(3), text(4)]);
    expect(rest).toContainEqual({ do: 'fetch', range: { from: 5, to: 6 } });
    expect(room.received({ type: 'events', events: [text(7)] }, 0).some((effect) => effect.do === 'fetch')).toBe(false);
  });

  test('goes back before what of a gap is still missing, and asks again, ever more slowly, while it is', () => {
    const room = inRoom();
    room.received({ type: 'gap', from: 3, to: 6 }, 0);
    room.fetched({ from: 3, to: 6 }, 'e1', [text(3), text(4)]);
    expect(room.log.resumeAt).toBe(4);
    expect(room.fetchFailed({ from: 5, to: 6 })).toEqual([{ do: 'refetch', range: { from: 5, to: 6 }, afterMs: 750 }]);
    // Nobody asks meanwhile.
    expect(room.received({ type: 'events', events: [text(7)] }, 0).some((effect) => effect.do === 'fetch')).toBe(false);
    expect(room.retry({ from: 5, to: 6 })).toEqual([{ do: 'fetch', range: { from: 5, to: 6 } }]);
    expect(room.fetchFailed({ from: 5, to: 6 })).toMatchObject([{ afterMs: 1_500 }]);
    room.retry({ from: 5, to: 6 });
    room.fetched({ from: 5, to: 6 }, 'e1', [text(5), text(6)]);
    expect(shown(room).map(([seq]) => seq)).toEqual([1, 2, 3, 4, 5, 6, 7]);
    expect(room.log.resumeAt).toBe(7);
  });

  test('does not ask again for what a resume has brought', () => {
    const room = inRoom();
    room.received({ type: 'gap', from: 3, to: 4 }, 0);
    room.fetchFailed({ from: 3, to: 4 });
    room.closed(1006);
    room.opened(0);
    room.received(joined([text(3), text(4)], 4, { resumed: true }), 0);
    expect(room.retry({ from: 3, to: 4 })).toEqual([]);
  });

  test('takes a history in several frames; cut off in between, it resumes there', () => {
    const room = inRoom([text(5), text(6)], 6);
    expect(room.log.resumeAt).toBe(6);
    const rest = room.received({ type: 'events', events: [text(7), text(8)] }, 0);
    expect(rest).toMatchObject([{ do: 'publish', fresh: false }]);
    room.closed(1006);
    expect(frames(room.opened(0))[0]).toMatchObject({ resume: { seq: 8 } });
    room.received(joined([text(9)], 10, { resumed: true }), 0);
    expect(room.received({ type: 'events', events: [{ ...text(10), sent: 50_000 }] }, 0)).toMatchObject([{ do: 'publish', fresh: true }]);
    expect(room.log.gaps).toEqual([]);
  });

  test('goes further back also over pages without a text, and asks for the rest of a page that was cut', () => {
    const room = inRoom([text(250)], 250);
    expect(room.earlier()).toEqual({ from: 150, to: 249 });
    room.fetched({ from: 150, to: 249 }, 'e1', Array.from({ length: 100 }, (_, i) => ({ seq: 150 + i, kind: 'delete', target: 1 })));
    expect(room.earlier()).toEqual({ from: 50, to: 149 });
    expect(room.fetched({ from: 50, to: 149 }, 'e1', [text(50), text(51)])).toContainEqual({ do: 'fetch', range: { from: 52, to: 149 } });
    room.fetched({ from: 52, to: 149 }, 'e1', [text(149)]);
    room.fetched({ from: 1, to: 49 }, 'e1', [text(1)]);
    expect(room.earlier()).toBeNull();
    expect(shown(room).map(([seq]) => seq)).toEqual([1, 50, 51, 149, 250]);
  });

  test('ignores what was fetched from another epoch', () => {
    const room = inRoom();
    room.fetched({ from: 1, to: 1 }, 'e0', [text(1, 'old life')]);
    expect(shown(room)[0]).toEqual([1, 'm1']);
  });

  test('shows every event once, and the deleted never again', () => {
    const room = inRoom();
    room.received({ type: 'events', events: [text(2), text(3), { seq: 4, kind: 'delete', target: 2 }, text(2)] }, 0);
    expect(shown(room)).toEqual([[1, 'm1'], [2, null], [3, 'm3']]);
  });
});

describe('what is written', () => {
  test('is sent, acknowledged and replaced by its event', () => {
    const room = inRoom();
    const { effects } = room.say('hello', 123.5);
    const [say] = frames(effects);
    expect(say).toMatchObject({ type: 'say', body: 'hello', playing: 123.5 });
    const ref = (say as { ref: string }).ref;
    room.received({ type: 'ack', ref, seq: 3 }, 0);
    expect(room.unsent).toHaveLength(1);
    room.received({ type: 'events', events: [text(3, 'hello')] }, 0);
    expect(room.unsent).toHaveLength(0);
  });

  test('disappears from the unsent also where the event comes before the acknowledgement', () => {
    const room = inRoom();
    const ref = refOf(room.say('hello', null).effects);
    room.received({ type: 'events', events: [text(3, 'hello')] }, 0);
    room.received({ type: 'ack', ref, seq: 3 }, 0);
    expect(room.unsent).toHaveLength(0);
  });

  test('is kept while the line is down and sent again under the same ref', () => {
    const room = inRoom();
    const first = refOf(room.say('one', null).effects);
    room.closed(1006);
    expect(room.say('two', null).effects).toEqual([]);
    room.opened(0);
    const again = frames(room.received(joined([], 2, { resumed: true }), 0));
    expect(again).toMatchObject([{ ref: first, body: 'one' }, { body: 'two' }]);
  });

  test('goes back to its writer when refused, with the reason', () => {
    const room = inRoom();
    const ref = refOf(room.say('hello', null).effects);
    const effects = room.received({ type: 'refused', ref, code: 'rate', message: 'Slower', retry_after_ms: 4000 }, 0);
    expect(effects).toEqual([{ do: 'return', body: 'hello', code: 'rate', message: 'Slower', retryAfterMs: 4000 }]);
    expect(room.unsent).toHaveLength(0);
  });

  test('is limited while nobody takes it', () => {
    const room = inRoom();
    room.closed(1006);
    const taken = Array.from({ length: 25 }, (_, i) => room.say(String(i), null).taken);
    expect(taken.filter(Boolean)).toHaveLength(20);
  });
});

describe('the door', () => {
  test('that closes for good gives back what was not sent', () => {
    const room = inRoom();
    room.say('one', null);
    room.say('two', null);
    const returned = room.closed(4004).filter((effect) => effect.do === 'return');
    expect(returned.map(({ body }) => body)).toEqual(['two', 'one']);
    expect(room.unsent).toEqual([]);
  });

  test('of a server that stops is knocked at again, and who we are is not forgotten', () => {
    const room = inRoom();
    room.say('one', null);
    expect(room.closed(1001)[0]?.do).toBe('connect');
    expect([room.status, room.you?.name, room.unsent.length]).toEqual(['reconnecting', 'Ana', 1]);
  });

  test.each([
    [4001, 'unauthorized'],
    [4003, undefined],
    [4004, undefined],
  ])('that closes with %i is not knocked at again', (code, effect) => {
    const room = new Room('bad');
    room.opened(0);
    expect(room.closed(code)[0]?.do).toBe(effect);
    expect(room.status).toBe('refused');
    expect(room.refusal).not.toBe('');
  });

  test('tells the time of the server', () => {
    const room = inRoom();
    expect(room.clock.offsetMs).toBe(50_000 - 1050);
  });
});
