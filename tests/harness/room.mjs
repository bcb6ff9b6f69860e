/** Someone in a room, over its WebSocket. */
import { once } from 'node:events';
import WebSocket from 'ws';
import { until } from './until.mjs';

export class RoomClient {
  /** Everything the server has said. @type {any[]} */
  frames = [];
  /** How the connection closed. @type {{code: number, reason: string} | null} */
  closed = null;
  #refs = 0;

  /** Connected, nothing said yet. @param {string} serverUrl @param {string} broadcast */
  static async connect(serverUrl, broadcast) {
    const client = new RoomClient(`${serverUrl.replace('http', 'ws')}/rooms/${broadcast}`);
    await once(client.socket, 'open');
    return client;
  }

  /** Connected and in the room. @param {string} serverUrl @param {string} broadcast @param {string} [token] @param {object} [resume] */
  static async join(serverUrl, broadcast, token, resume) {
    const client = await RoomClient.connect(serverUrl, broadcast);
    client.send({ type: 'join', token, resume });
    client.joined = await client.heard((frame) => frame.type === 'joined', 'joined');
    return client;
  }

  /** @private */
  constructor(url) {
    this.socket = new WebSocket(url);
    this.socket.on('message', (data, binary) => this.frames.push(binary ? { type: 'binary', data } : JSON.parse(data.toString())));
    this.socket.on('close', (code, reason) => (this.closed = { code, reason: reason.toString() }));
    this.socket.on('error', (error) => (this.error = error));
  }

  /** @param {object | string | Buffer} frame */
  send(frame, options = {}) {
    this.socket.send(typeof frame === 'string' || Buffer.isBuffer(frame) ? frame : JSON.stringify(frame), options);
  }

  /** @param {(frame: any) => boolean} matches @param {string} what @returns {Promise<any>} */
  async heard(matches, what) {
    return until(`the room says ${what}`, () => this.frames.find(matches) ?? this.#unlessClosed(), { within: 15_000, every: 20 });
  }

  #unlessClosed() {
    if (this.closed) throw new Error(`closed with ${JSON.stringify(this.closed)}`);
  }

  /** Says something; the answer is an `ack` or a `refused`. @param {string} body @param {number | null} [playing] Unix ms */
  async say(body, playing = null) {
    return this.ask({ type: 'say', body, playing });
  }

  async delete(seq) {
    return this.ask({ type: 'delete', seq });
  }

  async ask(frame) {
    const ref = `r${++this.#refs}`;
    this.send({ ...frame, ref });
    return this.heard((answer) => answer.ref === ref, `an answer to ${frame.type}`);
  }

  /** Every event so far, from the history and since. */
  get events() {
    return this.frames.flatMap(({ type, events }) => (type === 'joined' || type === 'events' ? events : []));
  }

  async event(matches, what = 'an event') {
    return until(`the room shows ${what}`, () => this.events.find(matches), { within: 15_000, every: 20 });
  }

  /** How the server ends the connection. @returns {Promise<{code: number, reason: string}>} */
  async end() {
    return until('the room closes the connection', () => this.closed, { within: 15_000, every: 20 });
  }

  leave() {
    this.socket.terminate();
  }
}
