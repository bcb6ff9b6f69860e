/** A proxy as some schools have it: it passes requests and answers on, and lets no WebSocket through. */
import { createServer, request } from 'node:http';
import { connect } from 'node:net';
import { once } from 'node:events';

export class NoUpgrade {
  /** WebSockets it let nobody open. */
  refused = 0;
  /** It lets them through after all. */
  lets = false;
  /** What it was asked for: methods and paths. @type {string[]} */
  asked = [];
  /** @type {Set<import('node:net').Socket>} */ #sockets = new Set();

  /** @param {string} url of the server */
  static async open(url) {
    const proxy = new NoUpgrade(new URL(url));
    proxy.server.listen(0, '127.0.0.1');
    await once(proxy.server, 'listening');
    proxy.url = `http://127.0.0.1:${/** @type {import('node:net').AddressInfo} */ (proxy.server.address()).port}`;
    return proxy;
  }

  /** @private */
  constructor(target) {
    this.target = target;
    this.server = createServer((from, to) => this.#pass(from, to));
    this.server.on('upgrade', (from, socket, head) => this.#upgrade(from, socket, head));
    this.server.on('connection', (socket) => {
      this.#sockets.add(socket);
      socket.on('close', () => this.#sockets.delete(socket));
      socket.on('error', () => socket.destroy());
    });
  }

  /** Breaks every connection that there is. */
  breakAll() {
    for (const socket of this.#sockets) socket.resetAndDestroy();
  }

  #pass(from, to) {
    this.asked.push(`${from.method} ${from.url}`);
    const { hostname, port } = this.target;
    const onward = request({ hostname, port, method: from.method, path: from.url, headers: from.headers }, (answer) => {
      to.writeHead(answer.statusCode, answer.headers);
      answer.pipe(to);
      answer.on('error', () => to.destroy());
    });
    onward.on('error', () => to.destroy());
    to.on('close', () => onward.destroy());
    from.pipe(onward);
  }

  #upgrade(from, socket, head) {
    if (!this.lets) {
      this.refused += 1;
      socket.end('HTTP/1.1 403 Forbidden\r\nContent-Type: text/html\r\nConnection: close\r\n\r\nnot here');
      return;
    }
    const back = connect(Number(this.target.port), this.target.hostname);
    const lines = from.rawHeaders.flatMap((name, n, all) => (n % 2 === 0 ? [`${name}: ${all[n + 1]}`] : []));
    back.write(`GET ${from.url} HTTP/1.1\r\n${lines.join('\r\n')}\r\n\r\n`);
    back.write(head);
    socket.pipe(back).pipe(socket);
    for (const [one, other] of [[socket, back], [back, socket]]) {
      one.on('error', () => other.destroy());
      one.on('close', () => other.destroy());
    }
  }

  close() {
    this.breakAll();
    this.server.close();
  }
}
