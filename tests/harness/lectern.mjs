/** A running Lectern: its own data folder, its own ports, its log in `out/`. */
import { execFile, spawn } from 'node:child_process';
import { createWriteStream, existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { once } from 'node:events';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { Final, until } from './until.mjs';

const run = promisify(execFile);
const TESTS = join(import.meta.dirname, '..');
export const OUT = join(TESTS, 'out');
export const BINARY = process.env.TEST_LECTERN ?? join(TESTS, '../target/debug/lectern');
/** Whatever the caller's shell says to its own Lectern is not for this one. */
const ENVIRONMENT = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('LECTERN_')));
/** Longer than any clean shutdown may take: segments closed, rooms flushed. */
const SHUTDOWN_MS = 20_000;

/**
 * A ladder for two shared cores, where the story is not about the picture's size; and the line delay of a long path:
 * a publisher, an encoder and a browser that share two cores are not on time within the 150 ms of the default.
 */
export const SMALL_LADDER = `
[transcoder]
line_delay_ms = 400
rungs = [
  { name = "360p", height = 360, bitrate_kbps = 800 },
  { name = "180p", height = 180, bitrate_kbps = 250 },
]
`;

export class Lectern {
  /** The server's address, without a slash at the end. */
  url = '';
  /** @type {import('node:child_process').ChildProcess} */ process;

  /**
   * @param {{story: string, config?: string, data?: string, args?: string[], env?: Record<string, string>, udp?: string, listen?: string}} options
   *   `config`: sections of the configuration file beside `[ingest]`; `data`: a folder to go on with; `env`: more of it;
   *   `udp`: where media arrive; `listen`: an address that others know beforehand
   */
  static async start(options) {
    const lectern = new Lectern(options);
    await lectern.#listen(options.listen);
    return lectern;
  }

  /** @private */
  constructor({ story, config = SMALL_LADDER, data, args = [], env = {}, udp = '127.0.0.1:0' }) {
    mkdirSync(OUT, { recursive: true });
    this.data = data ?? mkdtempSync(join(tmpdir(), `lectern-${story}-`));
    this.configFile = join(this.data, 'lectern.toml');
    this.log = join(OUT, `${story}.log`);
    this.args = args;
    this.env = { ...ENVIRONMENT, ...env };
    writeFileSync(this.configFile, `[ingest]\nudp = "${udp}"\n${config}`);
  }

