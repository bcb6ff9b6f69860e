/** Watches a bucket as anybody sees it: at every moment its playlists list only what is there. */
import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { parse, renditions } from './presentation.mjs';

/** More often than a playlist changes. */
const LOOK_EVERY_MS = 500;

export class BucketWatch {
  /** How often every playlist was read. */
  looks = 0;
  /** What was listed and not there. @type {string[]} */
  missing = [];
  /** Whatever was found there once; such objects never change. @type {Set<string>} */
  #seen = new Set();

  /** @param {string} url of the multivariant playlist in the bucket */
  constructor(url) {
    this.url = url;
    this.done = this.#watch();
  }

  async stop() {
    this.stopped = true;
    await this.done;
  }

  async #watch() {
    while (!this.stopped) {
      try {
        await this.look();
        this.looks += 1;
      } catch (error) {
        // The store is away, or nothing is there yet; a playlist that does not hold together is an error of its own.
        if (error instanceof assert.AssertionError && !/: (404|5\d\d)/.test(error.message)) this.missing.push(error.message);
      }
      await sleep(LOOK_EVERY_MS);
    }
  }

  /** @returns {Promise<number>} how many segments all playlists list */
  async look() {
    let segments = 0;
    for (const { url } of await renditions(this.url)) {
      const response = await fetch(url);
      const status = response.status;
      if (status !== 200) {
        if (status === 404) this.missing.push(url);
        continue;
      }
      const { details } = parse(await response.text(), url);
      segments += details.fragments.length;
      const listed = details.fragments.filter(({ gap }) => !gap).map((fragment) => fragment.url);
      await Promise.all([details.fragments[0].initSegment.url, ...listed].map((object) => this.#assertThere(object)));
    }
    return segments;
  }

  async #assertThere(object) {
    if (this.#seen.has(object)) return;
    const { status } = await fetch(object, { method: 'HEAD' });
    if (status === 200) this.#seen.add(object);
    if (status === 404) this.missing.push(object);
  }
}
