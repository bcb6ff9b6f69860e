/** What goes wrong at the lecturer's end, or in the transcoder, never breaks the line. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { launch } from '../harness/browser.mjs';
import { Lectern } from '../harness/lectern.mjs';
import { FRAME_TOLERANCE_MS, decode, pictureErrors, summary } from '../harness/measure.mjs';
import { PlaylistFollower, assertOnTheLine, assertOnlyGrowsAtTheEdge, closedUntil, mediaPlaylist, renditions } from '../harness/presentation.mjs';
import { quantile } from '../harness/probe.mjs';
import { CanvasPublisher } from '../harness/publisher/canvas.mjs';
import { Relay } from '../harness/relay.mjs';
import { until } from '../harness/until.mjs';

const ID = 'geology';
const ONE = { timeout: 120_000 };

let browser, lectern, lecturer, relay, token, all, followers, origin;

before(async () => {
  browser = await launch();
  lectern = await Lectern.start({ story: 'faults' });
  ({ token } = await lectern.create(ID));
  lecturer = await CanvasPublisher.open(browser, 'faults');
  assert.equal((await lecturer.publish(url(), token, { width: 640, height: 360 })).status, 201);
  all = await until('the playlists', () => renditions(`${lectern.url}/broadcasts/${ID}/index.m3u8`));
  followers = all.map((rendition) => new PlaylistFollower(rendition.url));
  ({ origin } = await lectern.broadcast(ID));
  await closes(1);
});

after(async () => {
  await browser?.close();
  lecturer?.pages.close();
  relay?.close();
  await lectern?.discard();
});

const url = () => `${lectern.url}/whip/${ID}`;
const edge = async () => (await mediaPlaylist(all[0].url)).details.edge;

/** Waits for that many more segments. @returns {Promise<number>} the MSN of the last */
async function closes(segments) {
  const target = (await closedUntil(all[0])) + segments;
  await until(`segment ${target}`, async () => (await closedUntil(all[0])) >= target);
  return target;
}

/** The pictures of the next whole segment are the lecture's, where they belong. */
async function assertShowsTheLecture(t, when) {
  const last = await closes(2);
  const found = await decode(all.find((r) => r.kind === 'video'), undefined, { from: last, to: last });
  const errors = pictureErrors(found, origin);
  t.diagnostic(`${when}: place on the line − picture clock: ${summary(errors)}, ${found.pictures.length - errors.length} unreadable`);
  assert.ok(errors.length > found.pictures.length * 0.9, `${when} the clock can be read`);
  assert.ok(quantile(errors.map(Math.abs), 0.5) <= FRAME_TOLERANCE_MS, when);
}

describe('the line goes on', () => {
  test('when the picture changes its size', ONE, async (t) => {
    await lecturer.resize(320, 180);
    await assertShowsTheLecture(t, 'at 320×180');
    await lecturer.resize(480, 360);
    // Between bars at both sides: the clock is there, but not where a probe looks.
    await closes(1);
    await lecturer.resize(960, 540);
    await assertShowsTheLecture(t, 'at 960×540');
    await lecturer.resize(640, 360);
  });

  test('when the transcoder is killed', ONE, async (t) => {
    const child = lectern.transcoderOf(ID);
    process.kill(child, 'SIGKILL');
    await until('the fault is told', async () => (await lectern.broadcast(ID)).incidents.count === 1);
    assert.ok(!lectern.children().includes(child));
    await assertShowsTheLecture(t, 'with the new transcoder');
  });

  test('when the lecturer vanishes for ten seconds and returns', ONE, async (t) => {
    const left = await edge();
    await lecturer.vanish();
    await until('ten seconds of line without a lecturer', async () => (await edge()) > left + 10);
    await until('the lecturer is back', async () => (await lecturer.publish(url(), token)).status === 201, { every: 1000 });
    await assertShowsTheLecture(t, 'after the return');
  });

  test('when the network is away for ten seconds, without a word', ONE, async (t) => {
    relay = await Relay.open();
    relay.serverPort = await lecturer.serverPort();
    await lecturer.hangUp();
    assert.equal((await lecturer.publish(url(), token, { port: relay.port })).status, 201);
    await assertShowsTheLecture(t, 'through a relay');
    const left = await edge();
    relay.cut = true;
    await until('ten seconds of line without a network', async () => (await edge()) > left + 10);
    relay.cut = false;
    await lecturer.vanish();
    await until('the lecturer is back', async () => (await lecturer.publish(url(), token, { port: relay.port })).status === 201, { every: 1000 });
    await assertShowsTheLecture(t, 'after the outage');
  });
});

describe('after all of this', () => {
  before(async () => {
    await lectern.end(ID, token);
    for (const follower of followers) await follower.done;
  });

  test('media time has no hole, no rendition a discontinuity, and every date follows from the origin', ONE, async (t) => {
    const lengths = [];
    for (const rendition of all) lengths.push(await assertOnTheLine(rendition, origin));
    t.diagnostic(`${lengths[0].segments} segments, ${lengths[0].seconds.toFixed(1)} s in each of ${all.length} renditions`);
    assert.equal(new Set(lengths.map(({ segments }) => segments)).size, 1);
  });

  test('every published version could be read, and only grew at the edge', ONE, () => {
    for (const { versions } of followers) assertOnlyGrowsAtTheEdge(versions);
  });
});
