// Reads I-frame playlists with hls.js's own parser; prints, as JSON, what it found of each.
//
//   node read-iframes.mjs <where hls.js is installed> <multivariant playlist> <I-frame playlist>…

import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

const [home, multivariant, ...playlists] = process.argv.slice(2);
// hls.js looks for a window when it is loaded.
globalThis.self = globalThis;
const entry = createRequire(join(home, 'index.js')).resolve('hls.js/dist/hls.mjs');
const { M3U8Parser } = await import(pathToFileURL(entry).href);

const base = 'http://localhost/broadcasts/lecture/';
const parsed = M3U8Parser.parseMasterPlaylist(readFileSync(multivariant, 'utf8'), `${base}index.m3u8`);
const read = playlists.map((name) => {
  const details = M3U8Parser.parseLevelPlaylist(readFileSync(name, 'utf8'), `${base}360p/iframes.m3u8`, 0, 'main', 0, null);
  return {
    error: details.playlistParsingError?.message ?? null,
    iframesOnly: details.iframesOnly,
    live: details.live,
    entries: details.fragments.map(({ sn, gap, duration, programDateTime, byteRange, initSegment }) => ({
      sn,
      gap: !!gap,
      duration,
      at: programDateTime,
      range: byteRange,
      map: initSegment?.relurl,
    })),
  };
});
console.log(
  JSON.stringify({
    error: parsed.playlistParsingError?.message ?? null,
    levels: parsed.levels.map(({ url }) => url.slice(base.length)),
    iframes: parsed.iframeVariants.map(({ url, bitrate, width }) => ({ url: url.slice(base.length), bitrate, width })),
    read,
  }),
);
