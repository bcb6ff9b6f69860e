/** What stands in the list, from top to bottom: messages, notes for what was left out, and what is not sent yet. */
import type { Message } from './message';
import { TICKS_PER_MS } from './time';
import type { Run, Thinning } from './thinning';

/** Written, but not among the messages yet. */
export interface Waiting {
  ref: string;
  body: string;
}

export type Row =
  | { kind: 'message'; key: number; message: Message; continued: boolean }
  | { kind: 'note'; key: string; run: Run }
  | { kind: 'waiting'; key: string; waiting: Waiting };

export type Key = Row['key'];

/** Later than this the same person is named again. */
const CONTINUED_MS = 120_000;

export function rowsOf(messages: readonly Message[], waiting: readonly Waiting[], thinning: Thinning | null): Row[] {
  const rows: Row[] = [];
  let before: Message | null = null;
  for (const message of messages) {
    if (thinning?.hides(message.seq)) {
      const run = thinning.runOf(message.seq);
      if (run?.last === message.seq) rows.push({ kind: 'note', key: `left-out-${run.first}`, run });
      before = null;
      continue;
    }
    rows.push({ kind: 'message', key: message.seq, message, continued: before !== null && continues(before, message) });
    before = message;
  }
  for (const one of waiting) rows.push({ kind: 'waiting', key: `waiting-${one.ref}`, waiting: one });
  return rows;
}

/** The same person goes on about the same thing: no name again. */
function continues(before: Message, message: Message): boolean {
  const near = Math.abs(message.at - before.at) < CONTINUED_MS * TICKS_PER_MS;
  // In a replay without names nobody has an id, and nobody is the same.
  return near && message.author.id !== '' && before.author.id === message.author.id && before.body !== null && plain(message) && plain(before) && before.anonymous === message.anonymous;
}

const plain = ({ reply_to, question, announcement, to, held }: Message): boolean =>
  reply_to === undefined && !question && !announcement && to === undefined && held === undefined;

/** How many of the messages that are shown came behind the last one that was seen; one's own are known. */
export function unread(messages: readonly Message[], lastSeen: Message | null, you: string | undefined, hides: (seq: number) => boolean): number {
  let count = 0;
  for (let i = messages.length - 1; i >= 0; i -= 1) {
    const message = messages[i] as Message;
    if (lastSeen && message.seq === lastSeen.seq) break;
    if (!lastSeen || isBehind(message, lastSeen, messages)) count += Number(message.author.id !== you && message.body !== null && !hides(message.seq));
    else break;
  }
  return count;
}

/** In the order of the list, which is by `seq` live and by position else: the last seen one may be gone. */
const isBehind = (message: Message, seen: Message, messages: readonly Message[]): boolean =>
  isBySeq(messages) ? message.seq > seen.seq : message.at > seen.at || (message.at === seen.at && message.seq > seen.seq);

const isBySeq = (messages: readonly Message[]): boolean => (messages.at(0)?.seq ?? 0) <= (messages.at(-1)?.seq ?? 0) && messages.every(({ seq }, i) => i === 0 || seq > (messages[i - 1] as Message).seq);

/** Heights before they are measured, in pixels: near enough that a scrollbar does not dance. */
export function estimate(row: Row | undefined): number {
  if (row?.kind !== 'message') return 44;
  const { message, continued } = row;
  const lines = Math.ceil((message.body?.length ?? 0) / 42) || 1;
  const extras = (message.reply_to !== undefined ? 26 : 0) + (message.files?.length ?? 0) * 40 + (message.held ? 24 : 0);
  return (continued ? 3 : 30) + lines * 22 + extras;
}

/** Where a message that was removed had its place: the row that is there now, or the one before. */
export function neighbour(before: readonly Row[], key: Key, now: ReadonlyMap<Key, number>): Key | null {
  const at = before.findIndex((row) => row.key === key);
  for (let i = at + 1; at >= 0 && i < before.length; i += 1) if (now.has((before[i] as Row).key)) return (before[i] as Row).key;
  for (let i = at - 1; i >= 0; i -= 1) if (now.has((before[i] as Row).key)) return (before[i] as Row).key;
  return null;
}
