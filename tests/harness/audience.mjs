/**
 * Many viewers without a browser. Each does on the wire what hls.js does: of one rendition, a blocking reload (a
 * delta update) for the part that comes next, then that part; over connections that are kept.
 */
import { Agent, get } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { gunzipSync } from 'node:zlib';

/** As browsers say it, so that the edge has something to make alike. */
const CODINGS = ['gzip, deflate, br, zstd', 'gzip', 'gzip;q=1.0, deflate;q=0.6'];

export class Watcher {
  /** When each part was whole, by its path. @type {Map<string, number>} performance.now() */
  arrivals = new Map();
  requests = 0;
  /** What was not answered by 200. @type {string[]} */
  refused = [];

  /**
   * @param {string[]} playlists URLs of media playlists
   * @param {{hinted?: boolean, coding?: string}} [options] `hinted`: asks for the part that the playlist hints at, as Safari does
   */
  constructor(playlists, { hinted = false, coding = CODINGS[0] } = {}) {
    this.agent = new Agent({ keepAlive: true });
    this.hinted = hinted;
    this.headers = { 'Accept-Encoding': coding };
    this.done = Promise.all(playlists.map((url) => this.#follow(url)));
  }

  async stop() {
    this.stopped = true;
    await this.done;
    this.agent.destroy();
  }

  async #follow(url) {
    let [query, next] = ['', ''];
    const seen = new Set();
    while (!this.stopped) {
      const reload = this.#get(url + query);
      const hint = this.hinted && next ? this.#part(url, next, seen) : null;
      const playlist = String(await reload);
      const [, msn, part] = /PRELOAD-HINT:TYPE=PART,URI="(\d+)\.(\d+)\.m4s"/.exec(playlist) ?? [];
      if (msn === undefined) {
        // Refused: as hls.js does, once more without directives, a moment later.
        query = next = '';
        await sleep(1_000);
        continue;
      }
      const listed = [...playlist.matchAll(/EXT-X-PART:[^\n]*URI="([^"]+)"/g)].map(([, uri]) => uri);
      // Who joins begins at the edge.
      if (seen.size === 0) listed.slice(0, -1).forEach((uri) => seen.add(uri));
      await Promise.all([hint, ...listed.map((uri) => this.#part(url, uri, seen))]);
      next = `${msn}.${part}.m4s`;
      query = `?_HLS_msn=${msn}&_HLS_part=${part}&_HLS_skip=YES`;
    }
  }

  async #part(playlist, uri, seen) {
    if (seen.has(uri)) return;
    seen.add(uri);
    const url = new URL(uri, playlist);
    if (await this.#get(url)) this.arrivals.set(url.pathname, performance.now());
  }

  /** @returns {Promise<Buffer | null>} null if refused */
  #get(url) {
    this.requests++;
    return new Promise((resolve, reject) => {
      const request = get(url, { agent: this.agent, headers: this.headers }, (response) => {
        const chunks = [];
        response.on('data', (chunk) => chunks.push(chunk));
        response.on('error', reject);
        response.on('end', () => {
          const body = Buffer.concat(chunks);
          if (response.statusCode !== 200) this.refused.push(`${url}: ${response.statusCode}`);
          const plain = response.headers['content-encoding'] === 'gzip' ? gunzipSync(body) : body;
          resolve(response.statusCode === 200 ? plain : null);
        });
      });
      request.on('error', reject);
    });
  }
}

/** @param {number} count @param {string[]} playlists half of them take hints; they ask for gzip in different words */
export function audience(count, playlists) {
  return Array.from({ length: count }, (_, n) => new Watcher(playlists, { hinted: n % 2 === 1, coding: CODINGS[n % CODINGS.length] }));
}
