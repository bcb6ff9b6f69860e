/** A real S3 store (versitygw: signatures are checked), with one bucket that anyone may read. It can be stopped, and come back. */
import { spawn } from 'node:child_process';
import { createHash, createHmac } from 'node:crypto';
import { createWriteStream, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { once } from 'node:events';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { OUT } from './lectern.mjs';
import { freePort } from './port.mjs';
import { Final, until } from './until.mjs';

const SERVER = join(import.meta.dirname, '../.bin/versitygw');
const ACCESS = 'lectern-test';
const SECRET = 'a-secret-for-tests-alone';
const REGION = 'us-east-1';

export class Store {
  /** @param {string} story @param {string} bucket */
  static async start(story, bucket) {
    if (!existsSync(SERVER)) throw new Error('no S3 server: npm run setup');
    // The port is kept over restarts, so it is chosen here.
    const store = new Store(story, bucket, await freePort());
    await store.start();
    await store.#openBucket();
    return store;
  }

  /** @private */
  constructor(story, bucket, port) {
    this.bucket = bucket;
    this.port = port;
    this.url = `http://127.0.0.1:${port}`;
    this.folder = mkdtempSync(join(tmpdir(), `lectern-${story}-s3-`));
    this.log = join(OUT, `${story}-s3.log`);
    this.accessLog = join(this.folder, 'access.log');
    for (const folder of ['data', 'meta']) mkdirSync(join(this.folder, folder));
    mkdirSync(OUT, { recursive: true });
  }

  /** What a client's environment has to hold. */
  get credentials() {
    return { AWS_ACCESS_KEY_ID: ACCESS, AWS_SECRET_ACCESS_KEY: SECRET, AWS_REGION: REGION };
  }

  async start() {
    const options = ['--port', `127.0.0.1:${this.port}`, '--access', ACCESS, '--secret', SECRET, '--region', REGION, '--access-log', this.accessLog, '--health', '/healthz', '--keep-alive', '--quiet'];
    this.process = spawn(SERVER, [...options, 'posix', '--sidecar', join(this.folder, 'meta'), join(this.folder, 'data')], { stdio: ['ignore', 'pipe', 'pipe'] });
    // A story that is broken off leaves nothing behind.
    process.once('exit', () => this.process.kill('SIGKILL'));
    const log = createWriteStream(this.log, { flags: 'a' });
    this.process.stdout.pipe(log);
    this.process.stderr.pipe(log);
    await until('the store answers', async () => {
      if (this.process.exitCode !== null) throw new Final(`the store left with ${this.process.exitCode}, see ${this.log}`);
      return (await fetch(`${this.url}/healthz`)).ok;
    });
  }

  /** Away at once, in the middle of whatever it does. */
  async stop() {
    if (this.process.exitCode !== null || this.process.signalCode !== null) return;
    const gone = once(this.process, 'exit');
    this.process.kill('SIGKILL');
    await gone;
  }

  async discard() {
    await this.stop();
    rmSync(this.folder, { recursive: true, force: true });
  }

  /** An object as anybody gets it, without credentials. */
  address(key) {
    return `${this.url}/${this.bucket}/${key}`;
  }

  /** Requests for that object so far. @param {'GetObject' | 'HeadObject' | 'PutObject'} operation @param {string} key */
  requests(operation, key) {
    const asked = ` s3_${operation} ${key} `;
    return readFileSync(this.accessLog, 'utf8').split('\n').filter((line) => line.includes(asked)).length;
  }

  /** What docs/s3.md tells to set. */
  async #openBucket() {
    const policy = {
      Version: '2012-10-17',
      Statement: [{ Effect: 'Allow', Principal: '*', Action: 's3:GetObject', Resource: `arn:aws:s3:::${this.bucket}/*` }],
    };
    const cors = `<CORSConfiguration><CORSRule><AllowedOrigin>*</AllowedOrigin><AllowedMethod>GET</AllowedMethod><AllowedMethod>HEAD</AllowedMethod><AllowedHeader>*</AllowedHeader><ExposeHeader>Age</ExposeHeader><ExposeHeader>Date</ExposeHeader></CORSRule></CORSConfiguration>`;
    await this.#signed('PUT', `/${this.bucket}`);
    await this.#signed('PUT', `/${this.bucket}`, 'policy=', JSON.stringify(policy));
    await this.#signed('PUT', `/${this.bucket}`, 'cors=', cors);
  }

  /** Signature version 4. @param {string} method @param {string} path @param {string} [query] @param {string} [body] */
  async #signed(method, path, query = '', body = '') {
    const time = new Date().toISOString().replace(/[-:]|\.\d+/g, '');
    const scope = `${time.slice(0, 8)}/${REGION}/s3/aws4_request`;
    const digest = createHash('sha256').update(body).digest('hex');
    const headers = { host: new URL(this.url).host, 'x-amz-content-sha256': digest, 'x-amz-date': time };
    const names = Object.keys(headers).join(';');
    const listed = Object.entries(headers).map(([name, value]) => `${name}:${value}\n`).join('');
    const request = [method, path, query, listed, names, digest].join('\n');
    const toSign = ['AWS4-HMAC-SHA256', time, scope, createHash('sha256').update(request).digest('hex')].join('\n');
    const key = scope.split('/').reduce((secret, part) => createHmac('sha256', secret).update(part).digest(), Buffer.from(`AWS4${SECRET}`));
    const signature = createHmac('sha256', key).update(toSign).digest('hex');
    const md5 = createHash('md5').update(body).digest('base64');
    const response = await fetch(`${this.url}${path}${query && `?${query}`}`, {
      method,
      body: body || undefined,
      headers: {
        'x-amz-content-sha256': digest,
        'x-amz-date': time,
        'Content-MD5': md5,
        Authorization: `AWS4-HMAC-SHA256 Credential=${ACCESS}/${scope}, SignedHeaders=${names}, Signature=${signature}`,
      },
    });
    if (!response.ok) throw new Error(`${method} ${path}?${query}: ${response.status} ${await response.text()}`);
  }
}