  async #listen(listen = '127.0.0.1:0') {
    if (!existsSync(BINARY)) throw new Error(`no binary at ${BINARY}: build it first (cargo build), or name another with TEST_LECTERN`);
    const args = ['serve', '--config', this.configFile, '--listen', listen, '--data', this.data, ...this.args];
    this.process = spawn(BINARY, args, { stdio: ['ignore', 'pipe', 'pipe'], env: this.env });
    // A story that is broken off leaves nothing behind.
    process.once('exit', () => this.process.kill('SIGKILL'));
    const log = createWriteStream(this.log, { flags: 'a' });
    let text = '';
    const take = (chunk) => {
      log.write(chunk);
      if (!this.url) text += chunk;
    };
    this.process.stdout.on('data', take);
    this.process.stderr.on('data', take);
    this.url = await until('the server says where it listens', () => {
      if (this.process.exitCode !== null) throw new Final(`lectern left with ${this.process.exitCode}: ${text}`);
      return /listening on (https?:\/\/[\d.:]+)/.exec(text)?.[1];
    });
    await until('the server is ready', async () => (await fetch(`${this.url}/readyz`)).ok);
  }

  /** A clean stop; the data stay. @returns {Promise<number | null>} the exit code */
  async stop() {
    return this.#end('SIGTERM');
  }

  async kill9() {
    return this.#end('SIGKILL');
  }

  async #end(signal) {
    if (this.process.exitCode !== null || this.process.signalCode !== null) return this.process.exitCode;
    const gone = once(this.process, 'exit');
    this.process.kill(signal);
    const stuck = setTimeout(() => this.process.kill('SIGKILL'), SHUTDOWN_MS);
    await gone;
    clearTimeout(stuck);
    return this.process.exitCode;
  }

  /** After its death: the same data, configuration and address, a new process. */
  async rise() {
    const { host } = new URL(this.url);
    this.url = '';
    await this.#listen(host);
  }

  /** The same data and configuration, a new process (and new ports). @returns {Promise<number | null>} the old one's exit code */
  async restart() {
    const code = await this.stop();
    this.url = '';
    await this.#listen();
    return code;
  }

  /** Stops and forgets the data. */
  async discard() {
    await this.stop();
    rmSync(this.data, { recursive: true, force: true });
  }

  /** @param {string | null} broadcast null: every one @param {string} role @param {{name?: string, ttl?: string, source?: string}} [options] */
  async token(broadcast, role, { name = role, ttl, source } = {}) {
    const args = ['token', '--role', role, '--name', name, '--data', this.data, '--config', this.configFile];
    args.push(...(broadcast ? ['--broadcast', broadcast] : ['--all']), ...(ttl ? ['--ttl', ttl] : []), ...(source ? ['--source', source] : []));
    return (await run(BINARY, args, { env: ENVIRONMENT })).stdout.trim();
  }

  /** Makes a broadcast through the API. @returns the broadcast with its host `token` */
  async create(id, { title = id, ...wanted } = {}) {
    const operator = await this.token(null, 'operator');
    const response = await this.api('POST', '/broadcasts', { token: operator, body: { id, title, ...wanted } });
    if (response.status !== 201) throw new Error(`create ${id}: ${response.status} ${JSON.stringify(response.body)}`);
    return response.body;
  }

  async broadcast(id) {
    return (await this.api('GET', `/broadcasts/${id}`)).body;
  }

  async end(id, token) {
    const response = await this.api('POST', `/broadcasts/${id}/end`, { token });
    if (response.status >= 300) throw new Error(`end ${id}: ${response.status} ${JSON.stringify(response.body)}`);
    return response.body;
  }

  /** @param {string} method @param {string} path under /api/v1 @param {{token?: string, body?: unknown}} [options] */
  async api(method, path, { token, body } = {}) {
    const headers = { ...(token && { Authorization: `Bearer ${token}` }), ...(body !== undefined && { 'Content-Type': 'application/json' }) };
    const response = await fetch(`${this.url}/api/v1${path}`, { method, headers, body: body === undefined ? undefined : JSON.stringify(body) });
    return answer(response);
  }

  async get(path, init) {
    return fetch(this.url + path, init);
  }

  /** The sum of a metric over all its labels that match; 0 where it was never counted. */
  async metric(name, labels = '') {
    const text = await (await this.get('/metrics')).text();
    const lines = text.split('\n').filter((line) => line.startsWith(name) && /[{ ]/.test(line[name.length]) && line.includes(labels));
    return lines.reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' '))), 0);
  }

  /** Transcoder processes below the server. @returns {number[]} */
  children() {
    return childrenOf(this.process.pid).filter((pid) => commandOf(pid).includes('transcode'));
  }

  /** The process that makes a broadcast's line, by the server's log: a spare one stands beside it. */
  transcoderOf(id) {
    // eslint-disable-next-line no-control-regex
    const log = readFileSync(this.log, 'utf8').replace(/\x1b\[[\d;]*m/g, '');
    const started = [...log.matchAll(/transcoder process started.*broadcast=(\S+) pid=(\d+)/g)].filter(([, of]) => of === id);
    const pid = Number(started.at(-1)?.[2]);
    if (!this.children().includes(pid)) throw new Error(`no process ${pid} makes the line of ${id}`);
    return pid;
  }

  /** Resident memory of a process. @returns {number} MiB */
  static memory(pid) {
    return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))[1]) / 1024;
  }

  /** Processor time a process has used. @returns {number} seconds */
  static cpu(pid) {
    const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').replace(/^.*\) /, '').split(' ');
    const TICKS_PER_SECOND = 100; // USER_HZ on Linux
    return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
  }
}

/** A response read to its end: JSON where it is JSON. */
export async function answer(response) {
  const text = await response.text();
  const json = /json/.test(response.headers.get('content-type') ?? '');
  return { status: response.status, headers: response.headers, body: json && text ? JSON.parse(text) : text };
}

function childrenOf(pid) {
  return readdirSync(`/proc/${pid}/task`)
    .flatMap((task) => readFileSync(`/proc/${pid}/task/${task}/children`, 'utf8').trim().split(/\s+/))
    .filter(Boolean)
    .map(Number);
}

function commandOf(pid) {
  return existsSync(`/proc/${pid}/cmdline`) ? readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0') : [];
}
