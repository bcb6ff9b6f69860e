import { describe, expect, test } from 'vitest';
import { Room, type Effect } from '../src/core/room';
import { EMPTY, SETTINGS, type RoomEvent, type ServerFrame, type TextEvent } from '../src/core/wire';

const author = { id: 'p1', name: 'Ana', role: 'participant' } as const;
const text = (seq: number, body = `m${seq}`): TextEvent => ({ seq, at: seq * 90_000, sent: 0, author, kind: 'text', body });
const frames = (effects: Effect[]) => effects.filter((effect) => effect.do === 'send').map(({ frame }) => frame);
const joined = (events: TextEvent[], seq: number, more: Partial<Extract<ServerFrame, { type: 'joined' }>> = {}): ServerFrame => ({
  type: 'joined',
  epoch: 'e1',
  from: events[0]?.seq ?? seq + 1,
  seq,
  state: EMPTY,
  you: author,
  now: 50_000,
  line: { state: 'live', origin: 0, duration: null },
  limits: { body: 100 },
  events,
  resumed: false,
  ...more,
});
/** A frame of new events: the stretch from the first to the last of them. */
const come = (events: RoomEvent[], from = events[0]?.seq ?? 0, to = events.at(-1)?.seq ?? 0): ServerFrame => ({ type: 'events', from, to, events });
const page = (epoch: string, events: RoomEvent[], from = events[0]?.seq ?? 0, to = events.at(-1)?.seq ?? 0) => ({ epoch, from, to, events });
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
    const effects = room.received(come([text(6)]), 0);
    expect(effects).toContainEqual({ do: 'fetch', range: { from: 3, to: 5 } });
    expect(room.log.resumeAt).toBe(2);
    room.fetched({ from: 3, to: 5 }, page('e1', [text(3), text(4), text(5)]));
    expect(shown(room).map(([seq]) => seq)).toEqual([1, 2, 3, 4, 5, 6]);
    expect(room.log.resumeAt).toBe(6);
  });

  test('fetches a gap that the server announces, page by page', () => {
    const room = inRoom();
    expect(room.received({ type: 'gap', from: 3, to: 6 }, 0)).toEqual([{ do: 'fetch', range: { from: 3, to: 6 } }]);
    const rest = room.fetched({ from: 3, to: 6 }, page('e1', [text(3), text(4)]));
    expect(rest).toContainEqual({ do: 'fetch', range: { from: 5, to: 6 } });
    expect(room.received(come([text(7)]), 0).some((effect) => effect.do === 'fetch')).toBe(false);
  });

  test('goes back before what of a gap is still missing, and asks again, ever more slowly, while it is', () => {
    const room = inRoom();
    room.received({ type: 'gap', from: 3, to: 6 }, 0);
    room.fetched({ from: 3, to: 6 }, page('e1', [text(3), text(4)]));
    expect(room.log.resumeAt).toBe(4);
    expect(room.fetchFailed({ from: 5, to: 6 })).toEqual([{ do: 'refetch', range: { from: 5, to: 6 }, afterMs: 750 }]);
    // Nobody asks meanwhile.
    expect(room.received(come([text(7)]), 0).some((effect) => effect.do === 'fetch')).toBe(false);
    expect(room.retry({ from: 5, to: 6 })).toEqual([{ do: 'fetch', range: { from: 5, to: 6 } }]);
    expect(room.fetchFailed({ from: 5, to: 6 })).toMatchObject([{ afterMs: 1_500 }]);
    room.retry({ from: 5, to: 6 });
    room.fetched({ from: 5, to: 6 }, page('e1', [text(5), text(6)]));
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
    const rest = room.received(come([text(7), text(8)]), 0);
    expect(rest).toMatchObject([{ do: 'publish', fresh: false }]);
    room.closed(1006);
    expect(frames(room.opened(0))[0]).toMatchObject({ resume: { seq: 8 } });
    room.received(joined([text(9)], 10, { resumed: true }), 0);
    expect(room.received(come([{ ...text(10), sent: 50_000 }]), 0)).toMatchObject([{ do: 'publish', fresh: true }]);
    expect(room.log.gaps).toEqual([]);
  });

  test('goes further back also over pages without a text, and asks for the rest of a page that was cut', () => {
    const room = inRoom([text(250)], 250);
    expect(room.earlier()).toEqual({ from: 150, to: 249 });
    room.fetched({ from: 150, to: 249 }, page('e1', Array.from({ length: 100 }, (_, i) => ({ seq: 150 + i, at: 0, sent: 0, kind: 'delete', target: 1 }))));
    expect(room.earlier()).toEqual({ from: 50, to: 149 });
    expect(room.fetched({ from: 50, to: 149 }, page('e1', [text(50), text(51)]))).toContainEqual({ do: 'fetch', range: { from: 52, to: 149 } });
    room.fetched({ from: 52, to: 149 }, page('e1', [text(149)], 52, 149));
    room.fetched({ from: 1, to: 49 }, page('e1', [text(1)], 1, 49));
    expect(room.earlier()).toBeNull();
    expect(shown(room).map(([seq]) => seq)).toEqual([1, 50, 51, 149, 250]);
  });

  test('takes what is not for us in a stretch for no gap', () => {
    const room = inRoom();
    expect(room.received(come([text(5)], 3, 7), 0).some((effect) => effect.do === 'fetch')).toBe(false);
    expect(room.log.resumeAt).toBe(7);
    expect(room.received(come([text(9)], 8, 9), 0).some((effect) => effect.do === 'fetch')).toBe(false);
  });

  test('stands as the events say, in their order, also where some come late', () => {
    const room = inRoom();
    const set = (seq: number, slow_ms: number): RoomEvent => ({ seq, at: 0, sent: 0, kind: 'settings', settings: { ...SETTINGS, slow_ms } });
    room.received(come([set(3, 1000)]), 0);
    expect(room.state.settings.slow_ms).toBe(1000);
    room.received(come([set(6, 3000)]), 0);
    expect(room.state.settings.slow_ms).toBe(1000);
    room.fetched({ from: 4, to: 5 }, page('e1', [set(5, 2000)], 4, 5));
    expect(room.state.settings.slow_ms).toBe(3000);
  });

  test('takes its state whole from a join, which already knows the history that comes with it', () => {
    const room = new Room('token');
    room.opened(0);
    const hand: RoomEvent = { seq: 2, at: 0, sent: 0, author, kind: 'hand', raised: true };
    room.received(joined([text(1)], 3, { from: 1 }), 0);
    room.received(come([hand], 2, 3), 0);
    expect(room.state.hands.count).toBe(0);
    room.received(come([{ ...hand, seq: 4 }]), 0);
    expect(room.state.hands.count).toBe(1);
  });

  test('ignores what was fetched from another epoch', () => {
    const room = inRoom();
    room.fetched({ from: 1, to: 1 }, page('e0', [text(1, 'old life')]));
    expect(shown(room)[0]).toEqual([1, 'm1']);
  });

  test('shows every event once, and the deleted never again', () => {
    const room = inRoom();
    room.received(come([text(2), text(3), { seq: 4, at: 0, sent: 0, kind: 'delete', target: 2 }, text(2)]), 0);
    expect(shown(room)).toEqual([[1, 'm1'], [2, null], [3, 'm3']]);
  });
});

