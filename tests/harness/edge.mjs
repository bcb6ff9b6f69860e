/** A CDN edge before an origin: nginx with `deploy/nginx/edge.conf` as it stands, but for its addresses and folders. */
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createWriteStream, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { OUT } from './lectern.mjs';
import { freePort } from './port.mjs';
import { Final, until } from './until.mjs';

const DEPLOYED = join(import.meta.dirname, '../../deploy/nginx');
const NGINX = process.env.NGINX ?? '/usr/sbin/nginx';

export class Edge {
  /** @param {{story: string, origin: string, workers?: number}} options `origin`: its URL */
  static async start(options) {
    const edge = new Edge(options);
    await edge.#listen();
    return edge;
  }

  /** @private */
  constructor({ story, origin, workers = 2 }) {
    if (!existsSync(NGINX)) throw new Error(`no nginx at ${NGINX}: run scripts/install.sh test`);
    this.story = story;
    this.origin = new URL(origin).host;
    this.workers = workers;
    this.folder = mkdtempSync(join(tmpdir(), `lectern-${story}-edge-`));
  }

  async #listen() {
    const [port, tlsPort] = [await freePort(), await freePort()];
    this.url = `http://127.0.0.1:${port}`;
    this.tls = `https://127.0.0.1:${tlsPort}`;
    const here = (name) => join(this.folder, name);
    const socket = here('fetch.sock');
    const conf = replaced('edge.conf', [
      ['user www-data;', `user ${userInfo().username};`],
      ['worker_processes auto;', `daemon off;\nworker_processes ${this.workers};`],
      ['worker_rlimit_nofile 65536;', ''],
      ['pid /run/nginx.pid;', `pid ${here('pid')};`],
      ['error_log /var/log/nginx/error.log warn;', 'error_log stderr warn;'],
      ['server 127.0.0.1:8080;', `server ${this.origin};`],
      ['proxy_cache_path /var/cache/nginx/lectern ', `${temporary(here)}\n    proxy_cache_path ${here('cache')} `],
      ['"/etc/nginx/?.lua;;"', `"${here('?.lua')};;"`],
      ['listen 80;', `listen 127.0.0.1:${port};`],
      ['# listen 443 ssl', `listen 127.0.0.1:${tlsPort} ssl`],
      ['# ssl_certificate     /etc/ssl/certs/lectern.pem', `ssl_certificate ${here('certificate.pem')}`],
      ['# ssl_certificate_key /etc/ssl/private/lectern.key', `ssl_certificate_key ${here('key.pem')}`],
      ['# ssl_protocols', 'ssl_protocols'],
      ['listen unix:/run/lectern-edge.sock;', `listen unix:${socket};`],
    ]);
    writeFileSync(here('nginx.conf'), conf);
    const certificate = ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '1', '-subj', '/CN=localhost'];
    await promisify(execFile)('openssl', [...certificate, '-keyout', here('key.pem'), '-out', here('certificate.pem')]);
    writeFileSync(here('edge.lua'), replaced('edge.lua', [['unix:/run/lectern-edge.sock', `unix:${socket}`]]));
    this.process = spawn(NGINX, ['-p', this.folder, '-c', here('nginx.conf')], { stdio: ['ignore', 'ignore', 'pipe'] });
    process.once('exit', () => this.process.kill('SIGTERM'));
    mkdirSync(OUT, { recursive: true });
    this.errors = '';
    const log = createWriteStream(join(OUT, `${this.story}-nginx.log`));
    this.process.stderr.on('data', (chunk) => {
      log.write(chunk);
      this.errors += chunk;
    });
    await until('the edge listens', async () => {
      if (this.process.exitCode !== null) throw new Final(`nginx left with ${this.process.exitCode}: ${this.errors}`);
      return (await fetch(`${this.url}/metrics`)).status === 404;
    });
  }

  async get(path, init) {
    return fetch(this.url + path, init);
  }

  async discard() {
    if (this.process.exitCode === null) {
      const gone = once(this.process, 'exit');
      this.process.kill('SIGTERM');
      await gone;
    }
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** A file of the edge's with each of these texts, which stand in it once, replaced. */
function replaced(file, replacements) {
  return replacements.reduce((text, [from, to]) => {
    if (text.split(from).length !== 2) throw new Error(`${file} does not say "${from}" once`);
    return text.replace(from, () => to);
  }, readFileSync(join(DEPLOYED, file), 'utf8'));
}

/** Debian's folders for bodies that do not fit in memory belong to root. */
const temporary = (here) => ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((of) => `${of}_temp_path ${here(of)};`).join(' ');
