import { describe, expect, test } from 'vitest';
import { Carriage, type Way } from '../src/core/carriage';
import { EventStream } from '../src/core/event-stream';

describe('the way to a room', () => {
  const after = (...failures: Way[]) => {
    const carriage = new Carriage();
    failures.forEach((way) => carriage.failed(way));
    return carriage;
  };

  test('a WebSocket, until two in a row have failed', () => {
    expect(after().next).toBe('socket');
    expect(after('socket').next).toBe('socket');
    expect(after('socket', 'socket').next).toBe('events');
  });

  test('one that worked in between counts', () => {
    const carriage = after('socket');
    carriage.worked('socket');
    carriage.failed('socket');
    expect(carriage.next).toBe('socket');
  });

  test('what works is kept: another WebSocket may be tried beside it in vain', () => {
    const carriage = after('socket', 'socket');
    carriage.worked('events');
    carriage.failed('socket');
    expect(carriage.next).toBe('events');
    carriage.worked('socket');
    expect(carriage.next).toBe('socket');
  });

  test('where neither works they take turns', () => {
    const carriage = after('socket', 'socket');
    const tried = [1, 2, 3, 4].map(() => {
      const way = carriage.next;
      carriage.failed(way);
      return way;
    });
    expect(tried).toEqual(['events', 'socket', 'events', 'socket']);
  });
});

describe('a stream of events', () => {
  const TEXT = 'retry: 2000\n\n:\n\nid: e:1\ndata: {"type":"joined"}\n\nid: e:2\ndata:two\ndata: lines\n\nevent: close\ndata: {"code":1001}\n\nid: e:9\n\n';
  const EVENTS = [
    { name: 'message', data: '{"type":"joined"}' },
    { name: 'message', data: 'two\nlines' },
    { name: 'close', data: '{"code":1001}' },
  ];

  test('comes in whatever pieces', () => {
    for (let length = 1; length <= TEXT.length; length++) {
      const stream = new EventStream();
      const pieces = Array.from({ length: Math.ceil(TEXT.length / length) }, (_, n) => TEXT.slice(n * length, (n + 1) * length));
      expect(pieces.flatMap((piece) => stream.push(piece))).toEqual(EVENTS);
    }
  });

  test('what is not whole is not told', () => {
    const stream = new EventStream();
    expect(stream.push('data: {"type":"events"}\n')).toEqual([]);
    expect(stream.push('\n')).toHaveLength(1);
  });
});
