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
import { Room, upload } from './mock-room.mjs';

const PORT = Number(process.env.PORT ?? 8080);
const WINDOW = 2_880_000;
/** `role.name`, as simple as a token can be. */
const bearer = (token) => {
  const [role, name] = (token ?? '').split('.');
  // A co-host's is made as the server's: their page reads it.
  if (role === 'mock') return { id: `t-${name}`, name: JSON.parse(Buffer.from(name, 'base64url')).name, role: 'participant' };
  return role ? { id: `t-${name}`, name, role } : { id: 'viewer', name: '', role: 'viewer' };
};
const media = mkdtempSync(join(tmpdir(), 'lectern-mock-'));
const dist = join(import.meta.dirname, '../dist');
const origin = Date.now();
const HOUR_MS = 3_600_000;

const broadcasts = [
  { id: 'linear-algebra', title: 'Linear Algebra I: Eigenvalues and eigenvectors', state: 'live', on_air: true, origin, duration: null },
  { id: 'topology', title: 'Point-set Topology', state: 'waiting', on_air: false, origin: null, duration: null },
  { id: 'optics', title: 'Wave Optics, Lecture 7', state: 'ended', on_air: false, origin, duration: 60 * 90_000 },
  { id: 'history', title: 'The Printing Press and the University', state: 'ended', on_air: false, origin: origin - 90 * HOUR_MS, duration: 4_980 * 90_000 },
  ...['moderated', 'questions', 'reactions', 'silent', 'slow'].map((id) => ({ id, title: `A room that is ${id}`, state: 'live', on_air: true, origin, duration: null })),
].map((broadcast) => ({ ...broadcast, guests: true, hls: `/broadcasts/${broadcast.id}/index.m3u8`, room: `/rooms/${broadcast.id}`, chat: `/broadcasts/${broadcast.id}/chat/index.json`, recording: broadcast.state === 'ended' ? `/broadcasts/${broadcast.id}/recording.mp4` : null }));
if (process.env.EMPTY) broadcasts.length = 0;

/** Who is on air and how they are seen, by broadcast. */
const stages = new Map();
const stageOf = (id) => {
  const on = (source, name, video, audio, minutes) => ({ source, name, video, audio, silent: false, since: Date.now() - minutes * 60_000 });
  const known = stages.get(id) ?? {
    layout: { arrangement: 'picture-in-picture', sources: ['screen', 'main'] },
    on_air: id === 'topology' ? [] : [on('main', 'Prof. Okafor', 'h264', 'opus', 42), on('screen', 'Prof. Okafor', 'h264', null, 31), on('ada', 'Ada Lovelace', 'vp8', 'opus', 3)],
    cohosts: id === 'topology' ? [] : ['ada', 'bo'],
  };
  stages.set(id, known);
  return known;
};
const cohostToken = (name) => {
  const source = name.toLowerCase().replace(/[^a-z0-9]+/g, '-');
  return { name, source, token: `mock.${Buffer.from(JSON.stringify({ role: 'cohost', source, name })).toString('base64url')}.mock` };
};

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

const rooms = new Map(broadcasts.map((broadcast) => [broadcast.id, new Room(() => broadcast)]));
const say = (room, [who, body], more = {}, at) => room.add({ author: people[who], kind: 'text', body, ...more }, undefined, at);
for (let i = 0; i < 8 && broadcasts.length; i += 1) {
  say(rooms.get('optics'), lines[i], {}, (2 + i * 5) * 90_000);
  if (i < 5) for (const { id, state } of broadcasts) if (state === 'live') say(rooms.get(id), lines[i], {}, 0);
}
if (broadcasts.length) furnish();
let said = 0;
const every = Number(process.env.EVERY ?? 4_000);
if (every > 0) setInterval(() => say(rooms.get('linear-algebra'), lines[said++ % lines.length]), every);

