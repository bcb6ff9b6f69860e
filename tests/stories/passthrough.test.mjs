/** The source's own pictures as the best rung: seen by a student who notices nothing of it, live and in the recording. */
import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { after, before, describe, test } from 'node:test';
import { join } from 'node:path';
import { launch } from '../harness/browser.mjs';
import { Lectern, SMALL_LADDER } from '../harness/lectern.mjs';
import { FRAME_TOLERANCE_MS, pictureErrors, summary } from '../harness/measure.mjs';
import { assertOnTheLine, closedUntil, mediaPlaylist, readBytes, readText, renditions } from '../harness/presentation.mjs';
import { ffmpeg, probe, quantile } from '../harness/probe.mjs';
import { ProcessPublisher } from '../harness/publisher/process.mjs';
import { until } from '../harness/until.mjs';
import { Viewer } from '../harness/viewer.mjs';

const ONE = { timeout: 150_000 };
const ID = 'statistics';
const CONFIG = SMALL_LADDER.replace('[transcoder]', '[transcoder]\npassthrough = "auto"');
/** Two segments are looked at before the first is copied. */
const SETTLED = 4;

let browser, lectern, publisher, viewer, token, top, others, origin, since;

before(async () => {
  browser = await launch();
  lectern = await Lectern.start({ story: 'passthrough', config: CONFIG });
  ({ token } = await lectern.create(ID));
  publisher = publish();
  const all = await until('the playlists', () => renditions(`${lectern.url}/broadcasts/${ID}/index.m3u8`));
  top = all.find(({ name }) => name === '360p');
  others = all.filter((rendition) => rendition !== top);
  ({ origin } = await lectern.broadcast(ID));
});

after(async () => {
  await viewer?.close();
  await browser?.close();
  await publisher?.stop();
  await lectern?.discard();
});

const publish = () => ProcessPublisher.lectern('passthrough', { url: `${lectern.url}/whip/${ID}`, token, args: ['--size', '640x360', '--bitrate', '600'] });
const inits = async (rendition) => [...(await readText(rendition.url)).matchAll(/EXT-X-MAP:URI="([^"]+)"/g)].map(([, uri]) => uri);
const closes = (msn) => until(`segment ${msn}`, async () => (await closedUntil(top)) >= msn, { within: 60_000 });

/** Slots of the best rung that were copied so far. */
async function copied() {
  const text = await readText(`${lectern.url}/metrics`);
  return Number(/^lectern_transcoder_copied_pictures_total\{[^}]*\} (\d+)/m.exec(text)?.[1] ?? 0);
}

/** What was shown: no stall, no step back, and never a picture left out for long. */
function assertPlaysThrough(t, { pictures, stalls }) {
  const clocks = pictures.map(({ clock }) => clock).filter((clock) => clock !== null);
  const steps = clocks.slice(1).map((clock, n) => clock - clocks[n]);
  const dry = stalls.map(({ media }) => media.toFixed(1)).join(', ');
  t.diagnostic(`${clocks.length} pictures shown from ${pictures[0].media.toFixed(1)} s on, stalls: [${dry}]; from one to the next ${summary(steps)}`);
  assert.deepEqual(stalls, []);
  assert.ok(Math.min(...steps) >= 0, 'time never goes back');
}

describe('a lecture whose pictures are passed through', () => {
  test('plays through the switch from encoded to copied pictures', ONE, async (t) => {
    viewer = await Viewer.open(browser, 'passthrough', lectern.url, ID);
    await viewer.plays();
    await viewer.chooseQuality('360p');
    await until('pictures of the best rung', async () => (await viewer.shown()).height === 360);
    await viewer.plays(30);
    since = Date.now();
    await until('pictures are copied', async () => (await copied()) > 150, { within: 60_000 });
    await closes(SETTLED + 3);
    assertPlaysThrough(t, await viewer.notes(since));
    assert.deepEqual(viewer.errors, []);
  });

  test('another init stands where it begins, and no discontinuity', ONE, async (t) => {
    const [first, ...more] = await inits(top);
    assert.ok(more.length === 1 && more[0] !== first, `${[first, ...more]}`);
    const { details } = await mediaPlaylist(top.url);
    const begins = details.fragments.find(({ initSegment }) => initSegment.url.endsWith(more[0]));
    t.diagnostic(`it stands before segment ${begins.sn}, at ${begins.sn * 3.2} s`);
    for (const rendition of others) assert.equal((await inits(rendition)).length, 1, rendition.name);
    for (const rendition of [top, ...others]) await assertOnTheLine(rendition, origin);
  });

  test('many of its pictures are the source’s own', ONE, async (t) => {
    const [before, from] = [await copied(), await closedUntil(top)];
    await closes(from + 4);
    const share = ((await copied()) - before) / (((await closedUntil(top)) - from) * 96);
    t.diagnostic(`${(100 * share).toFixed(0)} % of the best rung are copied`);
    // A busy machine draws, decodes or sends some pictures late, and then they are encoded until the next keyframe.
    assert.ok(share > 0.5);
  });

  test('a publisher who vanishes and returns breaks nothing', ONE, async (t) => {
    const left = await closedUntil(top);
    const from = Date.now();
    await publisher.kill9();
    await closes(left + 2);
    publisher = publish();
    const before = await copied();
    await until('pictures are copied again', async () => (await copied()) > before + 100, { within: 90_000 });
    assertPlaysThrough(t, await viewer.notes(from));
    for (const rendition of [top, ...others]) await assertOnTheLine(rendition, origin);
  });

  test('the recording decodes, every picture in its place', ONE, async (t) => {
    const { details } = await mediaPlaylist(top.url);
    const last = details.fragments.at(-1);
    // The newest init holds what all segments need.
    const files = [await readBytes(last.initSegment.url), ...(await Promise.all(details.fragments.map(({ url }) => readBytes(url))))];
    const whole = join(lectern.data, 'top.mp4');
    await writeFile(whole, Buffer.concat(files));
    const found = await probe(whole);
    const errors = pictureErrors(found, origin);
    t.diagnostic(`place on the line − picture clock: ${summary(errors)} of ${found.pictures.length}`);
    assert.ok(quantile(errors.map(Math.abs), 0.5) <= FRAME_TOLERANCE_MS);
    await viewer.close();
    await publisher.stop();
    await lectern.end(ID, token);
    const recording = join(lectern.data, 'recording.mp4');
    const bytes = await until('the recording', () => readBytes(`${lectern.url}/broadcasts/${ID}/recording.mp4`), { within: 60_000 });
    await writeFile(recording, bytes);
    assert.equal((bytes.toString('latin1').match(/avcC/g) ?? []).length, 1, 'one sample entry');
    assert.equal(await ffmpeg('-err_detect', 'explode', '-xerror', '-i', recording, '-map', '0:v', '-f', 'null', '-'), '');
  });
});
