/** What a room's settings let somebody do, and how to say so. */
import type { Settings } from './wire';

/** What one writes: to everyone, to be answered in the lecture, to the teaching team alone. */
export type Kind = 'message' | 'question' | 'staff';

/** Staff write as they like. */
export function kindsOf(settings: Settings, staff: boolean): Kind[] {
  if (staff) return ['message', 'staff'];
  const may: [Kind, boolean][] = [
    ['message', settings.messages !== 'off'],
    ['question', settings.questions],
    ['staff', settings.private],
  ];
  return may.filter(([, allowed]) => allowed).map(([kind]) => kind);
}

/** The rules that somebody who writes should know, in sentences. */
export function rulesOf(settings: Settings, kind: Kind | null): string[] {
  const open = settings.messages !== 'off' || settings.questions;
  const rules: [string, boolean][] = [
    ['Only the teaching team writes here now. You can ask questions.', settings.messages === 'off' && settings.questions],
    ['Only the teaching team writes here now. You can react.', !open && settings.reactions],
    ['The room is read only now.', !open && !settings.reactions],
    ['What you write appears once the teaching team has approved it.', settings.messages === 'moderated' && kind !== 'staff'],
    [`Slow mode: one message every ${span(settings.slow_ms).replace(/^1 /, '')}.`, settings.slow_ms > 0 && open],
    [`Others see what you write ${span(settings.delay_ms)} later.`, settings.delay_ms > 0 && open && kind !== 'staff'],
    ['Links are not allowed.', settings.links === 'off' && open],
  ];
  return rules.filter(([, holds]) => holds).map(([words]) => words);
}

/** Settings that go together, under the names that people know. */
export const MODES = {
  open: { words: 'Open', about: 'Everybody writes; questions can be voted for.', set: { messages: 'open', questions: true, private: true, reactions: true } },
  moderated: { words: 'Moderated', about: 'Messages wait until you approve them.', set: { messages: 'moderated', questions: true, private: true, reactions: true } },
  questions: { words: 'Questions only', about: 'Participants ask questions and vote for them.', set: { messages: 'off', questions: true, private: true, reactions: true } },
  reactions: { words: 'Reactions only', about: 'Nobody but the teaching team writes.', set: { messages: 'off', questions: false, private: false, reactions: true } },
  silent: { words: 'Read only', about: 'Nobody but the teaching team does anything.', set: { messages: 'off', questions: false, private: false, reactions: false } },
} as const satisfies Record<string, { words: string; about: string; set: Partial<Settings> }>;

export type Mode = keyof typeof MODES;

/** null: a mixture of its own. */
export function modeOf(settings: Settings): Mode | null {
  const fits = ([, { set }]: [string, { set: Partial<Settings> }]) => Object.entries(set).every(([name, value]) => settings[name as keyof Settings] === value);
  return (Object.entries(MODES).find(fits)?.[0] as Mode | undefined) ?? null;
}

/** `30 seconds`, `5 minutes`, `2 hours`. */
export function span(ms: number): string {
  const seconds = Math.max(1, Math.ceil(ms / 1000));
  const [count, unit] = seconds < 120 && seconds !== 60 ? [seconds, 'second'] : seconds < 7200 && seconds !== 3600 ? [Math.round(seconds / 60), 'minute'] : [Math.round(seconds / 3600), 'hour'];
  return `${count} ${unit}${count === 1 ? '' : 's'}`;
}