/** One room of everything, and one of each mode. */
function furnish() {
  const [ana, bo, host, mei, ta] = people;
  for (const id of ['linear-algebra', 'optics']) {
    const room = rooms.get(id);
    const at = id === 'optics' ? (s) => s * 90_000 : () => 0;
    const votes = (seq, n, choice = () => [0]) => {
      for (let i = 0; i < n; i += 1) room.ask({ id: `voter-${i}`, role: 'participant' }, { type: 'vote', ref: 'v', target: seq, choices: choice(i) });
    };
    const ask = (author, body, votes_, s) => votes(room.add({ author, kind: 'text', body, question: true }, undefined, at(s)).seq, votes_);
    ask(mei, 'Why is the characteristic polynomial always of degree n?', 3, 4);
    ask(bo, 'Do similar matrices have the same eigenvectors, or only the same eigenvalues?', 12, 6);
    ask(ana, 'Will this be in the exam?', 7, 9);
    const answered = room.state.questions[2].message.seq;
    room.add({ author: host, kind: 'question', target: answered, state: 'answered' }, undefined, at(14));
    const notes = say(room, [4, 'The notes for today: https://example.edu/la1/notes.pdf (section 5.1)'], {}, at(10));
    room.add({ author: ta, kind: 'pin', target: notes.seq, message: notes }, undefined, at(11));
    const quiz = room.add({ author: host, kind: 'poll', question: 'Which of these is an eigenvalue of the identity?', options: ['0', '1', '−1', 'Every number'], multiple: false, quiz: true, results: 'closed', closes: null }, undefined, at(15));
    room.quizzes.set(quiz.seq, [1]);
    votes(quiz.seq, 31, (i) => [[1, 1, 3, 1, 0][i % 5]]);
    room.add({ author: host, kind: 'close', ...room.tally(quiz.seq), right: [1] }, undefined, at(25));
    const poll = room.add({ author: host, kind: 'poll', question: 'How is the pace?', options: ['Too slow', 'Just right', 'Too fast'], multiple: false, quiz: false, results: 'live', closes: null }, undefined, at(30));
    votes(poll.seq, 24, (i) => [[1, 1, 2, 1, 1, 0][i % 6]]);
    room.add({ author: mei, kind: 'hand', raised: true }, undefined, at(32));
    room.add({ author: bo, kind: 'hand', raised: true }, undefined, at(33));
    if (id === 'optics') continue;
    room.add({ author: bo, kind: 'text', body: 'Buy cheap diplomas at https://diplomas.example', held: 'link' }, (you) => you.role === 'host' || you.role === 'moderator');
    room.add({ author: mei, kind: 'text', body: 'Could somebody explain that in plain words? I am lost.', to: 'staff' }, (you) => you.id === mei.id || you.role === 'host' || you.role === 'moderator');
    room.add({ author: ana, kind: 'report', target: room.texts[3].seq, reason: 'Off topic' }, (you) => you.role === 'host' || you.role === 'moderator');
    room.add({ author: host, kind: 'text', body: 'Ten minutes break, we go on at 11:05.', announcement: true });
  }
  const modes = {
    moderated: { messages: 'moderated' },
    questions: { messages: 'off' },
    reactions: { messages: 'off', questions: false, private: false },
    silent: { messages: 'off', questions: false, private: false, reactions: false, hands: false },
    slow: { slow_ms: 30_000, anonymous: 'staff', uploads: 'participants' },
  };
  for (const [id, set] of Object.entries(modes)) rooms.get(id).ask(host, { type: 'settings', ref: 's', set });
  rooms.get('moderated').add({ author: bo, kind: 'text', body: 'Is this the right room for the tutorial?', held: 'moderated' }, (you) => you.role === 'host' || you.role === 'moderator' || you.id === bo.id);
}

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

function direct(request, response, id, what, source) {
  const stage = stageOf(id);
  if (request.method === 'GET') return json(response, 200, stage);
  if (request.method === 'DELETE') {
    stage.cohosts = stage.cohosts.filter((cohost) => cohost !== source);
    stage.on_air = stage.on_air.filter((one) => one.source !== source && one.source !== `${source}-screen`);
    return json(response, 200, stage);
  }
  let body = '';
  request.on('data', (chunk) => (body += chunk)).on('end', () => {
    const asked = JSON.parse(body);
    if (what === 'layout') return json(response, 200, Object.assign(stage, { layout: asked }));
    const invited = cohostToken(asked.name);
    stage.cohosts.push(invited.source);
    json(response, 201, { ...invited, studio: `/studio/${id}#token=${invited.token}` });
  });
}

