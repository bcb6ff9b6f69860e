/** A lecturer on the real studio page, with Chromium's fake camera and microphone. */
import { newWindow } from '../browser.mjs';

export class Studio {
  /**
   * @param {import('playwright-core').Browser} browser @param {string} story @param {string} url of the server
   * @param {string} broadcast @param {string} token
   */
  static async open(browser, story, url, broadcast, token) {
    const page = await newWindow(browser, `${story}-studio`);
    await page.goto(`${url}/studio/${broadcast}#token=${token}`);
    return new Studio(page);
  }

  /** What went wrong in the page's scripts. */
  get errors() {
    return this.page.errors;
  }

  /** @private */
  constructor(page) {
    /** @type {import('playwright-core').Page} */ this.page = page;
  }

  /**
   * From now on its media go through a relay. The server is told of no other way to this browser: with a camera's
   * permission the offer names the machine's addresses.
   * @param {import('../relay.mjs').Relay} relay
   */
  async goThrough(relay) {
    await this.page.route('**/whip/**', async (route) => {
      const request = route.request();
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

  async close() {
    await this.page.context().close();
  }
}
