/** A TCP path to a server that can be far away, narrow, cut, or without a server at its end. */
import { connect, createServer } from 'node:net';
import { once } from 'node:events';

/** Bytes on their way on one connection before its sender has to wait: a router's queue. */
const QUEUE_BYTES = 64 << 10;
/** So that a narrow path is shared by its connections packet by packet. */
const PACKET_BYTES = 1_400;

export class SlowHttp {
  /** Half a round trip, ms. */
  delay = 0;
  /** Towards the browser, all connections together, kbit/s. */
  kbps = Infinity;
  #cut = false;
  #refusing = false;
  #freeAt = 0;
  /** @type {Set<import('node:net').Socket>} */ #sockets = new Set();
  /** @type {Set<() => void>} */ #waiting = new Set();

  /** @param {string} url of the server */
  static async open(url) {
    const relay = new SlowHttp(new URL(url));
    relay.server.listen(0, '127.0.0.1');
    await once(relay.server, 'listening');
    relay.url = `http://127.0.0.1:${/** @type {import('node:net').AddressInfo} */ (relay.server.address()).port}`;
    return relay;
  }

  /** @private */
  constructor(target) {
    this.target = target;
    this.server = createServer((front) => this.#join(front));
  }

  /** Nothing gets through, nothing is lost: as in a tunnel. */
  set cut(cut) {
    this.#cut = cut;
    if (cut) return;
    for (const go of this.#waiting) go();
    this.#waiting.clear();
  }

  /** As if the server were gone: connections break, new ones are broken at once. */
  set refusing(refusing) {
    this.#refusing = refusing;
    if (refusing) for (const socket of this.#sockets) socket.resetAndDestroy();
  }

  #join(front) {
    if (this.#refusing) return front.resetAndDestroy();
    const back = connect(Number(this.target.port), this.target.hostname);
    for (const [socket, other] of [[front, back], [back, front]]) {
      socket.setNoDelay();
      this.#sockets.add(socket);
      socket.on('error', () => other.destroy());
      socket.on('close', () => this.#sockets.delete(socket) && other.destroy());
    }
    void this.#carry(front, back, () => Infinity);
    void this.#carry(back, front, () => this.kbps);
  }

  /** In order; each packet leaves when the path is free, and is there half a round trip later. */
  async #carry(from, to, kbps) {
    let [queued, last] = [0, Promise.resolve()];
    const arrive = (packet, at) => {
      last = Promise.all([last, sleepUntil(at)]).then(() => this.#open()).then(() => to.destroyed || to.write(packet)).then(() => {
        queued -= packet.length;
        if (queued < QUEUE_BYTES) from.resume();
      });
    };
    from.on('data', (data) => {
      for (let start = 0; start < data.length; start += PACKET_BYTES) {
        const packet = data.subarray(start, start + PACKET_BYTES);
        queued += packet.length;
        arrive(packet, this.#departure(packet.length, kbps()) + this.delay);
      }
      if (queued >= QUEUE_BYTES) from.pause();
    });
    await once(from, 'end').catch(() => undefined);
    await last;
    to.end();
  }

  /** @returns {number} when the packet is through the narrow place */
  #departure(bytes, kbps) {
    const now = performance.now();
    if (kbps === Infinity) return now;
    this.#freeAt = Math.max(now, this.#freeAt) + (bytes * 8) / kbps;
    return this.#freeAt;
  }

  #open() {
    return this.#cut ? new Promise((resolve) => this.#waiting.add(() => resolve(undefined))) : undefined;
  }

  close() {
    this.server.close();
    for (const socket of this.#sockets) socket.destroy();
  }
}

const sleepUntil = (at) => {
  const ms = at - performance.now();
  return ms > 0 ? new Promise((resolve) => setTimeout(resolve, ms)) : undefined;
};
