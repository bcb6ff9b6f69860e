/**
 * What stood in the room at a position of the timeline.
 *
 * Chunks of fixed windows of media time come from the replay folder; what arrives live is laid on top, so that a
 * message written while rewound appears where its writer was. Order is (`at`, `seq`).
 */
import { lowerBound, messageOf, type Message } from './message';
import type { ChunkRef, ReplayChunk, ReplayIndex, RoomEvent } from './wire';
import type { Ticks } from './time';

/** What the list shows above the position: more than a screen, less than a strain. */
const SHOWN = 150;
/** Windows kept in memory; at 32 s each more than an hour around where the viewer has been. */
const KEPT = 160;
/** Live messages laid on top; an older one is in its chunk by then. */
const KEPT_LIVE = 4000;
/** Until the index says otherwise: 32 s. */
const WINDOW: Ticks = 2_880_000;
/** Nearer to the end of the line than this is at the end: the player does not wait for a last crumb of half a second. */
const AT_END: Ticks = 45_000;
/** Behind every message. */
const EVERYTHING: Ticks = Number.MAX_SAFE_INTEGER;

/**
 * The position up to which messages show. Some stand behind the last picture, written while the line was ending: no
 * position ever reaches them, so at the end everything shows. `duration`: of a line that has ended, else null.
 */
export const shownUpTo = (position: Ticks, duration: Ticks | null): Ticks =>
  duration !== null && position > duration - AT_END ? EVERYTHING : position;

export interface View {
  messages: readonly Message[];
  /** The view holds from here … */
  from: Ticks;
  /** … until here, where the next known message stands. */
  until: Ticks;
}

interface Window {
  name: string;
  messages: Message[];
}

const NOTHING: View = { messages: [], from: Infinity, until: -Infinity };

export class Replay {
  #index: ReplayIndex | null = null;
  #windows = new Map<number, Window>();
  #live = new Map<number, Message[]>();
  #arrived: Message[] = [];
  #deleted = new Set<number>();
  #view = NOTHING;

  get ready(): boolean {
    return this.#index !== null;
  }

  /** The folder's index, read again; chunks that were issued anew are fetched anew. */
  setIndex(index: ReplayIndex): void {
    const before = this.#index?.window ?? WINDOW;
    this.#index = index;
    if (before !== index.window) this.#sortLive();
    const names = new Map(index.chunks.map(({ n, name }) => [n, name]));
    for (const [n, window] of this.#windows) {
      // The text of a chunk under an older name is still better than none until the new one is here.
      if (names.get(n) !== window.name) window.name = '';
    }
    this.#view = NOTHING;
  }

  /** Chunks that the view at `position` wants and we do not have, the most urgent first; the one after it comes last. */
  wanted(position: Ticks): ChunkRef[] {
    if (!this.#index) return [];
    const { chunks } = this.#index;
    const next = lowerBound(chunks, ({ n }) => n <= this.#windowOf(position));
    const wanted: ChunkRef[] = [];
    let counted = 0;
    for (let i = next - 1; i >= 0 && counted < SHOWN; i -= 1) {
      const ref = chunks[i] as ChunkRef;
      if (!this.#has(ref)) wanted.push(ref);
      // The window that holds the position may lie almost wholly ahead of it: it does not count.
      if (i < next - 1) counted += ref.count;
    }
    const ahead = chunks[next];
    if (ahead && !this.#has(ahead)) wanted.push(ahead);
    return wanted;
  }

  setChunk(ref: ChunkRef, chunk: ReplayChunk): void {
    const messages = chunk.events.filter((event) => event.kind === 'text').map(messageOf).sort(byPosition);
    this.#windows.delete(ref.n);
    this.#windows.set(ref.n, { name: ref.name, messages });
    for (const message of this.#live.get(ref.n) ?? []) insert(messages, message);
    this.#forget();
    this.#view = NOTHING;
  }

  /** Events that came live. */
  add(events: readonly RoomEvent[]): void {
    for (const event of events) {
      if (event.kind === 'delete') this.#deleted.add(event.target);
      else if (event.kind !== 'text') continue;
      else if (event.deleted) this.#deleted.add(event.seq);
      else this.#addLive(messageOf(event));
    }
    this.#view = NOTHING;
  }

  /** The last messages at or before `position`. Costs a comparison until the next message's turn. */
  at(position: Ticks): View {
    if (position >= this.#view.from && position < this.#view.until) return this.#view;
    return (this.#view = this.#look(position));
  }

  #look(position: Ticks): View {
    const current = this.#windowOf(position);
    const numbers = this.#numbers();
    const next = lowerBound(numbers, (n) => n <= current);
    const groups: Message[][] = [];
    let [count, until] = [0, this.#firstAt(numbers[next])];
    for (let i = next - 1; i >= 0 && count < SHOWN; i -= 1) {
      const n = numbers[i] as number;
      const messages = this.#messagesOf(n);
      if (!messages) break; // Nothing older is shown above a hole; it is on its way.
      const shown = n === current ? lowerBound(messages, ({ at }) => at <= position) : messages.length;
      if (n === current) until = messages[shown]?.at ?? until;
      groups.unshift(messages.slice(0, shown));
      count += shown;
    }
    const all = groups.flat();
    const messages = all.filter(({ seq }) => !this.#deleted.has(seq)).slice(-SHOWN);
    return { messages, from: all.at(-1)?.at ?? 0, until };
  }

  #windowOf(at: Ticks): number {
    return Math.floor(at / (this.#index?.window ?? WINDOW));
  }

  /** Windows that hold anything, in order. */
  #numbers(): number[] {
    const numbers = new Set(this.#index?.chunks.map(({ n }) => n));
    for (const n of this.#live.keys()) numbers.add(n);
    return [...numbers].sort((a, b) => a - b);
  }

  /** null while the window's chunk is not here yet. */
  #messagesOf(n: number): Message[] | null {
    const window = this.#windows.get(n);
    if (window) return window.messages;
    const listed = this.#index?.chunks.some((ref) => ref.n === n);
    return listed ? null : (this.#live.get(n) ?? []);
  }

  #firstAt(n: number | undefined): Ticks {
    if (n === undefined) return Infinity;
    return this.#messagesOf(n)?.[0]?.at ?? n * (this.#index?.window ?? WINDOW);
  }

  #addLive(message: Message): void {
    this.#arrived.push(message);
    this.#layOnTop(message);
    if (this.#arrived.length > KEPT_LIVE) {
      this.#arrived.splice(0, KEPT_LIVE / 4);
      this.#sortLive();
    }
  }

  #sortLive(): void {
    this.#live.clear();
    for (const message of this.#arrived) this.#layOnTop(message);
  }

  #layOnTop(message: Message): void {
    const n = this.#windowOf(message.at);
    const live = this.#live.get(n) ?? [];
    this.#live.set(n, live);
    insert(live, message);
    const window = this.#windows.get(n);
    if (window) insert(window.messages, message);
  }

  #has(ref: ChunkRef): boolean {
    return this.#windows.get(ref.n)?.name === ref.name;
  }

  #forget(): void {
    for (const n of this.#windows.keys()) {
      if (this.#windows.size <= KEPT) return;
      this.#windows.delete(n);
    }
  }
}

const byPosition = (a: Message, b: Message): number => a.at - b.at || a.seq - b.seq;

/** At its place, unless it is there. */
function insert(messages: Message[], message: Message): void {
  const index = lowerBound(messages, (other) => byPosition(other, message) < 0);
  if (messages[index]?.seq !== message.seq) messages.splice(index, 0, message);
}
