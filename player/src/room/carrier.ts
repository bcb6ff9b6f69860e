/** What carries a room's frames: a WebSocket; or server-sent events one way, and requests the other. */
import { EventStream } from '../core/event-stream';
import type { Way } from '../core/carriage';
import type { ClientFrame } from '../core/wire';

/** What happens on a carrier. After `closed` nothing does. */
export interface Ends {
  opened(): void;
  /** Something came, if only a sign of life. */
  heard(): void;
  received(frame: string): void;
  /** With a close code of the room's wire; 1006 where nobody said why. */
  closed(code: number, retryAfterMs: number): void;
}

export interface Carrier {
  readonly way: Way;
  send(frame: ClientFrame): void;
  /** Nothing happens on it from now on. */
  close(): void;
}

/** Nobody said why. */
const BROKEN = 1006;

/** The close codes that say what a status says. */
const CODES: Record<number, number> = { 400: 4000, 401: 4001, 403: 4003, 404: 4004, 429: 4010, 503: 1013 };

export const carrier = (way: Way, path: string, ends: Ends): Carrier => (way === 'socket' ? webSocket(path, ends) : events(path, ends));

function webSocket(path: string, ends: Ends): Carrier {
  const socket = new WebSocket(new URL(path, location.href).href.replace(/^http/, 'ws'));
  socket.onopen = () => ends.opened();
  socket.onmessage = ({ data }) => {
    ends.heard();
    ends.received(String(data));
  };
  socket.onclose = ({ code }) => ends.closed(code, 0);
  return {
    way: 'socket',
    send: (frame) => {
      if (socket.readyState === WebSocket.OPEN) socket.send(JSON.stringify(frame));
    },
    close: () => {
      socket.onopen = socket.onmessage = socket.onclose = null;
      socket.close(1000);
    },
  };
}

/** The stream is asked for with the first frame, the join; each other frame is a request, one after the other. */
function events(path: string, ends: Ends): Carrier {
  const stop = new AbortController();
  const { signal } = stop;
  let token: string | undefined;
  let posts = Promise.resolve();

  const end = (code: number, retryAfterMs = 0) => {
    if (signal.aborted) return;
    stop.abort();
    ends.closed(code, retryAfterMs);
  };
  const guarded = (work: Promise<void>) =>
    work.catch((error: unknown) => {
      if (!signal.aborted) console.warn('the room could not be reached', error);
      end(BROKEN);
    });
  const authorized = (headers: Record<string, string>) => ({ ...headers, ...(token !== undefined && { Authorization: `Bearer ${token}` }) });

  async function listen({ resume }: Join): Promise<void> {
    const headers = authorized(resume ? { 'Last-Event-ID': `${resume.epoch}:${resume.seq}` } : {});
    const response = await fetch(`${path}/events`, { headers, signal, cache: 'no-store' });
    if (!response.ok || !response.body) return refused(response);
    const [reader, decoder, stream] = [response.body.getReader(), new TextDecoder(), new EventStream()];
    for (;;) {
      const { done, value } = await reader.read();
      if (done) {
        end(BROKEN);
        return;
      }
      ends.heard();
      for (const { name, data } of stream.push(decoder.decode(value, { stream: true }))) {
        if (signal.aborted) return;
        if (name === 'close') end(codeIn(data));
        else ends.received(data);
      }
    }
  }

  async function post(frame: ClientFrame): Promise<void> {
    const headers = authorized({ 'Content-Type': 'application/json' });
    const response = await fetch(`${path}/messages`, { method: 'POST', headers, body: JSON.stringify(frame), signal });
    ends.received(response.ok ? await response.text() : await refusal(frame, response));
  }

  /** As the frame that it would be on a WebSocket. What no frame would say ends the visit. */
  async function refusal(frame: ClientFrame, response: Response): Promise<string> {
    const problem = await problemOf(response);
    if (typeof problem?.code !== 'string') {
      await refused(response, problem);
      return '';
    }
    const { code, detail, retry_after_ms } = problem;
    const ref = 'ref' in frame ? frame.ref : null;
    return JSON.stringify({ type: 'refused', ref, code, message: detail, retry_after_ms });
  }

  /** Only our server says why in this way; what is on the way says anything. */
  async function refused(response: Response, known?: Problem | null): Promise<void> {
    const problem = known ?? (await problemOf(response));
    const retryAfterMs = Number(response.headers.get('Retry-After') ?? 0) * 1000 || 0;
    end((problem && CODES[response.status]) ?? BROKEN, retryAfterMs);
  }

  queueMicrotask(() => {
    if (!signal.aborted) ends.opened();
  });
  return {
    way: 'events',
    send: (frame) => {
      if (frame.type === 'join') {
        ({ token } = frame);
        void guarded(listen(frame));
      } else if (frame.type !== 'ping') {
        // Signs of life come by themselves here.
        posts = guarded(posts.then(() => (signal.aborted ? undefined : post(frame))));
      }
    },
    close: () => stop.abort(),
  };
}

type Join = Extract<ClientFrame, { type: 'join' }>;

/** RFC 9457, with what a frame would be refused with. */
interface Problem {
  detail?: unknown;
  code?: unknown;
  retry_after_ms?: unknown;
}

async function problemOf(response: Response): Promise<Problem | null> {
  if (!response.headers.get('Content-Type')?.startsWith('application/problem+json')) return null;
  return (await response.json().catch(() => null)) as Problem | null;
}

function codeIn(data: string): number {
  const { code } = JSON.parse(data) as { code?: unknown };
  return typeof code === 'number' ? code : BROKEN;
}
