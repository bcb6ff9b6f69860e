/** A WHIP endpoint whose publishers reach the server through a relay, whoever they are. */
import { createServer } from 'node:http';
import { once } from 'node:events';
import { Relay } from './relay.mjs';

const CANDIDATES = /a=(candidate|end-of-candidates).*\r\n/g;
const PORT = /(a=candidate:(?:\S+ ){5})(\d+)/g;

export class BadPath {
  /** @param {string} server its URL @param {{seed?: number}} [options] */
  static async open(server, options) {
    const path = new BadPath(server);
    path.relay = await Relay.open(options);
    path.http = createServer((request, response) => path.#pass(request, response)).listen(0, '127.0.0.1');
    await once(path.http, 'listening');
    path.url = `http://127.0.0.1:${path.http.address().port}`;
    return path;
  }

  /** @private */
  constructor(server) {
    this.server = server;
  }

  /** The offer names no other way to the publisher, the answer only the relay. */
  async #pass(request, response) {
    const { host: _, 'content-length': __, connection: ___, 'transfer-encoding': ____, ...headers } = request.headers;
    const chunks = [];
    for await (const chunk of request) chunks.push(chunk);
    const body = Buffer.concat(chunks).toString().replace(CANDIDATES, '');
    const { method } = request;
    // What is trickled would be another way.
    if (method === 'PATCH') return void response.writeHead(204, { 'access-control-allow-origin': '*' }).end();
    const answered = await fetch(this.server + request.url, { method, headers, ...(body && { body }) });
    const text = await answered.text();
    const port = /a=candidate:(?:\S+ ){5}(\d+)/.exec(text)?.[1];
    if (port) this.relay.serverPort = Number(port);
    const { 'content-length': _____, ...more } = Object.fromEntries(answered.headers);
    response.writeHead(answered.status, more).end(text.replace(PORT, `$1${this.relay.port}`));
  }

  close() {
    this.relay.close();
    this.http.close();
    this.http.closeAllConnections();
  }
}
