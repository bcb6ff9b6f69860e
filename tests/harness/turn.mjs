/** A TURN relay: coturn, with the secret that credentials are made with. */
import { spawn } from 'node:child_process';
import { createWriteStream, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { once } from 'node:events';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { OUT } from './lectern.mjs';
import { freePort } from './port.mjs';
import { until } from './until.mjs';

const COTURN = process.env.COTURN ?? '/usr/bin/turnserver';

export class Turn {
  secret = 'north by northwest';
  /** What it has said of sessions: who allocated, and how much went through. @type {string[]} */
  sessions = [];

  /** @param {string} story */
  static async start(story) {
    const turn = new Turn(await freePort());
    await turn.#listen(story);
    return turn;
  }

  /** @private */
  constructor(port) {
    this.port = port;
    this.folder = mkdtempSync(join(tmpdir(), 'lectern-turn-'));
  }

  async #listen(story) {
    const at = ['--listening-ip', '127.0.0.1', '--relay-ip', '127.0.0.1', '--listening-port', `${this.port}`];
    const who = ['--use-auth-secret', '--static-auth-secret', this.secret, '--realm', 'lectern.test', '--userdb', join(this.folder, 'users')];
    const not = ['-n', '--no-cli', '--no-tls', '--no-dtls', '--allow-loopback-peers', '--pidfile', join(this.folder, 'pid')];
    this.process = spawn(COTURN, [...not, ...at, ...who, '--log-file', 'stdout', '--simple-log', '--verbose'], { stdio: ['ignore', 'pipe', 'pipe'] });
    // A story that is broken off leaves nothing behind.
    process.once('exit', () => this.process.kill('SIGKILL'));
    mkdirSync(OUT, { recursive: true });
    const log = createWriteStream(join(OUT, `${story}-turn.log`), { flags: 'a' });
    // Where there is no IPv6 it says so.
    this.process.stderr.pipe(log, { end: false });
    let listens = false;
    createInterface({ input: this.process.stdout }).on('line', (line) => {
      log.write(`${line}\n`);
      listens ||= /UDP listener opened on: ?127\.0\.0\.1:/.test(line);
      if (/ session \d+: /.test(line)) this.sessions.push(line);
    });
    await until('the TURN relay listens', () => listens);
  }

  /** A section of Lectern's configuration. */
  get config() {
    return `\n[[ingest.ice_servers]]\nurls = ["turn:127.0.0.1:${this.port}", "turn:127.0.0.1:${this.port}?transport=tcp"]\nsecret = "${this.secret}"\n`;
  }

  async stop() {
    if (this.process.exitCode === null && this.process.signalCode === null) {
      const gone = once(this.process, 'exit');
      this.process.kill('SIGKILL');
      await gone;
    }
    rmSync(this.folder, { recursive: true, force: true });
  }
}