const server = createServer((request, response) => {
  const { pathname, searchParams } = new URL(request.url, 'http://mock');
  const [, first, second, third, fourth, fifth, sixth] = pathname.split('/');
  if (first === 'api') {
    if (!fourth) return json(response, 200, { broadcasts });
    const broadcast = broadcasts.find(({ id }) => id === fourth);
    if (!broadcast) return problem(response, 404, 'There is no such broadcast.');
    if (fifth === 'guests') {
      let body = '';
      request.on('data', (chunk) => (body += chunk)).on('end', () => json(response, 201, { token: `participant.${JSON.parse(body).name}`, name: JSON.parse(body).name }));
      return;
    }
    if (fifth === 'layout' || fifth === 'cohosts') return direct(request, response, fourth, fifth, sixth);
    if (fifth === 'room') return manage(request, response, rooms.get(fourth), pathname.split('/').slice(6));
    if (fifth === 'end') {
      Object.assign(broadcast, { state: 'ended', duration: (Date.now() - origin) * 90 });
      rooms.get(fourth).tell({ type: 'line', state: 'ended', origin, duration: broadcast.duration });
    }
    return json(response, 200, broadcast);
  }
  if (first === 'broadcasts' && third === 'chat') return replay(response, rooms.get(second), fourth);
  if (first === 'broadcasts') return file(response, media, broadcasts.find(({ id }) => id === second)?.state === 'live' ? `live/${[third, fourth].filter(Boolean).join('/')}` : `vod/${[third, fourth].filter(Boolean).join('/')}`);
  if (first === 'rooms' && third === 'messages') {
    const [from, to] = [Number(searchParams.get('from')), Number(searchParams.get('to'))];
    return json(response, 200, { epoch: 'mock', from, to, events: rooms.get(second).page(from, to, bearer(request.headers.authorization?.slice(7))) });
  }
  if (first === 'rooms' && third === 'files') {
    let size = 0;
    const name = searchParams.get('name') ?? 'file';
    request.on('data', (chunk) => (size += chunk.length)).on('end', () => {
      const type = FILES[extname(name).toLowerCase()];
      if (type) json(response, 201, upload(name, type, size));
      else problem(response, 415, `Files of this kind are not taken: ${name}`);
    });
    return;
  }
  if (first === 'whip') return problem(response, 503, 'The stand-in takes no publishers.');
  file(response, dist, first === 'watch' || first === 'studio' ? `${first}.html` : pathname === '/' ? 'index.html' : pathname);
});

const FILES = { '.png': 'image/png', '.jpg': 'image/jpeg', '.pdf': 'application/pdf', '.txt': 'text/plain', '.csv': 'text/csv' };

function replay(response, room, name) {
  const chunks = room.chunks();
  if (name === 'index.json') return json(response, 200, { v: 2, epoch: 'mock', window: WINDOW, chunks: chunks.map(({ n, name, count }) => ({ n, name, count })) });
  const chunk = chunks.find((one) => one.name === name);
  return chunk ? json(response, 200, chunk) : problem(response, 404, 'no such chunk');
}

/** The room over REST. */
function manage(request, response, room, [what]) {
  if (what === 'export') return response.writeHead(200, { 'Content-Type': 'text/plain' }).end(room.texts.map(({ author, body }) => `${author.name}: ${body}`).join('\n'));
  if (what === 'people' && request.method === 'DELETE') return response.writeHead(204).end();
  return json(response, 200, { epoch: 'mock', seq: room.entries.length, state: room.state });
}

new WebSocketServer({ server }).on('connection', (socket, request) => {
  const room = rooms.get(request.url.split('/')[2]);
  if (!room) return socket.close(4004);
  let you = bearer();
  socket.on('message', (data) => {
    const frame = JSON.parse(data);
    if (frame.type === 'join') return room.join(socket, (you = bearer(frame.token)), frame.resume);
    const answer = frame.type === 'ping' ? { type: 'pong', now: Date.now() } : room.ask(you, frame);
    if (answer) socket.send(JSON.stringify(answer));
  });
  socket.on('close', () => room.leave(socket));
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
