/**
 * What travels between a room and its server (docs/room-protocol.md). Frames are JSON text; what we do not understand
 * is skipped, and what lacks a field it should have is not let in.
 */
import type { Ticks, WallMs } from './time';

export type Role = 'host' | 'moderator' | 'participant' | 'viewer';

export interface Person {
  id: string;
  name: string;
  role: Role;
}

export const isStaff = (person: Person | null | undefined): boolean => person?.role === 'host' || person?.role === 'moderator';

// --- events

/** A file in the archive, beside the broadcast. */
export interface Attached {
  id: string;
  name: string;
  type: string;
  /** Bytes. */
  size: number;
}

interface Happened {
  seq: number;
  at: Ticks;
  sent: WallMs;
  /** What the room does by itself has none. */
  author?: Person | null;
}

export interface TextEvent extends Happened {
  kind: 'text';
  author: Person;
  /** Absent where the message was deleted. */
  body?: string;
  deleted?: boolean;
  reply_to?: number;
  /** Ids of people. */
  mentions?: string[];
  question?: boolean;
  announcement?: boolean;
  anonymous?: boolean;
  files?: Attached[];
  edited?: WallMs;
  /** The held text that this one releases. */
  of?: number;
  /** Private: `staff`, or a person's id. */
  to?: string;
  /** Why it waits: `moderated`, `word`, `link`, `delay`. Only staff and its author see it. */
  held?: string;
  /** Where only the delay holds it: when it is released. */
  until?: WallMs;
}

export interface EditEvent extends Happened {
  kind: 'edit';
  target: number;
  /** Absent where the message was deleted since. */
  body?: string;
  deleted?: boolean;
}

export interface TargetEvent extends Happened {
  kind: 'delete' | 'discard' | 'unpin';
  target: number;
}

export interface PinEvent extends Happened {
  kind: 'pin';
  target: number;
  /** Absent where it was deleted since. */
  message?: TextEvent;
}

export type QuestionState = 'open' | 'answered' | 'dismissed';

export interface QuestionEvent extends Happened {
  kind: 'question';
  target: number;
  state: QuestionState;
}

export interface PollEvent extends Happened, Asked {
  kind: 'poll';
}

export interface CloseEvent extends Happened {
  kind: 'close';
  target: number;
  counts: number[];
  voters: number;
  /** Of a quiz: indices of options. */
  right?: number[] | null;
}

export interface HandEvent extends Happened {
  kind: 'hand';
  raised: boolean;
  /** Where staff lowers another's. */
  person?: Person | null;
}

export interface ReactionsEvent extends Happened {
  kind: 'reactions';
  counts: Record<string, number>;
}

export interface SettingsEvent extends Happened {
  kind: 'settings';
  settings: Settings;
}

export type Measure = 'mute' | 'timeout' | 'ban' | 'lift';

export interface SanctionEvent extends Happened {
  kind: 'sanction';
  person: Person;
  what: Measure;
  until?: WallMs | null;
}

export interface ReportEvent extends Happened {
  kind: 'report';
  target: number;
  /** Absent where it was erased. */
  reason?: string;
}

export interface NoteEvent extends Happened {
  kind: 'note';
  /** An id. */
  person?: string;
  target?: number;
  body?: string;
}

export interface EraseEvent extends Happened {
  kind: 'erase';
  /** An id. */
  person: string;
}

/** Only in the replay. */
export interface TallyEvent extends Happened, Tally {
  kind: 'tally';
}

export type RoomEvent =
  | TextEvent
  | EditEvent
  | TargetEvent
  | PinEvent
  | QuestionEvent
  | PollEvent
  | CloseEvent
  | HandEvent
  | ReactionsEvent
  | SettingsEvent
  | SanctionEvent
  | ReportEvent
  | NoteEvent
  | EraseEvent
  | TallyEvent;

// --- how a room stands

/** An entry may have a `*` at an end, for the rest of a word. */
export interface Words {
  hold: string[];
  reject: string[];
}

export interface Settings {
  messages: 'open' | 'moderated' | 'off';
  questions: boolean;
  private: boolean;
  reactions: boolean;
  hands: boolean;
  slow_ms: number;
  delay_ms: number;
  links: 'on' | 'list' | 'off';
  link_hosts: string[];
  anonymous: 'off' | 'staff' | 'nobody';
  uploads: 'staff' | 'participants';
  edit_ms: number;
  replay_names: 'names' | 'pseudonyms' | 'none';
  retention_days: number | null;
  /** Only for staff; absent: none. */
  words?: Words;
}

