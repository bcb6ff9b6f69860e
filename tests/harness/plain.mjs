/** Anybody's player: a page of its own with plain hls.js, which knows nothing of Lectern. */
import { createRequire } from 'node:module';
import { asInitScript, newWindow, servePages } from './browser.mjs';
import { until } from './until.mjs';

const HLS = createRequire(import.meta.url).resolve('hls.js');

export class PlainPlayer {
  /** @param {import('playwright-core').Browser} browser @param {string} story @param {string} url of a multivariant playlist @param {object} [settings] of hls.js */
  static async open(browser, story, url, settings = {}) {
    const pages = await servePages();
    const page = await newWindow(browser, `${story}-plain`);
    await page.goto(`${pages.url}/plain.html`);
    await page.addScriptTag({ path: HLS });
    for (const [file, name] of [['picture-clock.mjs', 'pictureClock'], ['subtitled.mjs', 'subtitled']]) {
      await page.addScriptTag({ content: await asInitScript(file, name) });
    }
    await page.evaluate(([source, config]) => {
      const video = document.querySelector('video');
      const hls = new globalThis.Hls(config);
      globalThis.played = { hls, errors: [] };
      hls.on('hlsError', (_, { fatal, details }) => fatal && globalThis.played.errors.push(details));
      hls.on('hlsManifestParsed', () => video.play());
      hls.loadSource(source);
      hls.attachMedia(video);
    }, [url, settings]);
    return new PlainPlayer(page, pages);
  }

  /** @private */
  constructor(page, pages) {
    /** @type {import('playwright-core').Page} */ this.page = page;
    this.pages = pages;
  }

  async state() {
    return this.page.evaluate(() => {
      const video = document.querySelector('video');
      const { hls, errors } = globalThis.played;
      const details = hls.latestLevelDetails ?? hls.levels[hls.currentLevel]?.details;
      return { errors, at: video.currentTime, width: video.videoWidth, duration: video.duration, ended: video.ended, live: details?.live };
    });
  }

  /** Seconds that have played go by. @param {number} seconds */
  async plays(seconds) {
    const { at } = await until('a first picture', async () => this.#sound((state) => state.width > 0));
    return until(`${seconds} s are played`, async () => this.#sound((state) => state.at >= at + seconds));
  }

  /** The subtitles that are offered, and whether any are on. @returns {Promise<{names: string[], chosen: number}>} */
  async subtitles() {
    return this.page.evaluate(() => {
      const { hls } = globalThis.played;
      return { names: hls.subtitleTracks.map(({ name }) => name), chosen: hls.subtitleTrack };
    });
  }

  /** Chooses subtitles, and notes from then on what they show. @param {string} name */
  async choose(name) {
    await this.page.evaluate((wanted) => {
      const { hls } = globalThis.played;
      hls.subtitleTrack = hls.subtitleTracks.findIndex((track) => track.name === wanted);
      hls.subtitleDisplay = true;
      subtitled.follow();
    }, name);
  }

  /** What the picture showed when a text that ends so first stood on it. @param {string} end */
  async appearance(end) {
    return until(`"${end}" is on the picture`, async () => {
      await this.#sound(() => true);
      return (await this.appearances()).find(({ text }) => text.endsWith(end));
    });
  }

  async appearances() {
    return this.page.evaluate(() => subtitled.appearances());
  }

  async goTo(seconds) {
    await this.page.evaluate((to) => {
      document.querySelector('video').currentTime = to;
    }, seconds);
  }

  async #sound(wanted) {
    const state = await this.state();
    if (state.errors.length > 0) throw new Error(`hls.js gave up: ${state.errors}`);
    return wanted(state) ? state : null;
  }

  async close() {
    await this.page.context().close();
    this.pages.close();
  }
}
