// One node of Socket.IO with its Redis adapter, doing a room's work: what a host says goes to everyone, on every node,
// gathered for a tick, and is acknowledged. Set as its guides recommend for many connections: WebSockets alone, no
// compression, a message serialised once for all (the adapter's own doing).
//
// usage: node server.mjs REDIS_PORT TICK_MS

import { createServer } from 'node:http';
import { createAdapter } from '@socket.io/redis-adapter';
import { createClient } from 'redis';
import { Server } from 'socket.io';

const [redisPort, tickMs] = process.argv.slice(2).map(Number);

const publisher = createClient({ url: `redis://127.0.0.1:${redisPort}` });
const subscriber = publisher.duplicate();
for (const client of [publisher, subscriber]) {
  client.on('error', (error) => {
    console.error(String(error));
    process.exit(1);
  });
}
await Promise.all([publisher.connect(), subscriber.connect()]);

const http = createServer();
const io = new Server(http, {
  adapter: createAdapter(publisher, subscriber),
  transports: ['websocket'],
  perMessageDeflate: false,
  httpCompression: false,
  serveClient: false,
});

// The first event of a quiet room at once, then one frame a tick.
let seq = 0;
let waiting = [];
let toldAt = 0;
let timer = null;

function tell() {
  timer = null;
  toldAt = performance.now();
  io.emit('events', { type: 'events', from: waiting[0].seq, to: seq, events: waiting });
  waiting = [];
}

function publish(body) {
  const author = { id: 'bench-host', name: 'Host', role: 'host' };
  waiting.push({ seq: ++seq, at: 0, sent: Date.now(), author, kind: 'text', body });
  timer ??= setTimeout(tell, Math.max(0, toldAt + tickMs - performance.now()));
}

// As its guide to memory advises: the request of the handshake is not needed any more.
io.engine.on('connection', (socket) => {
  socket.request = null;
});

io.on('connection', (socket) => {
  socket.on('say', ({ body }, ack) => {
    publish(body);
    ack({ type: 'ack', seq });
  });
});

http.listen({ port: 0, host: '0.0.0.0', backlog: 4096 }, () => {
  console.log(`listening on http://0.0.0.0:${http.address().port}`);
});
