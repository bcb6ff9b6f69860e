import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Log } from '../src/core/log';
import type { RoomEvent, TextEvent } from '../src/core/wire';

const author = { id: 'p', name: 'P', role: 'participant' } as const;
const text = (seq: number, more: Partial<TextEvent> = {}): TextEvent => ({ seq, at: 0, sent: seq, author, kind: 'text', body: `m${seq}`, ...more });
const happened = (seq: number) => ({ seq, at: 0, sent: seq, author });
const logOf = (...events: RoomEvent[]) => {
  const log = new Log();
  log.restart({ from: 1, to: events.at(-1)?.seq ?? 0 }, events);
  return log;
};
const shown = (log: Log) => log.messages.map(({ seq, body }) => [seq, body]);

describe('the log', () => {
  test('takes stretches: what is not in them is not for this reader, what is between them is missing', () => {
    const log = logOf(text(1));
    log.append({ from: 2, to: 7 }, [text(5)]);
    expect([log.gaps, log.resumeAt]).toEqual([[], 7]);
    log.append({ from: 10, to: 12 }, [text(11)]);
    expect([log.gaps, log.resumeAt]).toEqual([[{ from: 8, to: 9 }], 7]);
    log.filled({ from: 8, to: 9 }, { from: 8, to: 9 }, []);
    expect([log.gaps, log.resumeAt]).toEqual([[], 12]);
    expect(shown(log).map(([seq]) => seq)).toEqual([1, 5, 11]);
  });

  test('shows the last words of what was edited, whichever comes last', () => {
    const edit: RoomEvent = { ...happened(3), kind: 'edit', target: 1, body: 'better' };
    const stale = text(1);
    const after = logOf(text(1), edit);
    after.filled({ from: 1, to: 1 }, { from: 1, to: 1 }, [stale]);
    expect(after.messages).toMatchObject([{ seq: 1, body: 'better', edited: 3 }]);
    const before = logOf();
    before.append({ from: 3, to: 3 }, [edit]);
    before.filled({ from: 1, to: 2 }, { from: 1, to: 2 }, [stale]);
    expect(before.messages).toMatchObject([{ seq: 1, body: 'better' }]);
    before.append({ from: 4, to: 4 }, [{ ...happened(4), kind: 'edit', target: 1, body: 'best' }]);
    expect(before.messages).toMatchObject([{ body: 'best', edited: 4 }]);
  });

  test('keeps what was deleted deleted, without its words and files', () => {
    const files = [{ id: 'f', name: 'f', type: 'image/png', size: 1 }];
    const log = logOf(text(1, { files }));
    log.append({ from: 2, to: 2 }, [{ ...happened(2), kind: 'delete', target: 1 }]);
    log.filled({ from: 1, to: 1 }, { from: 1, to: 1 }, [text(1, { files })]);
    expect(log.messages).toEqual([{ seq: 1, at: 0, sent: 1, author, body: null }]);
  });

  test('takes the held one away when it is released or discarded, and does not let it come back', () => {
    const log = logOf(text(1, { held: 'moderated' }), text(2, { held: 'word' }));
    log.append({ from: 3, to: 4 }, [text(3, { of: 1, body: 'm1' }), { ...happened(4), kind: 'discard', target: 2 }]);
    expect(shown(log)).toEqual([[3, 'm1']]);
    log.filled({ from: 1, to: 2 }, { from: 1, to: 2 }, [text(1, { held: 'moderated' }), text(2, { held: 'word' })]);
    expect(shown(log)).toEqual([[3, 'm1']]);
    expect(log.has(1)).toBe(true);
  });

  test('has nothing left of somebody who was erased, but what they write after that', () => {
    const log = logOf(text(1), text(2, { author: { ...author, id: 'q' } }));
    log.append({ from: 3, to: 4 }, [{ ...happened(3), kind: 'erase', person: 'p' }, text(4)]);
    log.filled({ from: 1, to: 1 }, { from: 1, to: 1 }, [text(1)]);
    expect(shown(log)).toEqual([[2, 'm2'], [4, 'm4']]);
  });

  test('is another list when it changes, and the same while it does not', () => {
    const log = logOf(text(1));
    const before = log.messages;
    log.append({ from: 2, to: 2 }, [{ ...happened(2), kind: 'unpin', target: 9 }]);
    expect(log.messages).toBe(before);
    log.append({ from: 3, to: 3 }, [text(3)]);
    expect(shown(log)).toHaveLength(2);
    expect(before).toHaveLength(1);
  });

  test('keeps ten thousand messages, and what a reader has gone back to', () => {
    const log = logOf(...Array.from({ length: 9_000 }, (_, i) => text(i + 1)));
    for (let seq = 9_001; seq <= 30_000; seq += 1) log.append({ from: seq, to: seq }, [text(seq)]);
    expect(log.messages.length).toBeGreaterThanOrEqual(10_000);
    expect(log.messages.length).toBeLessThan(10_600);
    expect(log.low).toBe(log.messages[0]?.seq);
    const page = { from: log.low - 100, to: log.low - 1 };
    log.filled(page, page, [text(page.to)]);
    expect(log.messages[0]?.seq).toBe(page.to);
  });

  const messages = fc.integer({ min: 1, max: 12 });
  const changes = fc.array(fc.record({ kind: fc.constantFrom('edit' as const, 'delete' as const, 'discard' as const), target: messages }), { maxLength: 12 });

  test('is the same in whatever order pages and events come', () => {
    fc.assert(
      fc.property(messages, changes, fc.infiniteStream(fc.nat()), (count, all, random) => {
        const texts = Array.from({ length: count }, (_, i) => text(i + 1));
        const rest = all.map(({ kind, target }, i): RoomEvent => {
          const base = { ...happened(count + i + 1), target };
          return kind === 'edit' ? { ...base, kind, body: `edited ${i}` } : { ...base, kind };
        });
        const events = [...texts, ...rest];
        const shuffled = [...events].map((event) => ({ event, key: random.next().value as number })).sort((a, b) => a.key - b.key);
        const inOrder = logOf(...events);
        const log = logOf();
        for (const { event } of shuffled) log.filled({ from: event.seq, to: event.seq }, { from: event.seq, to: event.seq }, [event]);
        expect(log.messages).toEqual(inOrder.messages);
      }),
    );
  });
});
