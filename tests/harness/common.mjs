/** What several servers have in common: a Redis and a PostgreSQL of their own. */
import { execFile, spawn } from 'node:child_process';
import { chownSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { once } from 'node:events';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';
import { freePort } from './port.mjs';
import { Final, until } from './until.mjs';

/** Debian keeps its versions side by side and out of the path. */
const POSTGRES = '/usr/lib/postgresql';
/** Who PostgreSQL runs as where the stories run as root, which it refuses: `nobody`. */
const NOBODY = 65534;
const AS_NOBODY = process.getuid() === 0 ? ['setpriv', '--reuid', `${NOBODY}`, '--regid', `${NOBODY}`, '--clear-groups'] : [];

export class Common {
  static async start() {
    const common = new Common();
    await Promise.all([common.#redis(), common.#postgres()]);
    return common;
  }

  /** @private */
  constructor() {
    this.folder = mkdtempSync(join(tmpdir(), 'lectern-common-'));
    /** @type {import('node:child_process').ChildProcess[]} */
    this.processes = [];
  }

  /** For a server's environment. */
  get env() {
    return { LECTERN_REDIS__URL: `redis://127.0.0.1:${this.redisPort}`, LECTERN_DATABASE__URL: `postgres://lectern@127.0.0.1:${this.postgresPort}/postgres` };
  }

  /** What Redis answers. @param {...string} command @returns {Promise<string>} */
  async redis(...command) {
    return (await promisify(execFile)('redis-cli', ['-p', `${this.redisPort}`, ...command])).stdout.trim();
  }

  async #redis() {
    this.redisPort = await freePort();
    const dir = join(this.folder, 'redis');
    mkdirSync(dir);
    await this.#run(['redis-server', '--port', `${this.redisPort}`, '--bind', '127.0.0.1', '--dir', dir, '--save', ''], /Ready to accept connections/);
  }

  async #postgres() {
    this.postgresPort = await freePort();
    const bin = join(POSTGRES, readdirSync(POSTGRES).sort((a, b) => Number(b) - Number(a))[0], 'bin');
    const folder = mkdtempSync(join(tmpdir(), 'lectern-postgres-'));
    this.database = folder;
    if (AS_NOBODY.length) chownSync(folder, NOBODY, NOBODY);
    const data = join(folder, 'data');
    const [command, ...args] = [...AS_NOBODY, join(bin, 'initdb'), '-D', data, '-U', 'lectern', '-A', 'trust', '-E', 'UTF8', '--locale=C', '--no-sync'];
    await promisify(execFile)(command, args);
    await this.#run([...AS_NOBODY, join(bin, 'postgres'), '-D', data, '-p', `${this.postgresPort}`, '-h', '127.0.0.1', '-k', '', '-F'], /ready to accept connections/);
  }

  async #run([command, ...args], ready) {
    const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'] });
    this.processes.push(child);
    // A story that is broken off leaves nothing behind. QUIT: at once, yet its children with it.
    process.once('exit', () => child.kill('SIGQUIT'));
    let isReady = false;
    for (const input of [child.stdout, child.stderr]) createInterface({ input }).on('line', (line) => (isReady ||= ready.test(line)));
    await until(`${command} is ready`, () => {
      if (child.exitCode !== null) throw new Final(`${command} left with ${child.exitCode}`);
      return isReady;
    });
  }

  async stop() {
    for (const child of this.processes.filter((child) => child.exitCode === null && child.signalCode === null)) {
      const gone = once(child, 'exit');
      child.kill('SIGQUIT');
      await gone;
    }
    for (const folder of [this.folder, this.database]) rmSync(folder, { recursive: true, force: true });
  }
}
