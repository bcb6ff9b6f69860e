/** A student: Chromium on a broadcast's watch page, seen from outside. */
import { asInitScript, newWindow } from './browser.mjs';
import { soon, until } from './until.mjs';

/** A seek may end a frame or two beside its aim. */
const SEEK_TOLERANCE_MS = 150;

export class Viewer {
  /**
   * @param {import('playwright-core').Browser} browser @param {string} story
   * @param {string} url of the server @param {string} broadcast @param {{token?: string}} [options]
   */
  static async open(browser, story, url, broadcast, { token } = {}) {
    const page = await newWindow(browser, `${story}-viewer`);
    await page.addInitScript(await asInitScript('picture-clock.mjs', 'pictureClock'));
    await page.addInitScript(`${await asInitScript('watching.mjs', 'watching')}\nwatching.start();`);
    await page.goto(`${url}/watch/${broadcast}${token ? `#token=${token}` : ''}`);
    return new Viewer(page);
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

  /** Pauses, with the picture on show that was captured at `clock`. @param {number} clock Unix ms */
  async goTo(clock) {
    const now = await until('the player says where it is', () => this.page.evaluate(() => watching.reported()));
    await this.page.evaluate((seconds) => {
      const video = watching.video();
      video.pause();
      video.currentTime += seconds;
    }, (clock - now) / 1000);
    await until('the picture of that moment', async () => Math.abs((await this.shown())?.clock - clock) < SEEK_TOLERANCE_MS);
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

  /** The room as it stands on the page. */
  async room() {
    return this.page.evaluate(() => watching.roomText());
  }

  async close() {
    await this.page.context().close();
  }
}
