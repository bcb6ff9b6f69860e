/**
 * What stood in the room at a position of the timeline.
 *
 * Chunks of fixed windows of media time come from the replay folder; what arrives live is laid on top, so that a
 * message written while rewound appears where its writer was. Order is (`at`, `seq`). Each chunk begins with how the
 * room stood, so that a seek needs one chunk for that; the messages above it come from the chunks before.
 */
import { Changes, lowerBound, messageOf, type Message } from './message';
import { foldAll } from './state';
import { EMPTY, type ChunkRef, type ReplayChunk, type ReplayIndex, type RoomEvent, type State } from './wire';
import type { Ticks } from './time';

/** What the list shows above the position: more than a screen, less than a strain. */
const SHOWN = 150;
/** As many more each time that somebody reads further up, up to this. */
const MOST_SHOWN = 10_000;
/** Windows kept in memory; at 32 s each more than an hour around where the viewer has been. */
const KEPT = 160;
/** Live events laid on top; an older one is in its chunk by then. */
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
  /** There are more above. */
  earlier: boolean;
  /** How the room stood; null while its chunk is on its way. */
  state: State | null;
  /** The view holds from here … */
  from: Ticks;
  /** … until here, where the next known event stands. */
  until: Ticks;
}

interface Window {
  name: string;
  messages: Message[];
  /** At its beginning. */
  state: State;
  /** What changes how the room stands, in order. */
  turns: RoomEvent[];
}

const NOTHING: View = { messages: [], earlier: false, state: null, from: Infinity, until: -Infinity };

