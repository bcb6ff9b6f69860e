/** A lecturer in Chromium: a canvas with the picture clock, beeps, and a page's own WHIP client. */
import { newWindow, servePages } from '../browser.mjs';

export class CanvasPublisher {
  /** @param {import('playwright-core').Browser} browser @param {string} story */
  static async open(browser, story) {
    const pages = await servePages();
    const page = await newWindow(browser, `${story}-lecturer`);
    await page.goto(`${pages.url}/publisher.html`);
    return new CanvasPublisher(page, pages);
  }

  /** @private */
  constructor(page, pages) {
    Object.assign(this, { page, pages });
  }

  /**
   * On air. @param {string} url of the WHIP endpoint @param {string} token
   * @param {{width?: number, height?: number, codec?: 'VP8' | 'VP9' | 'H264' | 'AV1', port?: number, picture?: boolean | 'later', sound?: boolean,
   *   layers?: {rid: string, scale: number}[], relayed?: boolean}} [options] `port`: of a relay; `relayed`: over the TURN relays that the server names alone
   * @returns {Promise<{status: number, body?: string, simulcast?: string, relays?: {urls: string, username?: string, credential?: string}[]}>}
   */
  async publish(url, token, { width = 640, height = 360, ...more } = {}) {
    return this.page.evaluate((options) => lecturer.publish(options), { url, token, width, height, ...more });
  }

  /** The camera that the offer had a place for. */
  async addPicture() {
    await this.page.evaluate(() => lecturer.addPicture());
  }

  /** Whether a layer of simulcast is sent. @param {string} rid @param {boolean} active */
  async sendLayer(rid, active) {
    await this.page.evaluate(([rid, active]) => lecturer.sendLayer(rid, active), [rid, active]);
  }

  /** Pictures are clocked so much earlier from now on. @param {number} ms */
  async setBack(ms) {
    await this.page.evaluate((by) => lecturer.setBack(by), ms);
  }

  async resize(width, height) {
    await this.page.evaluate(([w, h]) => lecturer.resize(w, h), [width, height]);
  }

  /** @returns {Promise<number>} the status of the DELETE */
  async hangUp() {
    return this.page.evaluate(() => lecturer.hangUp());
  }

  /** The connection closes; nobody says goodbye. */
  async vanish() {
    await this.page.evaluate(() => lecturer.vanish());
  }

  /** Restarts ICE; with `port` the new path leads there. @param {{port?: number}} [options] @returns {Promise<{status: number, body?: string}>} */
  async restart(options = {}) {
    return this.page.evaluate((options) => lecturer.restart(options), options);
  }

  /** What carries the media. @returns {Promise<{protocol: string, port: number, from: string, relay?: string} | null>} */
  async transport() {
    return this.page.evaluate(() => lecturer.transport());
  }

  /** The UDP port that the server's answer named. @returns {Promise<number>} */
  async serverPort() {
    return this.page.evaluate(() => lecturer.serverPort());
  }

  /** What left so far. @returns {Promise<{at: number, bytes: number, kbps: number, retransmitted: number}>} `kbps`: what the browser believes the path to bear */
  async sent() {
    return this.page.evaluate(() => lecturer.sent());
  }

  async close() {
    await this.page.context().close();
    this.pages.close();
  }
}
