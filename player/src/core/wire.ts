/** What travels between a room and its server. Frames are JSON text; what we do not understand is skipped. */
import type { Ticks, WallMs } from './time';

export type Role = 'host' | 'moderator' | 'participant' | 'viewer';

export interface Person {
  id: string;
  name: string;
  role: Role;
}

export interface TextEvent {
  seq: number;
  at: Ticks;
  sent: WallMs;
  author: Person;
  kind: 'text';
  /** Absent where the message was deleted. */
  body?: string;
  deleted?: boolean;
}

export interface DeleteEvent {
  seq: number;
  kind: 'delete';
  target: number;
}

export type RoomEvent = TextEvent | DeleteEvent;

export interface Line {
  state: 'waiting' | 'live' | 'ended';
  origin: WallMs | null;
  duration: Ticks | null;
}

export interface Limits {
  /** The longest body, in Unicode characters. */
  body: number;
}

export type Refusal = 'too_long' | 'empty' | 'rate' | 'forbidden' | 'ended' | 'malformed' | 'unauthorized' | 'not_found';

export type ServerFrame =
  | { type: 'joined'; epoch: string; seq: number; you: Person; now: WallMs; line: Line; limits: Limits; events: RoomEvent[]; resumed: boolean }
  | { type: 'events'; events: RoomEvent[] }
  | { type: 'ack'; ref: string; seq: number }
  | { type: 'refused'; ref: string | null; code: string; message: string; retry_after_ms?: number }
  | { type: 'gap'; from: number; to: number }
  | ({ type: 'line' } & Line)
  | { type: 'presence'; count: number }
  | { type: 'pong'; ref?: string | null; now: WallMs };

export type ClientFrame =
  | { type: 'join'; token?: string; resume?: { epoch: string; seq: number } }
  | { type: 'say'; ref: string; body: string; playing: WallMs | null }
  | { type: 'delete'; ref: string; seq: number }
  | { type: 'ping'; ref?: string };

export interface ReplayIndex {
  epoch: string;
  /** Ticks that one chunk spans. */
  window: Ticks;
  chunks: ChunkRef[];
}

export interface ChunkRef {
  n: number;
  name: string;
  count: number;
}

export interface ReplayChunk {
  n: number;
  events: TextEvent[];
}

type Fields = Record<string, unknown>;

/** The frame, or null where it is none (or of a kind from a later server). */
export function parseFrame(text: string): ServerFrame | null {
  const frame = parseJson(text);
  if (!isFields(frame) || typeof frame.type !== 'string') return null;
  return isFrame(frame) ? normalised(frame as unknown as ServerFrame) : null;
}

export const parseEvents = (value: unknown): RoomEvent[] => (Array.isArray(value) ? value.filter(isEvent) : []);

export function parseIndex(value: unknown): ReplayIndex | null {
  if (!isFields(value) || !isNumber(value.window) || value.window <= 0 || !Array.isArray(value.chunks)) return null;
  const chunks = value.chunks.filter(isChunkRef).sort((a, b) => a.n - b.n);
  return { epoch: String(value.epoch), window: value.window, chunks };
}

export function parseChunk(value: unknown): ReplayChunk | null {
  if (!isFields(value) || !isNumber(value.n)) return null;
  const events = parseEvents(value.events).filter((event) => event.kind === 'text');
  return { n: value.n, events };
}

function isFrame(frame: Fields): boolean {
  switch (frame.type) {
    case 'joined':
      return isString(frame.epoch) && isNumber(frame.seq) && isPerson(frame.you) && isNumber(frame.now) && isLine(frame.line);
    case 'events':
      return Array.isArray(frame.events);
    case 'ack':
      return isString(frame.ref) && isNumber(frame.seq);
    case 'refused':
      return isString(frame.code) && isString(frame.message);
    case 'gap':
      return isNumber(frame.from) && isNumber(frame.to);
    case 'line':
      return isLine(frame);
    case 'presence':
      return isNumber(frame.count);
    case 'pong':
      return isNumber(frame.now);
    default:
      return false;
  }
}

/** Its events checked one by one, its limits complete. */
function normalised(frame: ServerFrame): ServerFrame {
  if (frame.type === 'events') return { ...frame, events: parseEvents(frame.events) };
  if (frame.type !== 'joined') return frame;
  const limits: unknown = frame.limits;
  const body = isFields(limits) && isNumber(limits.body) ? limits.body : 1000;
  return { ...frame, events: parseEvents(frame.events), limits: { body } };
}

function isEvent(value: unknown): value is RoomEvent {
  if (!isFields(value) || !isNumber(value.seq)) return false;
  if (value.kind === 'delete') return isNumber(value.target);
  const readable = isString(value.body) || value.deleted === true;
  return value.kind === 'text' && readable && isNumber(value.at) && isNumber(value.sent) && isPerson(value.author);
}

const isChunkRef = (value: unknown): value is ChunkRef =>
  isFields(value) && isNumber(value.n) && isString(value.name) && isNumber(value.count);

const isPerson = (value: unknown): value is Person =>
  isFields(value) && isString(value.id) && isString(value.name) && isString(value.role);

const isLine = (value: unknown): value is Line =>
  isFields(value) && (value.state === 'waiting' || value.state === 'live' || value.state === 'ended');

const isFields = (value: unknown): value is Fields => typeof value === 'object' && value !== null;
const isString = (value: unknown): value is string => typeof value === 'string';
const isNumber = (value: unknown): value is number => typeof value === 'number' && Number.isFinite(value);

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
