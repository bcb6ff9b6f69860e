/** Publishers that are programs of their own: the OBS stand-in, aiortc, `lectern publish`. */
import { spawn } from 'node:child_process';
import { createWriteStream, mkdirSync } from 'node:fs';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { BINARY, OUT } from '../lectern.mjs';
import { Final, until } from '../until.mjs';

const TESTS = join(import.meta.dirname, '../..');
const PYTHON = join(TESTS, '.venv/bin/python');

export class ProcessPublisher {
  /** What it has said so far: one object per JSON line. @type {{event: string, [more: string]: any}[]} */
  events = [];

  /** @param {string} story @param {{url: string, token: string, seconds?: number, width?: number, height?: number, port?: number}} options */
  static obs(story, options) {
    return new ProcessPublisher(`${story}-obs`, process.execPath, [join(import.meta.dirname, 'obs.mjs'), JSON.stringify(options)]);
  }

  /** @param {string} story @param {{url: string, token: string, width?: number, height?: number}} options */
  static aiortc(story, { url, token, width = 640, height = 360 }) {
    const script = join(import.meta.dirname, 'aiortc_publisher.py');
    return new ProcessPublisher(`${story}-aiortc`, PYTHON, [script, url, token, String(width), String(height)]);
  }

  /** `lectern publish`. @param {string} story @param {{url: string, token: string, args?: string[]}} options */
  static lectern(story, { url, token, args = [] }) {
    return new ProcessPublisher(`${story}-publish`, BINARY, ['publish', '--url', url, '--token', token, ...args]);
  }

  /** @private */
  constructor(name, command, args) {
    mkdirSync(OUT, { recursive: true });
    this.name = name;
    const log = createWriteStream(join(OUT, `${name}.log`), { flags: 'a' });
    this.process = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'] });
    // A story that is broken off leaves nothing behind.
    process.once('exit', () => this.process.kill('SIGKILL'));
    this.process.stderr.pipe(log);
    createInterface({ input: this.process.stdout }).on('line', (line) => {
      log.write(`${line}\n`);
      if (line.startsWith('{"event"')) this.events.push(JSON.parse(line));
    });
  }

  /** @param {string} event @returns {Promise<any>} the first of that name */
  async said(event, matches = (_) => true) {
    return until(`${this.name} says ${event}`, () => {
      const found = this.events.find((said) => said.event === event && matches(said));
      if (!found && this.process.exitCode !== null) throw new Final(`${this.name} left with ${this.process.exitCode}: ${JSON.stringify(this.events)}`);
      return found;
    });
  }

  /** Off the air, as its user would do it. */
  async stop() {
    return this.#end('SIGTERM');
  }

  /** Gone without a word. */
  async kill9() {
    return this.#end('SIGKILL');
  }

  async #end(signal) {
    if (this.process.exitCode !== null || this.process.signalCode !== null) return;
    const gone = once(this.process, 'exit');
    this.process.kill(signal);
    await gone;
  }
}