export interface Question {
  message: TextEvent;
  state: QuestionState;
  votes: number;
  /** Oneself. */
  voted?: boolean;
}

export interface Asked {
  question: string;
  options: string[];
  multiple: boolean;
  quiz: boolean;
  results: 'live' | 'closed';
  /** null: when somebody closes it. */
  closes: WallMs | null;
}

export interface Poll extends Asked {
  seq: number;
  at: Ticks;
  closed: boolean;
  /** null while its results wait for its close. */
  counts: number[] | null;
  voters: number;
  right: number[] | null;
  /** One's own choices; absent: not yet. */
  voted?: number[];
}

export interface Hand {
  person: Person;
  since: WallMs;
}

export interface Report {
  seq: number;
  target: number;
  by: Person;
  reason: string;
}

export interface Sanction {
  person: Person;
  what: Measure;
  until: WallMs | null;
}

export interface Note {
  seq: number;
  by: Person | null;
  /** An id. */
  person: string | null;
  target: number | null;
  body: string;
}

export interface StaffState {
  held: TextEvent[];
  reports: Report[];
  sanctions: Sanction[];
  /** Those that came while we were here. */
  notes: Note[];
}

export interface State {
  settings: Settings;
  pinned: TextEvent | null;
  questions: Question[];
  polls: Poll[];
  hands: { count: number; people: Hand[] };
  /** Only for staff. */
  staff?: StaffState;
}

export const SETTINGS: Settings = {
  messages: 'open',
  questions: true,
  private: true,
  reactions: true,
  hands: true,
  slow_ms: 0,
  delay_ms: 0,
  links: 'on',
  link_hosts: [],
  anonymous: 'off',
  uploads: 'staff',
  edit_ms: 300_000,
  replay_names: 'names',
  retention_days: null,
};

/** A room in which nothing has happened. */
export const EMPTY: State = { settings: SETTINGS, pinned: null, questions: [], polls: [], hands: { count: 0, people: [] } };

// --- frames

export interface Line {
  state: 'waiting' | 'live' | 'ended';
  origin: WallMs | null;
  duration: Ticks | null;
}

export interface Limits {
  /** The longest body, in Unicode characters. */
  body: number;
}

/** A stretch of the order of the room, both ends included. What lies in it and was not sent is not for this reader. */
export interface Stretch {
  from: number;
  to: number;
}

export interface Tally {
  target: number;
  counts: number[] | null;
  voters: number;
}

/** Not stored, without a place yet. */
export type Unplaced = Omit<TextEvent, 'seq'>;

export type ServerFrame =
  | {
      type: 'joined';
      epoch: string;
      from: number;
      seq: number;
      you: Person;
      now: WallMs;
      line: Line;
      limits: Limits;
      state: State;
      events: RoomEvent[];
      resumed: boolean;
    }
  | ({ type: 'events'; events: RoomEvent[] } & Stretch)
  /** Without a `seq` where there was nothing to do. */
  | { type: 'ack'; ref: string; seq: number | null; held?: string }
  | { type: 'refused'; ref: string | null; code: string; message: string; retry_after_ms?: number }
  | ({ type: 'gap' } & Stretch)
  | { type: 'tally'; tallies: Tally[] }
  | ({ type: 'line' } & Line)
  | { type: 'presence'; count: number }
  | { type: 'roster'; ref: string; count: number; people: Hand[] }
  | { type: 'provisional'; id: string; event: Unplaced }
  | { type: 'settled'; id: string; seq: number | null }
  | { type: 'pong'; ref?: string | null; now: WallMs };

/** What one writes, and how. */
export interface Say {
  type: 'say';
  body: string;
  playing: WallMs | null;
  reply_to?: number;
  mentions?: string[];
  question?: boolean;
  anonymous?: boolean;
  to?: string;
  /** Ids. */
  files?: string[];
  announcement?: boolean;
}

