/** Sound with picture, rung with rung, and late pictures. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { launch } from '../harness/browser.mjs';
import { Lectern, SMALL_LADDER } from '../harness/lectern.mjs';
import { FRAME_TOLERANCE_MS, decode, lipSync, pictureErrors, summary } from '../harness/measure.mjs';
import { assertOnTheLine, closedUntil, renditions } from '../harness/presentation.mjs';
import { quantile } from '../harness/probe.mjs';
import { ProcessPublisher } from '../harness/publisher/process.mjs';
import { Relay } from '../harness/relay.mjs';
import { until } from '../harness/until.mjs';
import { Viewer } from '../harness/viewer.mjs';

const ONE = { timeout: 120_000 };
/** Where people begin to notice (ITU-R BT.1359). */
const LIP_SYNC_MS = 40;
const GOP_MS = 1600;
/** Twice the line delay of the second server here. */
const LATE_MS = 300;
const SHORT_LINE = SMALL_LADDER.replace(/line_delay_ms = \d+/, 'line_delay_ms = 150');

let browser, lectern;
before(async () => {
  browser = await launch();
  lectern = await Lectern.start({ story: 'sync' });
});
after(async () => {
  await browser?.close();
  await lectern?.discard();
});

const whip = (id) => `${lectern.url}/whip/${id}`;
const playlists = (id) => until('the playlists', () => renditions(`${lectern.url}/broadcasts/${id}/index.m3u8`));
const rungs = (all) => all.filter(({ kind }) => kind === 'video');
const sound = (all) => all.find(({ kind }) => kind === 'audio');

describe('a lecture from `lectern publish`', () => {
  const id = 'optics';
  let publisher, token, all, origin, viewer;

  before(async () => {
    ({ token } = await lectern.create(id));
    publisher = ProcessPublisher.lectern('sync', { url: whip(id), token, args: ['--size', '640x360', '--bitrate', '1000'] });
    all = await playlists(id);
    ({ origin } = await lectern.broadcast(id));
  });
  after(async () => {
    await viewer?.close();
    await publisher?.stop();
  });

  test('the quality is switched while it plays: no stall, the clock goes on', ONE, async (t) => {
    viewer = await Viewer.open(browser, 'sync', lectern.url, id);
    await viewer.plays();
    for (const { height, name } of [rungs(all).at(-1), rungs(all)[0]]) {
      const since = Date.now();
      await viewer.chooseQuality(name);
      await until(`pictures of ${name}`, async () => (await viewer.shown()).height === height);
      await viewer.plays(60);
      const { pictures, stalls } = await viewer.notes(since);
      const clocks = pictures.map(({ clock }) => clock).filter((clock) => clock !== null);
      t.diagnostic(`to ${name}: ${pictures.length} pictures, ${stalls.length} stalls`);
      assert.deepEqual(stalls, []);
      assert.deepEqual(clocks, [...clocks].sort((a, b) => a - b), 'time never goes back');
    }
  });

  test('flash and beep are together, and every picture in its place', ONE, async (t) => {
    await until('some segments', async () => (await closedUntil(all[0])) >= 5);
    const found = await decode(rungs(all)[0], sound(all), { from: 2, to: 5 });
    const together = lipSync(found);
    const errors = pictureErrors(found, origin);
    t.diagnostic(`beep − flash: ${summary(together)}; place on the line − picture clock: ${summary(errors)}`);
    assert.ok(together.length >= 10, 'there are beeps');
    assert.ok(Math.max(...together.map(Math.abs)) <= LIP_SYNC_MS);
    assert.ok(quantile(errors.map(Math.abs), 0.95) <= FRAME_TOLERANCE_MS);
  });

  test('every rung has its keyframes at the same times', ONE, async () => {
    const [first, ...others] = await Promise.all(rungs(all).map(async (rung) => (await decode(rung, undefined, { from: 1, to: 5 })).keyframes.map(Math.round)));
    assert.equal(first.length, 10);
    assert.ok(first.every((at) => at % GOP_MS === 0), 'they count from the origin');
    for (const other of others) assert.deepEqual(other, first);
  });
});

describe('pictures that come 300 ms late', () => {
  const id = 'acoustics';
  /** OBS's own keyframe interval is 8.3 s: by then there is a second one. */
  const SETTLED_MSN = 4;
  let publisher, relay, token, all, origin;

  before(async () => {
    await lectern.discard();
    lectern = await Lectern.start({ story: 'sync-late', config: SHORT_LINE });
    ({ token } = await lectern.create(id));
    relay = await Relay.open();
    publisher = ProcessPublisher.obs('sync', { url: whip(id), token, seconds: 50, port: relay.port });
    relay.serverPort = (await publisher.said('answer')).serverPort;
    all = await playlists(id);
    ({ origin } = await lectern.broadcast(id));
  });
  after(async () => {
    await publisher?.stop();
    relay?.close();
  });

  test('are counted, and the dates stay right', ONE, async (t) => {
    await until('a good beginning', async () => (await closedUntil(all[0])) >= SETTLED_MSN);
    const before = await late();
    relay.delay = LATE_MS;
    await until('late pictures to be counted', async () => (await late()) > before + 30);
    relay.delay = 0;
    const good = (await closedUntil(all[0])) + 2;
    t.diagnostic(`${(await late()) - before} pictures counted as late`);
    await until('a good end', async () => (await closedUntil(all[0])) >= good);
    for (const rendition of all) await assertOnTheLine(rendition, origin);
    for (const msn of [SETTLED_MSN, good]) {
      const found = await decode(rungs(all)[0], sound(all), { from: msn, to: msn });
      const errors = pictureErrors(found, origin);
      t.diagnostic(`segment ${msn}: place on the line − picture clock: ${summary(errors)}; beep − flash: ${summary(lipSync(found))}`);
      assert.ok(quantile(errors.map(Math.abs), 0.5) <= FRAME_TOLERANCE_MS);
    }
  });

  const late = () => lectern.metric('lectern_transcoder_late_pictures_total', id);
});
