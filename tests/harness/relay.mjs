/**
 * A UDP path as bad as one likes: datagrams go through it in both directions. What chance decides comes from a seed.
 * Its fields can be set at any time.
 */
import { createSocket } from 'node:dgram';
import { once } from 'node:events';

/** What is overtaken, or comes again, comes up to so much later. */
const OVERTAKEN_MS = 30;

export class Relay {
  /** Milliseconds that datagrams towards the server take, and those from it. */
  delay = 0;
  backDelay = 0;
  /** Up to so many milliseconds more, both ways; what is slow holds up what comes after it, as queues do. */
  jitter = 0;
  /** Shares of the datagrams, both ways: lost, overtaken by later ones, doubled. */
  loss = 0;
  overtaken = 0;
  doubled = 0;
  /** The rate towards the server, and what may wait for it there. */
  kbps = Infinity;
  queueBytes = 64 * 1024;
  /** Nothing gets through. */
  cut = false;

  /** Where the server listens; before that is known, nothing gets through. */
  serverPort = 0;

  static async open({ seed = 1 } = {}) {
    const relay = new Relay(seed);
    relay.front.bind(0, '127.0.0.1');
    await once(relay.front, 'listening');
    relay.port = relay.front.address().port;
    return relay;
  }

  /** @private */
  constructor(seed) {
    this.front = createSocket('udp4');
    /** @type {Map<string, Back>} towards the server, one for each peer */
    this.backs = new Map();
    this.random = random(seed);
    this.front.on('message', (datagram, peer) => this.#up(datagram, peer));
  }

  /** Better or worse from now on; what is not named is as good as it can be. */
  weather(path = {}) {
    const { delay = 0, backDelay = 0, jitter = 0, loss = 0, overtaken = 0, doubled = 0, kbps = Infinity, cut = false } = path;
    Object.assign(this, { delay, backDelay, jitter, loss, overtaken, doubled, kbps, cut });
  }

  /** The peers have another address from now on, as behind a NAT that forgot them; what was sent to the old ones is lost. */
  move() {
    for (const back of this.backs.values()) back.socket.close();
    this.backs.clear();
  }

  #up(datagram, peer) {
    const back = this.#back(peer);
    const takes = back.narrow.takes(datagram.length, this.kbps, this.queueBytes);
    if (takes === null) return;
    this.#after(back.up, this.delay + takes, () => back.closed || back.socket.send(datagram, this.serverPort, '127.0.0.1'));
  }

  #back(peer) {
    const key = `${peer.address}:${peer.port}`;
    if (!this.backs.has(key)) {
      const back = new Back();
      back.socket.on('message', (datagram) => this.#after(back.down, this.backDelay, () => this.front.send(datagram, peer.port, peer.address)));
      this.backs.set(key, back);
    }
    return this.backs.get(key);
  }

  #after(way, delay, send) {
    if (this.cut || this.closed || !this.serverPort || this.#happens(this.loss)) return;
    const unlessClosed = () => this.closed || send();
    const overtaken = this.#happens(this.overtaken);
    way.send(delay + this.random() * this.jitter, unlessClosed, overtaken ? this.random() * OVERTAKEN_MS : null);
    if (this.#happens(this.doubled)) way.send(delay, unlessClosed, this.random() * OVERTAKEN_MS);
  }

  #happens(share) {
    return share > 0 && this.random() < share;
  }

  close() {
    this.closed = true;
    this.front.close();
    for (const back of this.backs.values()) back.close();
  }
}

class Back {
  constructor() {
    this.socket = createSocket('udp4');
    this.socket.on('close', () => (this.closed = true));
    this.narrow = new Narrow();
    this.up = new Way();
    this.down = new Way();
  }

  close() {
    if (!this.closed) this.socket.close();
  }
}

/** The place where a path is narrow, and the queue before it. */
class Narrow {
  free = 0;

  /** Milliseconds until it is through. @returns {number | null} null where it does not fit into the queue */
  takes(bytes, kbps, queueBytes) {
    if (kbps === Infinity) return 0;
    const now = performance.now();
    if (this.free - now > (queueBytes * 8) / kbps) return null;
    this.free = Math.max(this.free, now) + (bytes * 8) / kbps;
    return this.free - now;
  }
}

/** One direction: it keeps the order, unless it is told otherwise. */
class Way {
  last = 0;
  /** @type {{due: number, send: () => void}[]} */
  waiting = [];

  /** @param {number} delay ms @param {() => void} send @param {number | null} overtaken ms more, while others go on */
  send(delay, send, overtaken) {
    const now = performance.now();
    let due = Math.max(this.last, now + delay);
    if (overtaken === null) this.last = due;
    else due += overtaken;
    if (due <= now && this.waiting.length === 0) return send();
    let place = this.waiting.length;
    while (place > 0 && this.waiting[place - 1].due > due) place--;
    this.waiting.splice(place, 0, { due, send });
    this.#wake();
  }

  #wake() {
    clearTimeout(this.timer);
    if (this.waiting.length > 0) this.timer = setTimeout(() => this.#run(), Math.max(1, this.waiting[0].due - performance.now()));
  }

  #run() {
    const now = performance.now();
    while (this.waiting.length > 0 && this.waiting[0].due <= now) this.waiting.shift().send();
    this.#wake();
  }
}

/** Mulberry32: the same numbers for the same seed. */
function random(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}
