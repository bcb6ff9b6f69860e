/** Lectern's REST interface, as far as these pages need it. */
import { parseChunk, parseIndex, parsePage, type Page, type ReplayChunk, type ReplayIndex } from './core/wire';
import type { Ticks, WallMs } from './core/time';

export interface Broadcast {
  id: string;
  title: string;
  state: 'waiting' | 'live' | 'ended';
  /** A publisher is connected now. */
  on_air: boolean;
  origin: WallMs | null;
  duration: Ticks | null;
  /** Whoever gives a name may write. */
  guests: boolean;
  hls: string;
  room: string;
  chat: string;
  /** An MP4 to download, once there is one. */
  recording: string | null;
}

/** A refusal of the server, in its words (RFC 9457). */
export class Problem extends Error {
  constructor(
    readonly status: number,
    message: string,
    readonly retryAfterS: number | null,
  ) {
    super(message);
  }
}

const API = '/api/v1/broadcasts';
/** A server that says nothing for this long is as good as gone. */
const PATIENCE_MS = 10_000;

export async function listBroadcasts(): Promise<Broadcast[]> {
  const answer = (await json(API)) as { broadcasts: Broadcast[] };
  return answer.broadcasts;
}

export const readBroadcast = async (id: string): Promise<Broadcast> => (await json(`${API}/${id}`)) as Broadcast;

export async function endBroadcast(id: string, token: string): Promise<void> {
  // The answer comes when everything is in the archive.
  const signal = AbortSignal.timeout(30_000);
  await ask(`${API}/${id}/end`, { method: 'POST', headers: { Authorization: `Bearer ${token}` }, signal });
}

/** A participant's token for somebody who only gives a name. */
export const admitGuest = async (id: string, name: string): Promise<{ token: string; name: string }> =>
  (await json(`${API}/${id}/guests`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({ name }),
  })) as { token: string; name: string };

export async function readMessages(room: string, from: number, to: number): Promise<Page> {
  return parsePage(await json(`${room}/messages?from=${from}&to=${to}`), { from, to });
}

export async function readReplayIndex(url: string): Promise<ReplayIndex> {
  const index = parseIndex(await json(url));
  if (!index) throw new Problem(502, 'The replay of the room cannot be read.', null);
  return index;
}

/** A chunk stands beside its index. */
export async function readReplayChunk(index: string, name: string): Promise<ReplayChunk> {
  const url = new URL(name, new URL(index, location.href));
  const chunk = parseChunk(await json(url.href));
  if (!chunk) throw new Problem(502, 'A part of the replay cannot be read.', null);
  return chunk;
}

async function json(url: string, init?: RequestInit): Promise<unknown> {
  return (await ask(url, init)).json();
}

export async function ask(url: string, init: RequestInit = {}): Promise<Response> {
  const response = await fetch(url, { signal: AbortSignal.timeout(PATIENCE_MS), ...init });
  if (!response.ok) throw await problemOf(response);
  return response;
}

async function problemOf(response: Response): Promise<Problem> {
  const retryAfter = Number.parseInt(response.headers.get('Retry-After') ?? '', 10);
  const body = (await response.json().catch(() => ({}))) as { title?: unknown; detail?: unknown };
  const words = [body.detail, body.title, response.statusText].find((text) => typeof text === 'string' && text !== '');
  return new Problem(response.status, (words as string | undefined) ?? `The server answered ${response.status}.`, Number.isFinite(retryAfter) ? retryAfter : null);
}