describe('what is written', () => {
  test('is sent, acknowledged and replaced by its event', () => {
    const room = inRoom();
    const { effects } = room.say({ body: 'hello', playing: 123.5 });
    const [say] = frames(effects);
    expect(say).toMatchObject({ type: 'say', body: 'hello', playing: 123.5 });
    const ref = (say as { ref: string }).ref;
    expect(room.received({ type: 'ack', ref, seq: 3 }, 0)).toMatchObject([{ do: 'done', action: { type: 'say', body: 'hello' } }]);
    expect(room.unsent).toHaveLength(1);
    room.received(come([text(3, 'hello')]), 0);
    expect(room.unsent).toHaveLength(0);
  });

  test('disappears from the unsent also where the event comes before the acknowledgement', () => {
    const room = inRoom();
    const ref = refOf(room.say({ body: 'hello', playing: null }).effects);
    room.received(come([text(3, 'hello')]), 0);
    room.received({ type: 'ack', ref, seq: 3 }, 0);
    expect(room.unsent).toHaveLength(0);
  });

  test('is kept while the line is down and sent again under the same ref', () => {
    const room = inRoom();
    const first = refOf(room.say({ body: 'one', playing: null }).effects);
    room.closed(1006);
    expect(room.say({ body: 'two', playing: null }).effects).toEqual([]);
    room.opened(0);
    const again = frames(room.received(joined([], 2, { resumed: true }), 0));
    expect(again).toMatchObject([{ ref: first, body: 'one' }, { body: 'two' }]);
  });

  test('goes back to its writer when refused, with the reason', () => {
    const room = inRoom();
    const ref = refOf(room.say({ body: 'hello', playing: null }).effects);
    const effects = room.received({ type: 'refused', ref, code: 'rate', message: 'Slower', retry_after_ms: 4000 }, 0);
    expect(effects).toEqual([{ do: 'return', say: { type: 'say', body: 'hello', playing: null }, code: 'rate', message: 'Slower', retryAfterMs: 4000 }]);
    expect(room.unsent).toHaveLength(0);
  });

  test('is limited while nobody takes it', () => {
    const room = inRoom();
    room.closed(1006);
    const taken = Array.from({ length: 25 }, (_, i) => room.say({ body: String(i), playing: null }).taken);
    expect(taken.filter(Boolean)).toHaveLength(20);
  });
});

