/** Publishers that are programs of their own: the OBS stand-in, aiortc, FFmpeg, GStreamer, Go's pion, `lectern publish`. */
import { spawn } from 'node:child_process';
import { createWriteStream, mkdirSync } from 'node:fs';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { BINARY, OUT } from '../lectern.mjs';
import { Final, until } from '../until.mjs';

const HERE = import.meta.dirname;
const TESTS = join(HERE, '../..');
const PYTHON = join(TESTS, '.venv/bin/python');
/** It has GStreamer's bindings (python3-gi). */
const DEBIANS_PYTHON = '/usr/bin/python3';
const RECORDER = [PYTHON, join(HERE, 'record.py')];
const PION = join(TESTS, '.bin/pion-publisher');

export class ProcessPublisher {
  /** What it has said so far: one object per JSON line. @type {{event: string, [more: string]: any}[]} */
  events = [];

  /** @param {string} story @param {{url: string, token: string, seconds?: number, width?: number, height?: number, port?: number, [more: string]: unknown}} options of obs.mjs */
  static obs(story, options) {
    return new ProcessPublisher(`${story}-obs`, process.execPath, [join(HERE, 'obs.mjs'), JSON.stringify(options)]);
  }

  /** @param {string} story @param {{url: string, token: string, width?: number, height?: number, video?: 'VP8' | 'H264', audio?: 'opus' | 'PCMU' | 'PCMA' | 'G722'}} options */
  static aiortc(story, options) {
    return new ProcessPublisher(`${story}-aiortc`, PYTHON, [join(HERE, 'aiortc_publisher.py'), JSON.stringify(options)]);
  }

  /** @param {string} story @param {{url: string, token: string, encoder?: Record<string, string>, certificate?: boolean}} options */
  static ffmpeg(story, options) {
    return new ProcessPublisher(`${story}-ffmpeg`, PYTHON, [join(HERE, 'ffmpeg_publisher.py'), JSON.stringify(options)]);
  }

  /** @param {string} story @param {{url: string, token: string, codec?: 'H264' | 'VP8' | 'VP9', element?: 'webrtcbin' | 'whipsink'}} options */
  static gstreamer(story, options) {
    return new ProcessPublisher(`${story}-gstreamer`, DEBIANS_PYTHON, [join(HERE, 'gstreamer_publisher.py'), JSON.stringify({ recorder: RECORDER, ...options })]);
  }

  /** @param {string} story @param {{url: string, token: string, codec?: string, audio?: boolean, layers?: {width: number, height: number, kbps?: number}[], [more: string]: unknown}} options of pion/main.go */
  static pion(story, options) {
    return new ProcessPublisher(`${story}-pion`, PION, [JSON.stringify({ recorder: RECORDER, codec: 'H264', audio: true, layers: [{ width: 640, height: 360 }], ...options })]);
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
