import { describe, expect, test } from 'vitest';
import { completed, completionAt, mentioned } from '../src/core/mentions';
import { kindsOf, modeOf, MODES, rulesOf, span } from '../src/core/mode';
import { SETTINGS, type Person } from '../src/core/wire';

const person = (id: string, name: string): Person => ({ id, name, role: 'participant' });
const people = [person('1', 'Ana Ruiz'), person('2', 'Bo'), person('3', 'Anatol'), person('4', 'Jonas (TA)')];
const names = (text: string) => completionAt(text, text.length, people)?.people.map(({ name }) => name) ?? null;

describe('a name behind an @', () => {
  test.each([
    ['hi @an', ['Ana Ruiz', 'Anatol']],
    ['@', ['Ana Ruiz', 'Bo', 'Anatol', 'Jonas (TA)']],
    ['(@RU', ['Ana Ruiz']],
    ['@ta', ['Jonas (TA)']],
    ['@x', null],
    ['mail@bo', null],
    ['hi Bo', null],
  ])('%s offers %j', (text, expected) => expect(names(text)).toEqual(expected));

  test('is completed where it stands', () => {
    const text = 'so @an too';
    const completion = completionAt(text, 6, people);
    expect(completion && completed(text, completion, people[0] as Person)).toEqual({ text: 'so @Ana Ruiz too', caret: 13 });
  });

  test('means somebody only as a whole', () => {
    expect(mentioned('@Ana Ruiz and @Bo: yes', people)).toEqual(['1', '2']);
    expect(mentioned('@Bob, Bo, @Anatolia', people)).toEqual([]);
    expect(mentioned('@Bob @Bo', people)).toEqual(['2']);
  });
});

describe('a mode', () => {
  test('is known by its settings, and is a mixture else', () => {
    for (const [name, { set }] of Object.entries(MODES)) expect(modeOf({ ...SETTINGS, ...set })).toBe(name);
    expect(modeOf({ ...SETTINGS, private: false })).toBeNull();
  });

  test('says what one may write', () => {
    expect(kindsOf(SETTINGS, false)).toEqual(['message', 'question', 'staff']);
    expect(kindsOf({ ...SETTINGS, ...MODES.questions.set }, false)).toEqual(['question', 'staff']);
    expect(kindsOf({ ...SETTINGS, ...MODES.silent.set }, false)).toEqual([]);
    expect(kindsOf({ ...SETTINGS, ...MODES.silent.set }, true)).toEqual(['message', 'staff']);
  });

  test('is told in words to those it concerns', () => {
    expect(rulesOf(SETTINGS, 'message')).toEqual([]);
    expect(rulesOf({ ...SETTINGS, ...MODES.silent.set }, null)).toEqual(['The room is read only now.']);
    expect(rulesOf({ ...SETTINGS, ...MODES.reactions.set, slow_ms: 5000 }, null)).toEqual(['Only the teaching team writes here now. You can react.']);
    expect(rulesOf({ ...SETTINGS, messages: 'moderated', slow_ms: 60_000 }, 'staff')).toEqual(['Slow mode: one message every minute.']);
  });

  test.each([[800, '1 second'], [30_000, '30 seconds'], [60_000, '1 minute'], [90_000, '90 seconds'], [600_000, '10 minutes'], [3_600_000, '1 hour']])('%i ms is %s', (ms, words) => expect(span(ms)).toBe(words));
});
