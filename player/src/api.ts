/** Lectern's REST interface, as far as these pages need it. */
import { parseChunk, parseIndex, parsePage, type Attached, type Page, type ReplayChunk, type ReplayIndex } from './core/wire';
import type { Invited, Layout, Stage } from './core/stage';
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
  /** What happened to its encoder since the server's start; the lecture went on behind each. */
  incidents?: { count: number; last: Incident | null };
}

export interface Incident {
  at: WallMs;
  /** For how long the picture stood; null while it still does. */
  stood_ms: number | null;
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

  /** What was caught: the server's own words, or else these. */
  static of(error: unknown, otherwise = 'The server does not answer. Trying again…'): Problem {
    return error instanceof Problem ? error : new Problem(0, otherwise, null);
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

/** Who is on air, and how their pictures share the canvas. */
export const readStage = async (id: string, token: string): Promise<Stage> => (await json(`${API}/${id}/layout`, { headers: bearer(token) })) as Stage;

export const arrange = async (id: string, layout: Layout, token: string): Promise<Stage> =>
  (await json(`${API}/${id}/layout`, { method: 'PUT', ...sent(layout, token) })) as Stage;

export const inviteCohost = async (id: string, name: string, token: string): Promise<Invited> =>
  (await json(`${API}/${id}/cohosts`, { method: 'POST', ...sent({ name }, token) })) as Invited;

/** They go off air, and their link is void. */
export const withdrawCohost = async (id: string, source: string, token: string): Promise<Stage> =>
  (await json(`${API}/${id}/cohosts/${encodeURIComponent(source)}`, { method: 'DELETE', headers: bearer(token) })) as Stage;

export async function readMessages(room: string, from: number, to: number, token: string | undefined): Promise<Page> {
  return parsePage(await json(`${room}/messages?from=${from}&to=${to}`, { headers: bearer(token) }), { from, to });
}

export async function readReplayIndex(url: string): Promise<ReplayIndex> {
  const index = parseIndex(await json(url));
  if (!index) throw new Problem(502, 'The replay of the room cannot be read.', null);
  return index;
}

const sent = (body: unknown, token: string): RequestInit => ({ headers: { ...bearer(token), 'Content-Type': 'application/json' }, body: JSON.stringify(body) });

const bearer = (token: string | undefined): Record<string, string> => (token === undefined ? {} : { Authorization: `Bearer ${token}` });

export const EXPORTS = { csv: 'Table (CSV)', txt: 'Text', vtt: 'Subtitles (WebVTT)', ndjson: 'Everything (NDJSON)' } as const;

/** What was said in the room, as a file. */
export async function exportRoom(id: string, format: keyof typeof EXPORTS, token: string | undefined): Promise<Blob> {
  const response = await ask(`${API}/${id}/room/export?format=${format}`, { headers: bearer(token), signal: AbortSignal.timeout(60_000) });
  return response.blob();
}

/** All that a person wrote is gone: record, replay, attachments. */
export async function erasePerson(id: string, person: string, token: string | undefined): Promise<void> {
  await ask(`${API}/${id}/room/people/${encodeURIComponent(person)}`, { method: 'DELETE', headers: bearer(token), signal: AbortSignal.timeout(30_000) });
}

/** `progress`: the part that is sent, 0 to 1. (`fetch` does not tell.) */
export function uploadFile(room: string, file: File, token: string | undefined, progress: (part: number) => void, signal: AbortSignal): Promise<Attached> {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open('POST', `${room}/files?name=${encodeURIComponent(file.name)}`);
    for (const [name, value] of Object.entries(bearer(token))) request.setRequestHeader(name, value);
    request.responseType = 'json';
    request.upload.onprogress = ({ loaded, total }) => progress(total > 0 ? loaded / total : 0);
    request.onerror = () => reject(new Problem(0, 'The file could not be sent.', null));
    request.onabort = () => reject(new DOMException('', 'AbortError'));
    request.onload = () => {
      const answer = (request.response ?? {}) as Partial<Attached> & { detail?: string; title?: string };
      if (request.status < 300 && answer.id !== undefined) resolve(answer as Attached);
      else reject(new Problem(request.status, answer.detail ?? answer.title ?? `The server answered ${request.status}.`, null));
    };
    signal.addEventListener('abort', () => request.abort());
    request.send(file);
  });
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
