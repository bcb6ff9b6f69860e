/** A lecture that is encoded beside its sender, a little ahead of its time (record.py). */
import { spawn } from 'node:child_process';
import { join } from 'node:path';

const PYTHON = join(import.meta.dirname, '../../.venv/bin/python');
const RECORD = join(import.meta.dirname, 'record.py');
const HEADER_BYTES = 21;

/** @typedef {{kind: string, dts: number, pts: number, payload: Buffer}} Frame `kind`: 'a', or a layer of the video, '0' … '9'; times in ms after the first picture */

export class Recording {
  /** Waiting for their moment, in order. @type {Frame[]} */
  frames = [];
  /** No more will come. */
  ended = false;
  #rest = Buffer.alloc(0);

  /** @param {{first: number, seconds?: number, audio?: boolean, video?: {codec?: string, width?: number, height?: number, kbps?: number, encoder?: Record<string, string>}[]}} options */
  constructor(options) {
    this.first = options.first;
    this.process = spawn(PYTHON, [RECORD, JSON.stringify(options)], { stdio: ['ignore', 'pipe', 'inherit'] });
    process.once('exit', () => this.process.kill('SIGKILL'));
    this.process.stdout.on('data', (chunk) => this.#take(chunk));
    this.process.stdout.on('end', () => (this.ended = true));
  }

  /** The frames whose moment has come. @param {number} now Unix ms @returns {Frame[]} */
  due(now) {
    const later = this.frames.findIndex(({ dts }) => this.first + dts > now);
    return this.frames.splice(0, later < 0 ? this.frames.length : later);
  }

  #take(chunk) {
    let bytes = Buffer.concat([this.#rest, chunk]);
    for (let end; bytes.length >= HEADER_BYTES && bytes.length >= (end = HEADER_BYTES + bytes.readUInt32BE(17)); bytes = bytes.subarray(end)) {
      const us = (at) => Number(bytes.readBigInt64BE(at)) / 1000;
      this.#queue({ kind: String.fromCharCode(bytes[0]), dts: us(1), pts: us(9), payload: bytes.subarray(HEADER_BYTES, end) });
    }
    this.#rest = bytes;
  }

  /** By time of decoding: an encoder that looks ahead gives its pictures after the sound beside them. @param {Frame} frame */
  #queue(frame) {
    const before = this.frames.findLastIndex(({ dts }) => dts <= frame.dts);
    this.frames.splice(before + 1, 0, frame);
  }
}