/** What can be asked of a room, over its socket and over REST. */
export type Action =
  | Say
  | { type: 'edit'; seq: number; body: string }
  | { type: 'delete'; seq: number }
  | { type: 'react'; emoji: string; playing: WallMs | null }
  | { type: 'vote'; target: number; choices: number[] }
  | { type: 'hand'; raised: boolean; person?: string }
  | { type: 'report'; target: number; reason: string }
  | { type: 'question'; target: number; state: QuestionState }
  | { type: 'pin' | 'unpin' | 'close' | 'approve' | 'discard'; target: number }
  | { type: 'poll'; question: string; options: string[]; multiple: boolean; right?: number[]; results: 'live' | 'closed'; open_ms: number | null }
  | { type: 'settings'; set: Partial<Settings> }
  | { type: 'sanction'; person: string; what: Measure; for_ms?: number; purge?: boolean }
  | { type: 'note'; person?: string; target?: number; body: string }
  | { type: 'roster' };

export type ClientFrame =
  | { type: 'join'; token?: string; resume?: { epoch: string; seq: number } }
  | (Action & { ref: string })
  | { type: 'ping'; ref?: string };

// --- the replay

export interface ReplayIndex {
  epoch: string;
  /** Ticks that one chunk spans. */
  window: Ticks;
  chunks: ChunkRef[];
}

export interface ChunkRef {
  n: number;
  name: string;
  /** Texts in it. */
  count: number;
}

export interface ReplayChunk {
  n: number;
  /** How the room stood at its beginning; null in chunks of the first version, which hold texts alone. */
  state: State | null;
  events: RoomEvent[];
}

/** A page of the order of the room. */
export interface Page extends Stretch {
  epoch: string;
  events: RoomEvent[];
}

// --- parsing

type Fields = Record<string, unknown>;
type Check = (value: unknown) => boolean;

/** The frame, or null where it is none (or of a kind from a later server). */
export function parseFrame(text: string): ServerFrame | null {
  const frame = parseJson(text);
  if (!isFields(frame) || typeof frame.type !== 'string' || !FRAMES.get(frame.type)?.(frame)) return null;
  return normalised(frame as unknown as ServerFrame);
}

export const parseEvents = (value: unknown): RoomEvent[] => (Array.isArray(value) ? value.filter(isEvent).map(whole) : []);

/** `asked`: where the answer does not say what it covers. */
export function parsePage(value: unknown, asked: Stretch): Page {
  const page = isFields(value) ? value : {};
  const { from, to } = page;
  return { epoch: String(page.epoch), from: isNumber(from) ? from : asked.from, to: isNumber(to) ? to : asked.to, events: parseEvents(page.events) };
}

export function parseIndex(value: unknown): ReplayIndex | null {
  if (!isFields(value) || !isNumber(value.window) || value.window <= 0 || !Array.isArray(value.chunks)) return null;
  const chunks = value.chunks.filter(isChunkRef).sort((a, b) => a.n - b.n);
  return { epoch: String(value.epoch), window: value.window, chunks };
}

export function parseChunk(value: unknown): ReplayChunk | null {
  if (!isFields(value) || !isNumber(value.n)) return null;
  return { n: value.n, state: isFields(value.state) ? parseState(value.state) : null, events: parseEvents(value.events) };
}

/** What is missing or wrong is as in a room in which nothing has happened. */
export function parseState(value: unknown): State {
  const state = isFields(value) ? value : {};
  const hands = isFields(state.hands) ? state.hands : {};
  const people = listOf<Hand>(hands.people, isHand);
  const staff = isFields(state.staff) ? state.staff : null;
  return {
    settings: parseSettings(state.settings),
    pinned: isText(state.pinned) ? state.pinned : null,
    questions: listOf<Question>(state.questions, isQuestion),
    polls: listOf<Poll>(state.polls, isPoll).map(wholePoll),
    hands: { count: isNumber(hands.count) ? hands.count : people.length, people },
    ...(staff && {
      staff: {
        held: listOf<TextEvent>(staff.held, isText),
        reports: parseEvents(staff.reports).flatMap((event) => (event.kind === 'report' ? (reportOf(event) ?? []) : [])),
        sanctions: listOf<Sanction>(staff.sanctions, isSanction).map((one) => ({ ...one, until: one.until ?? null })),
        notes: parseEvents(staff.notes).flatMap((event) => (event.kind === 'note' ? (noteOf(event) ?? []) : [])),
      },
    }),
  };
}