describe('what is asked', () => {
  test('is done when the room says so', () => {
    const room = inRoom();
    const ref = refOf(room.ask({ type: 'pin', target: 2 }));
    expect(room.received({ type: 'ack', ref, seq: 3 }, 0)).toEqual([{ do: 'done', action: { type: 'pin', target: 2 } }]);
  });

  test('is refused with the reason, also where nobody is there to ask', () => {
    const room = inRoom();
    const ref = refOf(room.ask({ type: 'delete', seq: 2 }));
    expect(room.received({ type: 'refused', ref, code: 'forbidden', message: 'No' }, 0)).toMatchObject([{ do: 'refused', action: { type: 'delete', seq: 2 }, message: 'No' }]);
    room.closed(1006);
    expect(room.ask({ type: 'hand', raised: true })).toMatchObject([{ do: 'refused', code: 'offline' }]);
  });

  test('is asked again after a break under the same ref, but a reaction', () => {
    const room = inRoom();
    const ref = refOf(room.ask({ type: 'hand', raised: true }));
    room.ask({ type: 'react', emoji: '👍', playing: null });
    room.closed(1006);
    room.opened(0);
    expect(frames(room.received(joined([], 2, { resumed: true }), 0))).toEqual([{ type: 'hand', raised: true, ref }]);
  });

  test('a vote counts as one’s own once it is taken, and in one’s other tabs', () => {
    const room = inRoom();
    room.received(come([{ ...text(3), question: true }]), 0);
    const ref = refOf(room.ask({ type: 'vote', target: 3, choices: [0] }));
    expect(room.state.questions[0]?.voted).toBeUndefined();
    expect(room.received({ type: 'ack', ref, seq: 4 }, 0)).toContainEqual({ do: 'voted', target: 3, choices: [0] });
    expect(room.state.questions[0]?.voted).toBe(true);
    room.votedElsewhere(3, []);
    expect(room.state.questions[0]?.voted).toBe(false);
  });

  test('what waits for approval is said so', () => {
    const room = inRoom();
    const ref = refOf(room.say({ body: 'hello', playing: null }).effects);
    expect(room.received({ type: 'ack', ref, seq: 3, held: 'moderated' }, 0)).toEqual([{ do: 'held', why: 'moderated' }]);
  });
});

describe('order in the room', () => {
  test('slow mode holds a participant back from their last message on, or as long as the server says', () => {
    const slow = { ...EMPTY, settings: { ...SETTINGS, slow_ms: 10_000 } };
    const room = inRoom();
    room.received(joined([], 2, { state: slow }), 0);
    room.received({ type: 'ack', ref: refOf(room.say({ body: 'a', playing: null }).effects), seq: 3 }, 5_000);
    expect(room.slowUntil).toBe(15_000);
    room.received({ type: 'refused', ref: refOf(room.say({ body: 'b', playing: null }).effects), code: 'slow', message: 'Slowly', retry_after_ms: 2_000 }, 6_000);
    expect(room.slowUntil).toBe(8_000);
    room.received(come([{ seq: 3, at: 0, sent: 0, kind: 'settings', settings: SETTINGS }]), 6_100);
    expect(room.slowUntil).toBe(0);
  });

  test('one knows what was decided about oneself, until it is lifted', () => {
    const room = inRoom();
    const decided = (seq: number, what: 'mute' | 'lift', person: typeof author | { id: string; name: string; role: 'participant' } = author): RoomEvent => ({ seq, at: 0, sent: 0, kind: 'sanction', person, what, until: null });
    room.received(come([decided(3, 'mute', { ...author, id: 'p9' })]), 0);
    expect(room.sanction).toBeNull();
    room.received(come([decided(4, 'mute')]), 0);
    expect(room.sanction).toEqual({ what: 'mute', until: null });
    room.received(come([decided(5, 'lift')]), 0);
    expect(room.sanction).toBeNull();
  });

  test('what has no place yet is shown until it is settled', () => {
    const room = inRoom();
    const { seq: _, ...event } = text(0, 'here only');
    room.received({ type: 'provisional', id: 'n1', event }, 0);
    expect(room.provisional).toHaveLength(1);
    room.received({ type: 'settled', id: 'n1', seq: 3 }, 0);
    expect(room.provisional).toEqual([]);
  });
});

describe('the door', () => {
  test('that closes says why in the server’s words', () => {
    const room = inRoom();
    expect(room.received({ type: 'refused', ref: null, code: 'banned', message: 'You were banned from this room.' }, 0)).toEqual([]);
    room.closed(4003);
    expect(room.refusal).toBe('You were banned from this room.');
  });

  test('that closes for good gives back what was not sent', () => {
    const room = inRoom();
    room.say({ body: 'one', playing: null });
    room.say({ body: 'two', playing: null });
    const returned = room.closed(4004).filter((effect) => effect.do === 'return');
    expect(returned.map(({ say }) => say.body)).toEqual(['two', 'one']);
    expect(room.unsent).toEqual([]);
  });

  test('of a server that stops is knocked at again, and who we are is not forgotten', () => {
    const room = inRoom();
    room.say({ body: 'one', playing: null });
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
