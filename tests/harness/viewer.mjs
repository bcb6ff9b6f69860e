/** A student: Chromium on a broadcast's watch page, seen from outside. */
import { asInitScript, newWindow } from './browser.mjs';
import { soon, until } from './until.mjs';

/** A seek may end a frame or two beside its aim. */
const SEEK_TOLERANCE_MS = 150;
/** More than twice around any of our pages. */
const MOST_STEPS = 60;

export class Viewer {
  /**
   * @param {import('playwright-core').Browser} browser @param {string} story
   * @param {string} url of the server @param {string} broadcast @param {{token?: string, window?: import('playwright-core').BrowserContextOptions}} [options]
   */
  static async open(browser, story, url, broadcast, { token, window } = {}) {
    const page = await newWindow(browser, `${story}-viewer`, window);
    await page.addInitScript(await asInitScript('picture-clock.mjs', 'pictureClock'));
    await page.addInitScript(`${await asInitScript('watching.mjs', 'watching')}\nwatching.start();`);
    await page.goto(`${url}/watch/${broadcast}${token ? `#token=${token}` : ''}`);
    return new Viewer(page);
  }

  /** What went wrong in the page's scripts. */
  get errors() {
    return this.page.errors;
  }

  /** @private */
  constructor(page) {
    /** @type {import('playwright-core').Page} */ this.page = page;
  }

  /** What was shown and said since. @param {number} [since] Unix ms */
  async notes(since = 0) {
    return this.page.evaluate((from) => watching.notes(from), since);
  }

  async shown() {
    return this.page.evaluate(() => watching.shown());
  }

  /** Pictures with a readable clock follow each other. @param {number} [count] */
  async plays(count = 30) {
    const since = Date.now();
    return until('the picture moves', async () => {
      const { pictures } = await this.notes(since);
      const clocks = pictures.filter(({ clock }) => clock !== null);
      return clocks.length >= count && clocks.at(-1).clock > clocks[0].clock ? clocks : null;
    });
  }

  /** Types into the room and sends. @returns {Promise<{playing: number | null, clock: number | null}>} what was sent, and what the picture showed */
  async say(text) {
    const since = Date.now();
    const field = this.page.locator('lectern-room').getByRole('textbox').last();
    await field.fill(text);
    await field.press('Enter');
    return until('the page sends it', async () => (await this.notes(since)).said.find(({ body }) => body === text), { within: 15_000 });
  }

  /** Pauses, with the picture on show that the player places at that time. @param {number} wall Unix ms */
  async goTo(wall) {
    await until('the player knows the line', () => this.page.evaluate(() => watching.reported() !== null));
    await this.page.evaluate((to) => {
      const player = watching.player();
      player.video.pause();
      player.seekTo((to - player.broadcast.origin) * 90);
    }, wall);
    await until('the picture of that moment', async () => Math.abs((await this.shown())?.position - wall) < SEEK_TOLERANCE_MS);
  }

  async backToLive() {
    await this.page.locator('lectern-player').getByRole('button', { name: 'Back to live' }).click();
  }

  /** @param {string} name of a rung */
  async chooseQuality(name) {
    await this.page.evaluate((rung) => watching.player().setLevel(rung), name);
  }

  async play() {
    await this.page.evaluate(() => watching.video().play());
  }

  /**
   * Plays on until each of the texts has appeared, none of which is there yet.
   * @param {string[]} texts @returns {Promise<{wall: number, clock: number | null}[]>} what the picture showed at those moments
   */
  async appearances(...texts) {
    await until('the room of this moment', () => this.page.evaluate((all) => !all.some((text) => watching.roomText().includes(text)), texts));
    const appearing = this.page.evaluate((all) => Promise.all(all.map((text) => watching.appears(text))), texts);
    await this.play();
    return soon(`"${texts}" to appear`, appearing);
  }

  /** @param {string} text typed first @param {string} key pressed then */
  async type(text, key) {
    await this.page.keyboard.type(text);
    await this.page.keyboard.press(key);
  }

  /** The name of what has the focus, as a screen reader would say it. */
  async focused() {
    return this.page.evaluate(() => watching.focused());
  }

  /** Presses Tab until what is named so has the focus. @param {string} name */
  async tabTo(name) {
    await this.#pressUntil('Tab', name);
  }

  /** Presses the arrow down until what is named so has the focus, as in a menu. @param {string} name */
  async arrowTo(name) {
    await this.#pressUntil('ArrowDown', name);
  }

  async #pressUntil(key, name) {
    const passed = [];
    for (let i = 0; i < MOST_STEPS; i++) {
      const at = await this.focused();
      if (at.startsWith(name)) return;
      passed.push(at);
      await this.page.keyboard.press(key);
    }
    throw new Error(`${key} does not lead to "${name}", but to ${passed.join(' → ')}`);
  }

  /** The room as it stands on the page. */
  async room() {
    return this.page.evaluate(() => watching.roomText());
  }

  async close() {
    await this.page.context().close();
  }
}
