/** A lecturer on the real studio page, with Chromium's fake camera and microphone. */
import { newWindow } from '../browser.mjs';

export class Studio {
  /**
   * @param {import('playwright-core').Browser} browser @param {string} story @param {string} url of the server
   * @param {string} broadcast @param {string} token
   */
  static open(browser, story, url, broadcast, token) {
    return Studio.at(browser, `${story}-studio`, `${url}/studio/${broadcast}#token=${token}`);
  }

  /** @param {import('playwright-core').Browser} browser @param {string} name of its log @param {string} link with its token @param {import('playwright-core').BrowserContextOptions} [window] */
  static async at(browser, name, link, window) {
    const page = await newWindow(browser, name, window);
    const studio = new Studio(page);
    await page.goto(link);
    return studio;
  }

  /** What went wrong in the page's scripts. */
  get errors() {
    return this.page.errors;
  }

  /** @private */
  constructor(page) {
    /** @type {import('playwright-core').Page} */ this.page = page;
    /** @type {{method: string, path: string, body: string | null}[]} what it asked the server to change */
    this.asked = [];
    page.on('request', (request) => {
      const { pathname, search } = new URL(request.url());
      if (request.method() !== 'GET') this.asked.push({ method: request.method(), path: pathname + search, body: request.postData() });
    });
  }

  /**
   * From now on its media go through a relay, or those of one source. The server is told of no other way to this
   * browser: with a camera's permission the offer names the machine's addresses.
   * @param {import('../relay.mjs').Relay} relay @param {string} [source]
   */
  async goThrough(relay, source) {
    await this.page.route('**/whip/**', async (route) => {
      const request = route.request();
      if (source && request.method() === 'POST' && new URL(request.url()).searchParams.get('source') !== source) return route.continue();
      if (request.method() === 'PATCH') return route.fulfill({ status: 204 });
      if (request.method() !== 'POST') return route.continue();
      const offer = request.postData().replace(/a=(candidate|end-of-candidates).*\r\n/g, '');
      const response = await route.fetch({ postData: offer });
      if (response.status() !== 201) return route.fulfill({ response });
      const answer = await response.text();
      relay.serverPort = Number(/a=candidate:(?:\S+ ){5}(\d+)/.exec(answer)[1]);
      return route.fulfill({ response, body: answer.replace(/(a=candidate:(?:\S+ ){5})\d+/g, `$1${relay.port}`) });
    });
  }

  button(name) {
    return this.page.locator('lectern-studio').getByRole('button', { name, exact: true });
  }

  /** What the page says of its being on air. @param {string} words */
  async says(words) {
    await this.page.locator('lectern-studio').getByRole('status').getByText(words, { exact: true }).waitFor({ timeout: 60_000 });
  }

  /** How the pictures share the canvas, as the page marks it. @returns {Promise<string[]>} */
  async marked() {
    const marked = this.page.locator('lectern-layout-bar').locator('button[aria-pressed=true]');
    return (await marked.allTextContents()).map((words) => words.trim());
  }

  /** Who is on air, as the page lists them: the first line of each. @returns {Promise<string[]>} */
  async listed() {
    return this.page.locator('lectern-on-air-list li b').allTextContents();
  }

  async close() {
    await this.page.context().close();
  }
}
