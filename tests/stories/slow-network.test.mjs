/** Students on poor networks: the picture moves, as near to the lecturer as that network allows, and finds its way back after an outage. */
import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { after, before, test } from 'node:test';
import { launch } from '../harness/browser.mjs';
import { Lectern } from '../harness/lectern.mjs';
import { summary } from '../harness/measure.mjs';
import { closedUntil, renditions } from '../harness/presentation.mjs';
import { ProcessPublisher } from '../harness/publisher/process.mjs';
import { SlowHttp } from '../harness/slow-http.mjs';
import { soon, until } from '../harness/until.mjs';
import { Viewer } from '../harness/viewer.mjs';

const ID = 'limits';
const ONE = { timeout: 180_000 };
const OUTAGE_MS = 3_000;
/** Ten seconds of pictures. */
const SOME = 300;
const SEGMENT_S = 3.2;
/** So near before what is there that nobody misses what is left out. */
const HOLE_S = 0.4;
/** As `src/core/latency.ts` has them. */
const [SLOWEST, FASTEST] = [0.95, 1.08];

let browser, lectern, publisher, relay;

before(async () => {
  browser = await launch();
  lectern = await Lectern.start({ story: 'slow-network' });
  const { token } = await lectern.create(ID);
  publisher = ProcessPublisher.lectern('slow-network', { url: `${lectern.url}/whip/${ID}`, token, args: ['--size', '640x360'] });
  relay = await SlowHttp.open(lectern.url);
  await until('it is live', async () => (await lectern.broadcast(ID)).state === 'live');
});

after(async () => {
  await browser?.close();
  relay?.close();
  await publisher?.stop();
  await lectern?.discard();
});

const watch = (name) => Viewer.open(browser, `slow-network-${name}`, relay.url, ID);
const stages = (viewer) => viewer.page.evaluate(() => watching.player().latencyStages);

/** Every rate that the video was given, from now on. */
const noteRates = (viewer) =>
  viewer.page.evaluate(() => {
    window.rates = [];
    watching.video().addEventListener('ratechange', (event) => window.rates.push(event.target.playbackRate));
  });

function tell(t, clocks, { stalls }, { targetMs, fetchMs, hints }) {
  t.diagnostic(`glass-to-glass latency: ${summary(clocks.map(({ wall, clock }) => wall - clock))}; ${stalls.length} stalls`);
  t.diagnostic(`target ${targetMs.toFixed(0)} ms, fetch ${fetchMs.toFixed(0)} ms, parts asked for ahead: ${hints.used} used, ${hints.missed} not`);
}

for (const [what, path] of Object.entries({
  'a round trip of 300 ms': { delay: 150, kbps: Infinity },
  '600 kbit/s': { delay: 25, kbps: 600 },
})) {
  test(`${what}: it plays on, and parts are there when they are wanted`, ONE, async (t) => {
    Object.assign(relay, path);
    const viewer = await watch(path.delay);
    await viewer.plays();
    await noteRates(viewer);
    const since = Date.now();
    const clocks = await viewer.plays(SOME);
    const found = await stages(viewer);
    tell(t, clocks, await viewer.notes(since), found);
    const rates = await viewer.page.evaluate(() => window.rates);
    assert.ok(rates.every((rate) => rate >= SLOWEST && rate <= FASTEST), `rates: ${rates}`);
    assert.ok(found.hints.used > found.hints.missed, 'parts asked for ahead were wanted');
    assert.ok(found.targetMs >= 650, 'never nearer than PART-HOLD-BACK');
    assert.deepEqual(viewer.errors, []);
    await viewer.close();
  });
}

test('an outage of three seconds: it goes on by itself, and at the live edge', ONE, async (t) => {
  Object.assign(relay, { delay: 20, kbps: Infinity });
  const viewer = await watch('outage');
  await viewer.plays();
  relay.cut = true;
  await sleep(OUTAGE_MS);
  relay.cut = false;
  const since = Date.now();
  const near = await until('it is live again', async () => {
    const { latencyMs, targetMs } = (await stages(viewer)) ?? {};
    return latencyMs - targetMs < OUTAGE_MS / 2 && latencyMs;
  });
  const clocks = await viewer.plays();
  t.diagnostic(`${near.toFixed(0)} ms behind the edge ${((clocks[0].wall - since) / 1000).toFixed(1)} s after the outage`);
  assert.deepEqual(viewer.errors, []);
  await viewer.close();
});

test('a server that is away: it is asked again until it is back', ONE, async (t) => {
  const viewer = await watch('away');
  await viewer.plays();
  await viewer.page.evaluate(() => (window.notReloaded = true));
  relay.refusing = true;
  await until('the picture stands still', async () => (await viewer.notes(Date.now() - 1_000)).pictures.length === 0);
  await until('the page says so', async () => viewer.page.getByText('The connection is interrupted').first().isVisible());
  relay.refusing = false;
  const since = Date.now();
  const [{ wall }] = await viewer.plays();
  t.diagnostic(`the picture moves ${((wall - since) / 1000).toFixed(1)} s after the server came back`);
  await until('live again', async () => ((await stages(viewer))?.latencyMs ?? Infinity) < 5_000);
  assert.equal(await viewer.page.evaluate(() => window.notReloaded), true);
  assert.deepEqual(viewer.errors, []);
  await viewer.close();
});

test('a segment that is asked for and never comes: the picture goes on behind it', ONE, async (t) => {
  const [best] = await renditions(`${lectern.url}/broadcasts/${ID}/index.m3u8`);
  // Whole segments are asked for only where no parts are listed any more.
  await until('there is something to go back to', async () => (await closedUntil(best)) >= 6);
  const viewer = await watch('unanswered');
  await viewer.plays();
  const [unanswered, cures] = [[], []];
  viewer.page.on('console', (message) => message.text().includes('the picture stands still') && cures.push(message.text()));
  await viewer.page.route(/\/1\.m4s$/, (route) => void unanswered.push(route.request().url()));
  const behindS = 2 * SEGMENT_S;
  await jump(viewer, behindS + SEGMENT_S / 2);
  await until('there is enough to go on with', async () => (await bufferedFrom(viewer, behindS)) > SEGMENT_S);
  const since = Date.now();
  // No browser ends a seek into a hole, and hls.js jumps over none that it waits for.
  const wentOnS = await soon('it to go on', jump(viewer, behindS - HOLE_S));
  t.diagnostic(`it went on ${((Date.now() - since) / 1000).toFixed(1)} s after the jump, at ${wentOnS.toFixed(2)} s; ${unanswered.length} requests without an answer`);
  assert.ok(unanswered.length > 0, 'it was asked for');
  assert.ok(cures.length > 0, 'the page saw that its picture stood');
  assert.ok(wentOnS >= behindS && wentOnS < behindS + SEGMENT_S, 'right behind the hole');
  await viewer.plays();
  assert.deepEqual(viewer.errors, []);
  await viewer.close();
});

/** On the video's time line. @returns {Promise<number>} where it is when the browser has it */
const jump = (viewer, toS) =>
  viewer.page.evaluate(
    (to) =>
      new Promise((resolve) => {
        const video = watching.video();
        video.addEventListener('seeked', () => resolve(video.currentTime), { once: true });
        video.currentTime = to;
      }),
    toS,
  );

/** How much is there from that place on, in seconds. */
const bufferedFrom = (viewer, atS) =>
  viewer.page.evaluate((at) => {
    const { buffered } = watching.video();
    const ends = Array.from({ length: buffered.length }, (_, i) => (buffered.start(i) < at + 0.1 ? buffered.end(i) : 0));
    return Math.max(at, ...ends) - at;
  }, atS);
