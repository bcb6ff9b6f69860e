/** What one may do with a message. The server has the last word; this decides what a page offers. */
import type { Message } from './message';
import type { WallMs } from './time';
import { isStaff, type Person, type State } from './wire';

export type What =
  | 'reply'
  | 'private'
  | 'copy'
  | 'edit'
  | 'report'
  | 'pin'
  | 'unpin'
  | 'answered'
  | 'dismissed'
  | 'open'
  | 'approve'
  | 'discard'
  | 'delete'
  | 'mute'
  | 'timeout'
  | 'ban';

export interface Circumstances {
  you: Person | null;
  state: State;
  /** At the live edge or rewound, in a line that has not ended, with a connection: one can write. */
  writable: boolean;
  /** The line is over: only staff may still delete. */
  ended: boolean;
  /** The server's clock. */
  now: WallMs;
}

/** In the order in which a menu shows them. */
export function actionsOn(message: Message, { you, state, writable, ended, now }: Circumstances): What[] {
  if (message.body === null) return [];
  const staff = isStaff(you);
  const own = you?.id === message.author.id;
  const participant = you?.role === 'participant';
  const held = message.held !== undefined;
  const question = state.questions.find(({ message: { seq } }) => seq === message.seq);
  const pinned = state.pinned?.seq === message.seq;
  // Whom staff may silence: not each other.
  const other = staff && !own && !isStaff(message.author) && writable;
  const offered: [What, boolean][] = [
    ['approve', staff && held && writable],
    ['discard', staff && held && writable],
    ['reply', writable && !held && (staff || (participant && state.settings.messages !== 'off'))],
    ['private', other && !message.anonymous],
    ['copy', true],
    ['edit', own && writable && now - message.sent < state.settings.edit_ms],
    ['pin', staff && writable && !held && !pinned && message.to === undefined],
    ['unpin', staff && writable && pinned],
    ['answered', staff && writable && question?.state === 'open'],
    ['dismissed', staff && writable && question?.state === 'open'],
    ['open', staff && writable && question !== undefined && question.state !== 'open'],
    ['report', participant && writable && !own && !isStaff(message.author)],
    ['delete', staff || (own && !ended && writable)],
    ['mute', other],
    ['timeout', other],
    ['ban', other],
  ];
  return offered.filter(([, may]) => may).map(([what]) => what);
}