export function parseSettings(value: unknown): Settings {
  const given = isFields(value) ? value : {};
  const right = Object.entries(SETTING_CHECKS).filter(([name, check]) => check(given[name]));
  return { ...SETTINGS, ...(Object.fromEntries(right.map(([name]) => [name, given[name]])) as Partial<Settings>) };
}

/** null where nothing is left of it. */
export const noteOf = ({ seq, author, person, target, body }: NoteEvent): Note | null =>
  body === undefined ? null : { seq, by: author ?? null, person: person ?? null, target: target ?? null, body };

export const reportOf = ({ seq, author, target, reason }: ReportEvent): Report | null => (author ? { seq, target, by: author, reason: reason ?? '' } : null);

const isFields = (value: unknown): value is Fields => typeof value === 'object' && value !== null && !Array.isArray(value);
const isString = (value: unknown): value is string => typeof value === 'string';
const isNumber = (value: unknown): value is number => typeof value === 'number' && Number.isFinite(value);
const isBoolean = (value: unknown): value is boolean => typeof value === 'boolean';
const maybe = (check: Check): Check => (value) => value === undefined || check(value);
const orNull = (check: Check): Check => (value) => value === undefined || value === null || check(value);
const each = (check: Check): Check => (value) => Array.isArray(value) && value.every(check);
const oneOf = (...values: unknown[]): Check => (value) => values.includes(value);
const listOf = <T>(value: unknown, check: Check): T[] => (Array.isArray(value) ? (value.filter(check) as T[]) : []);

const isNumbers = each(isNumber);
const isStrings = each(isString);
const isCounts = (value: unknown): boolean => isFields(value) && Object.values(value).every(isNumber);

const isPerson = (value: unknown): value is Person => isFields(value) && isString(value.id) && isString(value.name) && isString(value.role);

const isAttached: Check = (value) => isFields(value) && isString(value.id) && isString(value.name) && isString(value.type) && isNumber(value.size);

const has = (fields: Record<string, Check>): ((value: Fields) => boolean) => {
  const checks = Object.entries(fields);
  return (value) => checks.every(([name, check]) => check(value[name]));
};

const TEXT = has({
  author: isPerson,
  reply_to: maybe(isNumber),
  mentions: maybe(isStrings),
  question: maybe(isBoolean),
  announcement: maybe(isBoolean),
  anonymous: maybe(isBoolean),
  files: maybe(each(isAttached)),
  edited: maybe(isNumber),
  of: maybe(isNumber),
  to: maybe(isString),
  held: maybe(isString),
  until: maybe(isNumber),
});
const ASKED = has({ question: isString, options: isStrings, multiple: isBoolean, quiz: isBoolean, results: oneOf('live', 'closed'), closes: orNull(isNumber) });
const TALLY = has({ target: isNumber, counts: orNull(isNumbers), voters: isNumber });
const TARGET = has({ target: isNumber });
const readable = ({ body, deleted }: Fields): boolean => isString(body) || deleted === true;
const isMeasure = oneOf('mute', 'timeout', 'ban', 'lift');
const isQuestionState = oneOf('open', 'answered', 'dismissed');

/** What each kind of event must have. */
const KINDS = new Map<string, (event: Fields) => boolean>(Object.entries({
  text: (event) => readable(event) && TEXT(event),
  edit: (event) => TARGET(event) && readable(event),
  delete: TARGET,
  discard: TARGET,
  unpin: TARGET,
  pin: (event) => TARGET(event) && maybe(isText)(event.message),
  question: has({ target: isNumber, state: isQuestionState }),
  poll: ASKED,
  close: has({ target: isNumber, counts: isNumbers, voters: isNumber, right: orNull(isNumbers) }),
  hand: has({ raised: isBoolean, person: orNull(isPerson) }),
  reactions: has({ counts: isCounts }),
  settings: has({ settings: isFields }),
  sanction: has({ person: isPerson, what: isMeasure, until: orNull(isNumber) }),
  report: has({ target: isNumber, reason: maybe(isString) }),
  note: has({ person: maybe(isString), target: maybe(isNumber), body: maybe(isString) }),
  erase: has({ person: isString }),
  tally: TALLY,
}));

