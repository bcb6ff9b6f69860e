/** A lecturer in real Firefox, headless: the page of `canvas.mjs`, driven by WebDriver BiDi. */
import { spawn } from 'node:child_process';
import { createWriteStream, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { once } from 'node:events';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import WebSocket from 'ws';
import { servePages } from '../browser.mjs';
import { OUT } from '../lectern.mjs';
import { Final, until } from '../until.mjs';

const FIREFOX = process.env.FIREFOX ?? 'firefox-esr';
const PREFERENCES = {
  // A microphone that always hears 1 kHz. (Web Audio stands still on a machine without a sound card.)
  'media.navigator.streams.fake': true,
  'media.navigator.permission.disabled': true,
  'media.navigator.audio.fake_frequency': 1000,
  // Nothing is looked for on the Internet.
  'app.update.enabled': false,
  'browser.safebrowsing.downloads.enabled': false,
  'datareporting.policy.dataSubmissionEnabled': false,
  'media.gmp-manager.updateEnabled': false,
  'network.captive-portal-service.enabled': false,
  'network.connectivity-service.enabled': false,
  'services.settings.server': 'data:,#remote-settings-dummy/v1',
};

export class FirefoxPublisher {
  #commands = 0;
  #answers = new Map();

  /** @param {string} story */
  static async open(story) {
    const firefox = new FirefoxPublisher(story, await servePages());
    await firefox.#start();
    return firefox;
  }

  /** @private */
  constructor(story, pages) {
    mkdirSync(OUT, { recursive: true });
    this.pages = pages;
    this.folder = mkdtempSync(join(tmpdir(), 'lectern-firefox-'));
    this.log = createWriteStream(join(OUT, `${story}-firefox.log`), { flags: 'a' });
    const lines = Object.entries(PREFERENCES).map(([name, value]) => `user_pref(${JSON.stringify(name)}, ${JSON.stringify(value)});\n`);
    writeFileSync(join(this.folder, 'user.js'), lines.join(''));
  }

  async #start() {
    const args = ['--headless', '--no-remote', '--remote-debugging-port=0', '--profile', this.folder];
    this.process = spawn(FIREFOX, args, { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, HOME: this.folder } });
    process.once('exit', () => this.process.kill('SIGKILL'));
    let failed, text = '';
    this.process.on('error', (error) => (failed = error));
    this.process.stderr.on('data', (chunk) => {
      this.log.write(chunk);
      text += chunk;
    });
    const address = await until('Firefox says where it listens', () => {
      if (failed) throw new Final(`no Firefox (scripts/install.sh test): ${failed.message}`);
      return /WebDriver BiDi listening on (ws:\S+)/.exec(text)?.[1];
    });
    this.socket = new WebSocket(`${address}/session`);
    this.socket.on('message', (data) => this.#take(JSON.parse(data.toString())));
    await once(this.socket, 'open');
    const { capabilities } = await this.#command('session.new', { capabilities: {} });
    this.version = capabilities.browserVersion;
    await this.#command('session.subscribe', { events: ['log.entryAdded'] });
    this.context = (await this.#command('browsingContext.getTree', {})).contexts[0].context;
    await this.#command('browsingContext.navigate', { context: this.context, url: `${this.pages.url}/publisher.html`, wait: 'complete' });
  }

  /** On air. @param {string} url of the WHIP endpoint @param {string} token @returns {Promise<{status: number, body?: string, simulcast?: string}>} */
  async publish(url, token, { width = 640, height = 360, ...more } = {}) {
    return this.#call('publish', { url, token, width, height, ...more });
  }

  async addPicture() {
    await this.#call('addPicture');
  }

  /** @returns {Promise<number>} the status of the DELETE */
  async hangUp() {
    return this.#call('hangUp');
  }

  async close() {
    this.socket?.terminate();
    this.process.kill('SIGKILL');
    if (this.process.exitCode === null && this.process.signalCode === null) await once(this.process, 'exit');
    this.pages.close();
    rmSync(this.folder, { recursive: true, force: true, maxRetries: 5 });
  }

  /** A function of the page's `lecturer`. */
  async #call(name, options = {}) {
    const functionDeclaration = `async (options) => JSON.stringify((await lecturer.${name}(JSON.parse(options))) ?? null)`;
    const { type, result, exceptionDetails } = await this.#command('script.callFunction', {
      functionDeclaration,
      arguments: [{ type: 'string', value: JSON.stringify(options) }],
      target: { context: this.context },
      awaitPromise: true,
      userActivation: true,
    });
    if (type !== 'success') throw new Error(`${name} in Firefox: ${exceptionDetails.text}`);
    return JSON.parse(result.value);
  }

  async #command(method, params) {
    const id = ++this.#commands;
    this.socket.send(JSON.stringify({ id, method, params }));
    const answer = await until(`Firefox answers ${method}`, () => this.#answers.get(id), { every: 20 });
    this.#answers.delete(id);
    if (answer.type !== 'success') throw new Error(`${method}: ${answer.error} ${answer.message}`);
    return answer.result;
  }

  #take(message) {
    if (message.id !== undefined) this.#answers.set(message.id, message);
    else this.log.write(`${message.method} ${message.params?.text ?? ''}\n`);
  }
}