export class Replay {
  #index: ReplayIndex | null = null;
  #windows = new Map<number, Window>();
  #live = new Map<number, Message[]>();
  #liveTurns: RoomEvent[] = [];
  #arrived: Message[] = [];
  #changes = new Changes();
  /** Edits, deletes, erasures: they hold for every position. */
  #changing: RoomEvent[] = [];
  #shown = SHOWN;
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
    for (let i = next - 1; i >= 0 && counted < this.#shown; i -= 1) {
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
    const turns = chunk.events.filter(isTurn).sort(byPosition);
    this.#windows.delete(ref.n);
    this.#windows.set(ref.n, { name: ref.name, messages, state: chunk.state ?? EMPTY, turns });
    for (const message of this.#live.get(ref.n) ?? []) insert(messages, message);
    this.#forget();
    this.#view = NOTHING;
  }

  /** Events that came live. */
  add(events: readonly RoomEvent[]): void {
    for (const event of events) {
      if (this.#changes.add(event) && event.kind !== 'text') this.#changing.push(event);
      if (event.kind === 'text' && !event.deleted) this.#addLive(messageOf(event));
      if (isTurn(event)) insert(this.#liveTurns, event);
    }
    if (this.#liveTurns.length > KEPT_LIVE) this.#liveTurns.splice(0, KEPT_LIVE / 4);
    if (this.#changing.length > KEPT_LIVE) this.#changing.splice(0, KEPT_LIVE / 4);
    this.#view = NOTHING;
  }

  /** The last messages at or before `position`, and how the room stood. Costs a comparison until the next event's turn. */
  at(position: Ticks): View {
    if (position >= this.#view.from && position < this.#view.until) return this.#view;
    return (this.#view = this.#look(position));
  }

  /** null while the chunk that knows is on its way. */
  stateAt(position: Ticks): State | null {
    return this.at(position).state;
  }

  /** What happened behind `from`, up to `to`: reactions, for who shows them as they pass. Words are in the view. */
  passed(from: Ticks, to: Ticks): RoomEvent[] {
    const passed: RoomEvent[] = [];
    for (const turns of this.#turnsOf(this.#windowOf(Math.max(0, from)), this.#windowOf(to))) {
      for (let i = after(turns, from); i < turns.length && (turns[i] as RoomEvent).at <= to; i += 1) insert(passed, turns[i] as RoomEvent);
    }
    return passed;
  }

  /** Somebody reads further up. */
  showMore(): void {
    this.#shown = Math.min(MOST_SHOWN, this.#shown + SHOWN);
    this.#view = NOTHING;
  }

  /** Somebody went elsewhere. */
  showLess(): void {
    if (this.#shown === SHOWN) return;
    this.#shown = SHOWN;
    this.#view = NOTHING;
  }

  #look(position: Ticks): View {
    const words = this.#words(position);
    const { state, from, until } = this.#turn(position);
    return { ...words, state, from: Math.max(words.from, from), until: Math.min(words.until, until) };
  }

  #words(position: Ticks): Omit<View, 'state'> {
    const current = this.#windowOf(position);
    const numbers = this.#numbers();
    const next = lowerBound(numbers, (n) => n <= current);
    const groups: Message[][] = [];
    let [count, until, i] = [0, this.#firstAt(numbers[next]), next - 1];
    for (; i >= 0 && count < this.#shown; i -= 1) {
      const n = numbers[i] as number;
      const messages = this.#messagesOf(n);
      if (!messages) break; // Nothing older is shown above a hole; it is on its way.
      const shown = n === current ? lowerBound(messages, ({ at }) => at <= position) : messages.length;
      if (n === current) until = messages[shown]?.at ?? until;
      groups.unshift(messages.slice(0, shown));
      count += shown;
    }
    const all = groups.flat();
    const messages = all.flatMap((message) => this.#standing(message));
    return { messages: messages.slice(-this.#shown), earlier: messages.length > this.#shown || i >= 0, from: all.at(-1)?.at ?? 0, until };
  }

  /** Deleted ones are absent here. */
  #standing(message: Message): Message[] {
    const now = this.#changes.of(message);
    return now && now.body !== null ? [now] : [];
  }

  /** The state at the head of the last chunk that begins at or before the position, led on to it. */
  #turn(position: Ticks): Pick<View, 'state' | 'from' | 'until'> {
    const current = this.#windowOf(position);
    const chunks = this.#index?.chunks ?? [];
    const next = lowerBound(chunks, ({ n }) => n <= current);
    const base = chunks[next - 1];
    const head = base && this.#windows.get(base.n);
    const begin = this.#beginOf(base?.n ?? 0);
    if (base && !head) return { state: null, from: begin, until: this.#beginOf(chunks[next]?.n ?? Infinity) };
    const turns: RoomEvent[] = [];
    let until = Infinity;
    for (const some of this.#turnsOf(base?.n ?? 0, Infinity)) {
      const shown = after(some, position);
      until = Math.min(until, some[shown]?.at ?? Infinity);
      for (let i = after(some, begin - 1); i < shown; i += 1) insert(turns, some[i] as RoomEvent);
    }
    const state = foldAll(foldAll(head?.state ?? EMPTY, turns), this.#changing);
    return { state, from: turns.at(-1)?.at ?? begin, until };
  }

  /** Of the windows from `first` to `last` that we have, and of what came live. */
  *#turnsOf(first: number, last: number): Generator<RoomEvent[]> {
    for (const [n, { turns }] of this.#windows) if (n >= first && n <= last) yield turns;
    yield this.#liveTurns;
  }

  #windowOf(at: Ticks): number {
    return Math.floor(at / (this.#index?.window ?? WINDOW));
  }

  #beginOf(n: number): Ticks {
    return n * (this.#index?.window ?? WINDOW);
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
    return this.#messagesOf(n)?.[0]?.at ?? this.#beginOf(n);
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

interface Placed {
  at: Ticks;
  seq: number;
}

const byPosition = (a: Placed, b: Placed): number => a.at - b.at || a.seq - b.seq;

/** Whether how the room stands can depend on it. Most words change nothing. */
const isTurn = (event: RoomEvent): boolean => event.kind !== 'text' || (event.question === true && !event.deleted);

/** The first index behind the position. */
const after = (items: readonly Placed[], position: Ticks): number => lowerBound(items, ({ at }) => at <= position);

/** At its place, unless it is there. */
function insert<T extends Placed>(items: T[], item: T): void {
  const index = lowerBound(items, (other) => byPosition(other, item) < 0);
  if (items[index]?.seq !== item.seq) items.splice(index, 0, item);
}