const happened = has({ at: isNumber, sent: isNumber, author: orNull(isPerson) });

const isEvent = (value: unknown): value is RoomEvent =>
  isFields(value) && isNumber(value.seq) && happened(value) && isString(value.kind) && KINDS.get(value.kind)?.(value) === true;

function isText(value: unknown): value is TextEvent {
  return isEvent(value) && value.kind === 'text';
}

/** Settings complete, `null` where a field may be absent. */
function whole(event: RoomEvent): RoomEvent {
  if (event.kind === 'settings') return { ...event, settings: parseSettings(event.settings) };
  if (event.kind === 'poll') return { ...event, closes: event.closes ?? null };
  return event;
}

const wholePoll = (poll: Poll): Poll => ({ ...poll, closes: poll.closes ?? null, counts: poll.counts ?? null, right: poll.right ?? null });

const isQuestion: Check = (value) => isFields(value) && isText(value.message) && isQuestionState(value.state) && isNumber(value.votes);
const isPoll: Check = (value) =>
  isFields(value) && ASKED(value) && has({ seq: isNumber, at: isNumber, closed: isBoolean, counts: orNull(isNumbers), voters: isNumber, right: orNull(isNumbers), voted: maybe(isNumbers) })(value);
const isHand: Check = (value) => isFields(value) && isPerson(value.person) && isNumber(value.since);
const isSanction: Check = (value) => isFields(value) && isPerson(value.person) && isMeasure(value.what) && orNull(isNumber)(value.until);

const SETTING_CHECKS: Record<keyof Settings, Check> = {
  messages: oneOf('open', 'moderated', 'off'),
  questions: isBoolean,
  private: isBoolean,
  reactions: isBoolean,
  hands: isBoolean,
  slow_ms: isNumber,
  delay_ms: isNumber,
  links: oneOf('on', 'list', 'off'),
  link_hosts: isStrings,
  anonymous: oneOf('off', 'staff', 'nobody'),
  uploads: oneOf('staff', 'participants'),
  edit_ms: isNumber,
  replay_names: oneOf('names', 'pseudonyms', 'none'),
  retention_days: (value) => value === null || isNumber(value),
  words: (value) => isFields(value) && isStrings(value.hold) && isStrings(value.reject),
};

const isLine = has({ state: oneOf('waiting', 'live', 'ended') });
const STRETCH = has({ from: isNumber, to: isNumber });

const FRAMES = new Map<string, (frame: Fields) => boolean>(Object.entries({
  joined: (frame) => has({ epoch: isString, from: isNumber, seq: isNumber, you: isPerson, now: isNumber })(frame) && isFields(frame.line) && isLine(frame.line),
  events: (frame) => STRETCH(frame) && Array.isArray(frame.events),
  ack: has({ ref: isString, seq: orNull(isNumber), held: maybe(isString) }),
  refused: has({ code: isString, message: isString }),
  gap: STRETCH,
  tally: (frame) => Array.isArray(frame.tallies),
  line: isLine,
  presence: has({ count: isNumber }),
  roster: has({ ref: isString, count: isNumber, people: Array.isArray }),
  provisional: (frame) => isString(frame.id) && isFields(frame.event) && isText({ ...frame.event, seq: 0 }),
  settled: has({ id: isString, seq: orNull(isNumber) }),
  pong: has({ now: isNumber }),
}));

/** Its lists checked one by one, its limits and settings complete. */
function normalised(frame: ServerFrame): ServerFrame {
  switch (frame.type) {
    case 'events':
      return { ...frame, events: parseEvents(frame.events) };
    case 'tally':
      return { ...frame, tallies: listOf<Tally>(frame.tallies, (one) => isFields(one) && TALLY(one)) };
    case 'roster':
      return { ...frame, people: listOf<Hand>(frame.people, isHand) };
    case 'joined': {
      const limits: unknown = frame.limits;
      const body = isFields(limits) && isNumber(limits.body) ? limits.body : 1000;
      return { ...frame, events: parseEvents(frame.events), limits: { body }, state: parseState(frame.state) };
    }
    default:
      return frame;
  }
}

const isChunkRef = (value: unknown): value is ChunkRef => isFields(value) && isNumber(value.n) && isString(value.name) && isNumber(value.count);

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
