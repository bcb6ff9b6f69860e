/** A UDP path that can be slow or cut: datagrams go through it in both directions. */
import { createSocket } from 'node:dgram';
import { once } from 'node:events';

export class Relay {
  /** Milliseconds that datagrams towards the server take. */
  delay = 0;
  /** Nothing gets through. */
  cut = false;

  /** Where the server listens; before that is known, nothing gets through. */
  serverPort = 0;

  static async open() {
    const relay = new Relay();
    relay.front.bind(0, '127.0.0.1');
    await once(relay.front, 'listening');
    relay.port = relay.front.address().port;
    return relay;
  }

  /** @private */
  constructor() {
    this.front = createSocket('udp4');
    /** @type {Map<string, import('node:dgram').Socket>} a socket towards the server for each peer */
    this.backs = new Map();
    this.front.on('message', (datagram, peer) => this.#up(datagram, peer));
  }

  #up(datagram, peer) {
    const back = this.#back(peer);
    this.#after(this.delay, () => back.send(datagram, this.serverPort, '127.0.0.1'));
  }

  #back(peer) {
    const key = `${peer.address}:${peer.port}`;
    if (!this.backs.has(key)) {
      const back = createSocket('udp4');
      back.on('message', (datagram) => this.#after(0, () => this.front.send(datagram, peer.port, peer.address)));
      this.backs.set(key, back);
    }
    return this.backs.get(key);
  }

  #after(delay, send) {
    if (this.cut || this.closed || !this.serverPort) return;
    if (delay) setTimeout(() => this.closed || send(), delay);
    else send();
  }

  close() {
    this.closed = true;
    this.front.close();
    for (const back of this.backs.values()) back.close();
  }
}
