/**
 * A stand-in for the server, to work on the pages without it: `npm run mock`, then `npm run dev`.
 * Three broadcasts (live, waiting, ended), a picture from ffmpeg as plain HLS, a room that talks. Not part of the build.
 */
import { spawn } from 'node:child_process';
import { createServer } from 'node:http';
import { mkdtempSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { extname, join, normalize } from 'node:path';
import { WebSocketServer } from 'ws';

const PORT = Number(process.env.PORT ?? 8080);
const WINDOW = 2_880_000;
const media = mkdtempSync(join(tmpdir(), 'lectern-mock-'));
const dist = join(import.meta.dirname, '../dist');
const origin = Date.now();
const HOUR_MS = 3_600_000;

const broadcasts = [
  { id: 'linear-algebra', title: 'Linear Algebra I: Eigenvalues and eigenvectors', state: 'live', on_air: true, origin, duration: null },
  { id: 'topology', title: 'Point-set Topology', state: 'waiting', on_air: false, origin: null, duration: null },
  { id: 'optics', title: 'Wave Optics, Lecture 7', state: 'ended', on_air: false, origin, duration: 60 * 90_000 },
  { id: 'history', title: 'The Printing Press and the University', state: 'ended', on_air: false, origin: origin - 90 * HOUR_MS, duration: 4_980 * 90_000 },
].map((broadcast) => ({ ...broadcast, guests: true, hls: `/broadcasts/${broadcast.id}/index.m3u8`, room: `/rooms/${broadcast.id}`, chat: `/broadcasts/${broadcast.id}/chat/index.json`, recording: broadcast.state === 'ended' ? `/broadcasts/${broadcast.id}/recording.mp4` : null }));
if (process.env.EMPTY) broadcasts.length = 0;

const people = [
  { id: 'p-ana', name: 'Ana Ruiz', role: 'participant' },
  { id: 'p-bo', name: 'Bo Lindqvist', role: 'participant' },
  { id: 'p-host', name: 'Prof. Okafor', role: 'host' },
  { id: 'p-mei', name: 'Mei', role: 'participant' },
  { id: 'p-ta', name: 'Jonas (TA)', role: 'moderator' },
];
const lines = [
  [0, 'Why do we ask for det(A − λI) = 0?'],
  [2, 'Because then A − λI is singular, so some non-zero vector is sent to zero: that is the eigenvector.'],
  [1, 'Is x_1 < x_2 assumed here?'],
  [3, 'Thank you!'],
  [4, 'The notes for today: https://example.edu/la1/notes.pdf (section 5.1)'],
  [0, 'Does this work over the complex numbers too?'],
  [2, 'Yes, and there every matrix has at least one.'],
  [3, 'So a rotation by 90° has complex eigenvalues?\nI get ±i.'],
];

class Room {
  events = [];
  sockets = new Set();
  add(author, body, at = Math.max(0, (Date.now() - origin) * 90)) {
    const event = { seq: this.events.length + 1, at, sent: Date.now(), author, kind: 'text', body };
    this.events.push(event);
    this.tell({ type: 'events', events: [event] });
    return event;
  }
  remove(author, target) {
    const text = this.events.find(({ seq }) => seq === target);
    Object.assign(text, { deleted: true, body: undefined });
    const event = { seq: this.events.length + 1, at: 0, sent: Date.now(), author, kind: 'delete', target };
    this.events.push(event);
    this.tell({ type: 'events', events: [event] });
    return event;
  }
  tell(frame) {
    for (const socket of this.sockets) socket.send(JSON.stringify(frame));
  }
  get texts() {
    return this.events.filter(({ kind, deleted }) => kind === 'text' && !deleted);
  }
}

const rooms = new Map(broadcasts.map(({ id }) => [id, new Room()]));
for (let i = 0; i < 8 && broadcasts.length; i += 1) {
  const [who, body] = lines[i];
  rooms.get('optics').add(people[who], body, (2 + i * 5) * 90_000);
  if (i < 5) rooms.get('linear-algebra').add(people[who], body, 0);
}
let said = 0;
setInterval(() => {
  const [who, body] = lines[said++ % lines.length];
  rooms.get('linear-algebra')?.add(people[who], body);
}, Number(process.env.EVERY ?? 4_000));

const json = (response, status, body) => response.writeHead(status, { 'Content-Type': 'application/json' }).end(JSON.stringify(body));
const problem = (response, status, detail) => response.writeHead(status, { 'Content-Type': 'application/problem+json' }).end(JSON.stringify({ type: 'about:blank', title: 'Problem', status, detail }));
const TYPES = { '.m3u8': 'application/vnd.apple.mpegurl', '.m4s': 'video/mp4', '.mp4': 'video/mp4', '.html': 'text/html', '.js': 'text/javascript', '.css': 'text/css', '.svg': 'image/svg+xml' };
function file(response, root, path) {
  const full = normalize(join(root, path));
  try {
    const body = readFileSync(full);
    response.writeHead(200, { 'Content-Type': TYPES[extname(full)] ?? 'application/octet-stream', 'Cache-Control': 'no-store' }).end(body);
  } catch {
    problem(response, 404, `no ${path}`);
  }
}

const server = createServer((request, response) => {
  const { pathname, searchParams } = new URL(request.url, 'http://mock');
  const [, first, second, third, fourth, fifth] = pathname.split('/');
  if (first === 'api') {
    if (!fourth) return json(response, 200, { broadcasts });
    const broadcast = broadcasts.find(({ id }) => id === fourth);
    if (!broadcast) return problem(response, 404, 'There is no such broadcast.');
    if (fifth === 'guests') {
      let body = '';
      request.on('data', (chunk) => (body += chunk)).on('end', () => json(response, 201, { token: `participant.${JSON.parse(body).name}`, name: JSON.parse(body).name }));
      return;
    }
    if (fifth === 'end') {
      Object.assign(broadcast, { state: 'ended', duration: (Date.now() - origin) * 90 });
      rooms.get(fourth).tell({ type: 'line', state: 'ended', origin, duration: broadcast.duration });
    }
    return json(response, 200, broadcast);
  }
  if (first === 'broadcasts' && third === 'chat') return replay(response, rooms.get(second), fourth);
  if (first === 'broadcasts') return file(response, media, second === 'linear-algebra' ? `live/${[third, fourth].filter(Boolean).join('/')}` : `vod/${[third, fourth].filter(Boolean).join('/')}`);
  if (first === 'rooms' && third === 'messages') {
    const [from, to] = [Number(searchParams.get('from')), Number(searchParams.get('to'))];
    return json(response, 200, { epoch: 'mock', events: rooms.get(second).events.filter(({ seq }) => seq >= from && seq <= to) });
  }
  if (first === 'whip') return problem(response, 503, 'The stand-in takes no publishers.');
  file(response, dist, first === 'watch' || first === 'studio' ? `${first}.html` : pathname === '/' ? 'index.html' : pathname);
});

function replay(response, room, name) {
  const chunks = [...new Set(room.texts.map(({ at }) => Math.floor(at / WINDOW)))].map((n) => {
    const events = room.texts.filter(({ at }) => Math.floor(at / WINDOW) === n).sort((a, b) => a.at - b.at || a.seq - b.seq);
    return { n, name: `${n}.${events.length}.json`, count: events.length, events };
  });
  if (name === 'index.json') return json(response, 200, { v: 1, epoch: 'mock', window: WINDOW, chunks: chunks.map(({ n, name, count }) => ({ n, name, count })) });
  const chunk = chunks.find((one) => one.name === name);
  return chunk ? json(response, 200, { v: 1, n: chunk.n, from: chunk.n * WINDOW, to: (chunk.n + 1) * WINDOW, events: chunk.events }) : problem(response, 404, 'no such chunk');
}

new WebSocketServer({ server }).on('connection', (socket, request) => {
  const id = request.url.split('/')[2];
  const room = rooms.get(id);
  if (!room) return socket.close(4004);
  const broadcast = broadcasts.find((one) => one.id === id);
  let you = { id: 'viewer', name: '', role: 'viewer' };
  const send = (frame) => socket.send(JSON.stringify(frame));
  socket.on('message', (data) => {
    const frame = JSON.parse(data);
    if (frame.type === 'join') {
      const [role, name] = (frame.token ?? '').split('.');
      if (role) you = { id: `t-${name}`, name, role };
      const events = room.events.filter(({ seq }) => seq > (frame.resume?.seq ?? 0));
      room.sockets.add(socket);
      send({ type: 'joined', epoch: 'mock', seq: room.events.length, you, now: Date.now(), line: broadcast, limits: { body: 200 }, events, resumed: Boolean(frame.resume) });
      return send({ type: 'presence', count: 41 + room.sockets.size });
    }
    if (frame.type === 'ping') return send({ type: 'pong', now: Date.now() });
    if (frame.type === 'delete') return send({ type: 'ack', ref: frame.ref, ...room.remove(you, frame.seq) });
    if (frame.type !== 'say') return undefined;
    if (/slow/.test(frame.body)) return send({ type: 'refused', ref: frame.ref, code: 'rate', message: 'You are writing faster than the room allows.', retry_after_ms: 6000 });
    const { seq, at } = room.add(you, frame.body, frame.playing === null ? undefined : Math.max(0, Math.round((frame.playing - origin) * 90)));
    return send({ type: 'ack', ref: frame.ref, seq, at });
  });
  socket.on('close', () => room.sockets.delete(socket));
});

/** Two rungs and sound; `live` in real time, `vod` at once. */
function picture(folder, live) {
  const rung = (i, height, rate) => [`-filter:v:${i}`, `scale=-2:${height}`, `-b:v:${i}`, rate];
  const source = `testsrc2=size=1280x720:rate=15`;
  const args = ['-loglevel', 'error', ...(live ? ['-re'] : []), '-f', 'lavfi', '-i', source, ...(live ? ['-re'] : []), '-f', 'lavfi', '-i', 'sine=frequency=330:beep_factor=3', ...(live ? [] : ['-t', '60']),
    '-map', '0:v', '-map', '0:v', '-map', '1:a', ...rung(0, 540, '900k'), ...rung(1, 270, '250k'), '-c:v', 'libx264', '-preset', 'ultrafast', '-pix_fmt', 'yuv420p', '-g', '30', '-c:a', 'aac',
    '-f', 'hls', '-hls_time', '2', '-hls_playlist_type', live ? 'event' : 'vod', '-hls_segment_type', 'fmp4', '-hls_flags', 'program_date_time+independent_segments',
    '-var_stream_map', 'v:0,agroup:a,name:540p v:1,agroup:a,name:270p a:0,agroup:a,default:yes,name:audio', '-master_pl_name', 'index.m3u8', '-hls_fmp4_init_filename', 'init.mp4',
    '-hls_segment_filename', `${folder}/%v/%d.m4s`, `${folder}/%v/index.m3u8`];
  const process_ = spawn('ffmpeg', args, { stdio: ['ignore', 'inherit', 'inherit'] });
  process.on('exit', () => process_.kill());
}
picture(join(media, 'live'), true);
picture(join(media, 'vod'), false);
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => process.exit());
server.listen(PORT, '127.0.0.1', () => console.log(`a stand-in for Lectern: http://127.0.0.1:${PORT}`));
