// Reads every playlist in a folder with hls.js's own parser; prints what it found wrong, as JSON.
//
//   node read-playlists.mjs <where hls.js is installed> <folder>

import { readFileSync, readdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

const [home, folder] = process.argv.slice(2);
// hls.js looks for a window when it is loaded.
globalThis.self = globalThis;
const entry = createRequire(join(home, 'index.js')).resolve('hls.js/dist/hls.mjs');
const { M3U8Parser } = await import(pathToFileURL(entry).href);

const errors = [];
const names = readdirSync(folder).sort();
/** The newest playlist of each rendition: a later one only grows at the edge. */
const newest = new Map();

for (const name of names) {
  const text = readFileSync(join(folder, name), 'utf8');
  const wrong = (what) => errors.push(`${name}: ${what}`);
  if (name.startsWith('multivariant-')) readMultivariant(text, wrong);
  else readMedia(name, text, wrong);
}
console.log(JSON.stringify({ read: names.length, errors }));

function readMultivariant(text, wrong) {
  const parsed = M3U8Parser.parseMasterPlaylist(text, 'http://localhost/broadcasts/lecture/index.m3u8');
  if (parsed.playlistParsingError) wrong(parsed.playlistParsingError.message);
  if (parsed.levels.length === 0) wrong('no level');
  if (parsed.levels.some((level) => !level.bitrate || level.unknownCodecs?.length)) wrong('a level without rate or codec');
}

function readMedia(name, text, wrong) {
  const [rendition, msn, part, kind] = name.replace('.m3u8', '').split('-');
  const url = `http://localhost/broadcasts/lecture/${rendition}/index.m3u8`;
  const type = rendition === 'audio' ? 'audio' : 'main';
  const details = M3U8Parser.parseLevelPlaylist(text, url, 0, type, 0, null);
  if (details.playlistParsingError) wrong(details.playlistParsingError.message);
  if (details.targetduration !== 3) wrong(`target duration ${details.targetduration}`);
  if (part === 'ended') {
    if (details.live) wrong('still live');
    if (details.endSN !== 3) wrong(`ends with segment ${details.endSN}`);
    return;
  }
  if (!details.live || !details.canBlockReload || details.canSkipUntil !== 18) wrong('not a low-latency live playlist');
  if (details.partTarget !== 0.21334 || details.partHoldBack !== 0.65) wrong(`part target ${details.partTarget}`);
  if (details.lastPartSn !== +msn || details.lastPartIndex !== +part) {
    wrong(`last part ${details.lastPartSn}.${details.lastPartIndex}`);
  }
  if (details.partList.some((listed) => listed.duration > details.partTarget)) wrong('a part longer than promised');
  if (!details.preloadHint?.URI) wrong('no preload hint');
  if (!details.hasProgramDateTime) wrong('no program date-time');
  for (const report of details.renditionReports) {
    if (+report['LAST-MSN'] !== details.lastPartSn || +report['LAST-PART'] !== details.lastPartIndex) wrong('a report that differs');
  }
  if (details.renditionReports.length !== 2) wrong('not a report for each other rendition');
  readSegments(rendition, kind, details, wrong);
}

function readSegments(rendition, kind, details, wrong) {
  const whole = details.fragments.filter((fragment) => fragment.sn * 16 + 15 <= details.lastPartSn * 16 + details.lastPartIndex);
  const origin = 1760000000000;
  for (const fragment of whole) {
    if (Math.abs(fragment.programDateTime - (origin + fragment.sn * 3200)) > 0.5) wrong(`date of segment ${fragment.sn}`);
    if (fragment.duration !== 3.2) wrong(`duration of segment ${fragment.sn}`);
  }
  if (kind !== 'whole') return;
  const known = newest.get(rendition) ?? 0;
  if (whole.length < known || whole.length > known + 1) wrong(`${whole.length} whole segments after ${known}`);
  newest.set(rendition, whole.length);
}
