/** A broadcast as any HLS player sees it, read by an independent parser (hls.js's own) and, byte by byte, by ours. */
import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { M3U8Parser } from 'hls.js';
import { fragments, timescale } from './boxes.mjs';

/** A tick of PROGRAM-DATE-TIME's text is a millisecond; half of one may be rounded away. */
const PDT_ROUNDING_MS = 1;

/** @typedef {import('hls.js').LevelDetails} LevelDetails */
/** @typedef {{ name: string, url: string, kind: 'video' | 'audio', codecs: string, bandwidth?: number, height?: number }} Rendition */

/** @param {string} url of the multivariant playlist @returns {Promise<Rendition[]>} best video first, audio last */
export async function renditions(url) {
  const text = await readText(url);
  const parsed = M3U8Parser.parseMasterPlaylist(text, url);
  assert.equal(parsed.playlistParsingError, null, text);
  const video = parsed.levels.map((level) => ({ name: nameOf(level.url), url: level.url, kind: 'video', codecs: level.attrs.CODECS, bandwidth: level.bitrate, height: level.height }));
  const { AUDIO: audio = [] } = M3U8Parser.parseMasterPlaylistMedia(text, url, parsed);
  const sound = audio.filter(({ url: at }) => at).map((media) => ({ name: nameOf(media.url), url: media.url, kind: 'audio', codecs: '' }));
  return [...video, ...sound];
}

/** A media playlist; an unreadable one fails. @param {string} url @returns {Promise<{text: string, details: LevelDetails}>} */
export async function mediaPlaylist(url) {
  return parse(await readText(url), url);
}

export function parse(text, url) {
  const details = M3U8Parser.parseLevelPlaylist(text, url, 0, 'main', 0, null);
  assert.equal(details.playlistParsingError, null, `${url}: ${details.playlistParsingError?.message}\n${text}`);
  return { text, details };
}

/** Follows a live media playlist by blocking reload, as players do, and keeps every version it was given. */
export class PlaylistFollower {
  /** @type {{text: string, details: LevelDetails}[]} */
  versions = [];

  /** @param {string} url */
  constructor(url) {
    this.url = url;
    this.done = this.#follow();
  }

  /** @returns {Promise<{text: string, details: LevelDetails}[]>} */
  async stop() {
    this.stopped = true;
    await this.done;
    return this.versions;
  }

  async #follow() {
    let version = await mediaPlaylist(this.url);
    this.versions.push(version);
    while (!this.stopped && version.details.live) {
      version = await mediaPlaylist(`${this.url}?${next(version.details)}`);
      this.versions.push(version);
    }
  }
}

/** The first part that a version does not have yet. @param {LevelDetails} details */
function next({ endSN, lastPartSn, lastPartIndex }) {
  const open = lastPartSn > endSN;
  return open ? `_HLS_msn=${lastPartSn}&_HLS_part=${lastPartIndex + 1}` : `_HLS_msn=${endSN + 1}&_HLS_part=0`;
}

/** What a version says of a segment that is closed: it may never say anything else. */
const closedSegments = ({ details }) => details.fragments.map(({ sn, relurl, duration, programDateTime, gap }) => ({ sn, relurl, duration, programDateTime, gap: Boolean(gap) }));

const parts = ({ details }) => (details.partList ?? []).map(({ relurl, duration, independent }) => ({ relurl, duration, independent }));

/** Fails unless each version only adds to the one before, at its edge. @param {{text: string, details: LevelDetails}[]} versions */
export function assertOnlyGrowsAtTheEdge(versions) {
  for (let i = 1; i < versions.length; i++) {
    const [before, after] = [versions[i - 1], versions[i]];
    const [had, has] = [closedSegments(before), closedSegments(after)];
    assert.deepEqual(has.slice(0, had.length), had, 'a closed segment changed');
    const known = new Map(parts(before).map((part) => [part.relurl, part]));
    for (const part of parts(after)) if (known.has(part.relurl)) assert.deepEqual(part, known.get(part.relurl), 'a part changed');
    assert.ok(edge(after) >= edge(before), `the edge went back: ${edge(before)} → ${edge(after)}`);
    for (const constant of ['targetduration', 'partTarget', 'partHoldBack']) assert.equal(after.details[constant], before.details[constant], constant);
  }
}

const edge = ({ details }) => details.edge;

/**
 * Fails unless the rendition's segments follow each other without a hole and stand where the origin says.
 * @param {Rendition} rendition @param {number} origin Unix ms @param {{from?: number}} [options] first MSN to look at
 * @returns {Promise<{segments: number, seconds: number}>}
 */
export async function assertOnTheLine(rendition, origin, { from = 0 } = {}) {
  const { text, details } = await mediaPlaylist(rendition.url);
  assert.doesNotMatch(text, /EXT-X-DISCONTINUITY$/m, `${rendition.name} has a discontinuity`);
  assert.doesNotMatch(text, /EXT-X-GAP/, `${rendition.name} has a gap`);
  const listed = details.fragments.filter(({ sn }) => sn >= from);
  const ticks = timescale(await readBytes(listed[0].initSegment.url));
  let expected = null;
  for (const segment of listed) {
    const [first, ...more] = fragments(await readBytes(segment.url));
    for (const moof of [first, ...more]) {
      if (expected !== null) assert.equal(moof.start, expected, `${rendition.name} ${segment.sn}: tfdt does not follow`);
      expected = moof.start + moof.duration;
    }
    const wall = origin + (first.start * 1000) / ticks;
    const off = Math.abs(segment.programDateTime - wall);
    assert.ok(off <= PDT_ROUNDING_MS, `${rendition.name} ${segment.sn}: PDT is ${off} ms from origin + tfdt`);
    assert.match(text, new RegExp(`PROGRAM-DATE-TIME:[^\n]+\n(#[^\n]+\n)*${segment.relurl}`), `${rendition.name} ${segment.sn} says no date`);
  }
  return { segments: listed.length, seconds: expected / ticks };
}

/** A rendition's closed segments as one file. @param {Rendition} rendition @param {string} path @param {{from?: number, to?: number}} [range] MSNs */
export async function download(rendition, path, { from = 0, to = Infinity } = {}) {
  const { details } = await mediaPlaylist(rendition.url);
  const listed = details.fragments.filter(({ sn }) => sn >= from && sn <= to);
  const files = [await readBytes(listed[0].initSegment.url)];
  for (const { url } of listed) files.push(await readBytes(url));
  await writeFile(path, Buffer.concat(files));
  return path;
}

/** Closed segments so far. @param {Rendition} rendition */
export async function closedUntil(rendition) {
  return (await mediaPlaylist(rendition.url)).details.endSN;
}

const nameOf = (url) => new URL(url).pathname.split('/').at(-2);

export async function readText(url) {
  return (await read(url)).text();
}

export async function readBytes(url) {
  return Buffer.from(await (await read(url)).arrayBuffer());
}

async function read(url) {
  const response = await fetch(url);
  assert.equal(response.status, 200, `${url}: ${response.status}`);
  return response;
}
