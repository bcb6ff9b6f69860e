/** Lecturers on bad networks: the line never breaks, nothing broken is shown, and everything is in its place again afterwards. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { BadPath } from '../harness/bad-path.mjs';
import { launch } from '../harness/browser.mjs';
import { Lectern } from '../harness/lectern.mjs';
import { FRAME_TOLERANCE_MS, decode, lipSync, pictureErrors, summary } from '../harness/measure.mjs';
import { assertOnTheLine, closedUntil, mediaPlaylist, renditions } from '../harness/presentation.mjs';
import { quantile } from '../harness/probe.mjs';
import { CanvasPublisher } from '../harness/publisher/canvas.mjs';
import { ProcessPublisher } from '../harness/publisher/process.mjs';
import { until } from '../harness/until.mjs';

const ONE = { timeout: 120_000 };
/** Where people begin to notice (ITU-R BT.1359). */
const LIP_SYNC_MS = 40;
/** Of the pictures' place, against what it was in good weather. */
const SETTLED_MS = FRAME_TOLERANCE_MS;
/** A picture between two that are cross-faded, or none at all, has no clock. The slate has none either. */
const UNREADABLE = 0.02;
const SLATE_S = 2;
/** Segments of 3.2 s: seconds to believe that the network is good again, seconds to catch up. */
const BACK_AFTER = 5;
/** OBS has a keyframe every 8.3 s, and does nothing when one is asked for. */
const OBS_LATER = 3;
/** `kbps` of a lecturer: about what these pictures and sound take. A path of 40 ms there and back: */
const [GOOD, SEED] = [{ delay: 20, backDelay: 20 }, 6];

const WEATHER = {
  'a tenth of the packets lost': { path: { loss: 0.1 }, seconds: 8 },
  '100 ms of jitter': { path: { jitter: 100 }, seconds: 8 },
  'packets overtaken and doubled': { path: { overtaken: 0.1, doubled: 0.1 }, seconds: 6 },
  'an outage of three seconds': { path: { cut: true }, seconds: 3 },
  'a third of its rate for ten seconds': { narrow: true, path: {}, seconds: 10 },
  'another address': { move: true, path: {}, seconds: 5 },
};

let browser, lectern;
before(async () => {
  browser = await launch();
  lectern = await Lectern.start({ story: 'bad-networks' });
});
after(async () => {
  await browser?.close();
  await lectern?.discard();
});

const lecturers = {
  'lectern publish': async (url, token) => {
    const publisher = ProcessPublisher.lectern('bad-networks', { url, token, args: ['--size', '640x360', '--bitrate', '1000'] });
    return { kbps: 1_000, stop: () => publisher.stop() };
  },
  'a browser': async (url, token) => {
    const publisher = await CanvasPublisher.open(browser, 'bad-networks');
    assert.equal((await publisher.publish(url, token)).status, 201);
    return { kbps: 300, stop: () => publisher.close(), sent: () => publisher.sent() };
  },
  OBS: async (url, token) => {
    const publisher = ProcessPublisher.obs('bad-networks', { url, token, seconds: 130 });
    return { later: OBS_LATER, kbps: 300, stop: () => publisher.stop() };
  },
};

for (const [who, publish] of Object.entries(lecturers)) {
  describe(who, () => {
    const id = who.replaceAll(' ', '-').toLowerCase();
    let through, publisher, all, video, sound, origin, good;

    before(async () => {
      const { token } = await lectern.create(id);
      through = await BadPath.open(lectern.url, { seed: SEED });
      through.relay.weather(GOOD);
      publisher = await publish(`${through.url}/whip/${id}`, token);
      all = await until('the playlists', () => renditions(`${lectern.url}/broadcasts/${id}/index.m3u8`), { within: 120_000 });
      [video, sound] = [all.find(({ kind }) => kind === 'video'), all.find(({ kind }) => kind === 'audio')];
      ({ origin } = await lectern.broadcast(id));
      good = await settled('good weather', (await closedUntil(video)) + 2, { place: 0 });
    });
    after(async () => {
      await publisher?.stop();
      through?.close();
    });

    const edge = async () => (await mediaPlaylist(video.url)).details.edge;

    /** What a closed segment shows. */
    async function segment(msn) {
      await until(`segment ${msn}`, async () => (await closedUntil(video)) >= msn);
      const found = await decode(video, sound, { from: msn, to: msn });
      const [errors, together] = [pictureErrors(found, origin), lipSync(found)];
      return { msn, found, errors, together, place: quantile(errors, 0.5) };
    }

    /** The first segment from `msn` on with every picture and every word in its place. */
    async function settled(what, msn, { place, segments = BACK_AFTER + (publisher.later ?? 0) }) {
      const seen = [];
      for (let n = 0; n <= segments; n++) {
        const s = await segment(msn + n);
        seen.push(`${s.msn}: place ${summary(s.errors)}, beep − flash ${summary(s.together)}`);
        const inPlace = s.errors.length > s.found.pictures.length * (1 - UNREADABLE) && Math.abs(s.place - place) <= SETTLED_MS && quantile(s.errors, 0.9) - place <= SETTLED_MS;
        const together = s.together.length >= 2 && s.together.every((beep) => Math.abs(beep) <= LIP_SYNC_MS);
        if (inPlace && together) return { ...s, after: n };
      }
      assert.fail(`${what}: not in its place again\n${seen.join('\n')}`);
    }

    for (const [what, { path, seconds, move, narrow }] of Object.entries(WEATHER)) {
      test(what, ONE, async (t) => {
        const weather = narrow ? { kbps: publisher.kbps / 3 } : path;
        const [first, began, asked, sent] = [(await closedUntil(video)) + 1, await edge(), await nacked(), await publisher.sent?.()];
        through.relay.weather({ ...GOOD, ...weather });
        if (move) through.relay.move();
        await until(`${seconds} s of line`, async () => (await edge()) > began + seconds);
        const meanwhile = await publisher.sent?.();
        through.relay.weather(GOOD);
        const last = (await closedUntil(video)) + 1;
        const found = await settled(what, last + 1, { place: good.place });
        const during = await decode(video, sound, { from: first, to: last });
        t.diagnostic(`meanwhile: place ${summary(pictureErrors(during, origin))}, beep − flash ${summary(lipSync(during))}, ${(await nacked()) - asked} packets asked for again`);
        if (sent) t.diagnostic(`sent ${(((meanwhile.bytes - sent.bytes) * 8) / (meanwhile.at - sent.at)).toFixed(0)} kbit/s, believes in ${sent.kbps.toFixed(0)} → ${meanwhile.kbps.toFixed(0)} → ${(await publisher.sent()).kbps.toFixed(0)} kbit/s`);
        t.diagnostic(`in its place from segment ${found.after} after it: place ${summary(found.errors)}, beep − flash ${summary(found.together)}`);
        if (sent && weather.kbps) assert.ok(meanwhile.kbps < sent.kbps / 2, 'the browser notices that the path is narrow');
        assertNothingBroken(during, move || weather.cut ? seconds : 0);
      });
    }

    test('the line has every slot, no discontinuity, and every date is right', ONE, async (t) => {
      const lengths = [];
      for (const rendition of all) lengths.push(await assertOnTheLine(rendition, origin));
      t.diagnostic(`${lengths[0].segments} segments, ${lengths[0].seconds.toFixed(1)} s`);
    });

    const nacked = () => lectern.metric('lectern_ingest_packets_nacked_total', id);
  });
}

/** Every picture has a whole clock that never goes back, but for the slate of an outage (another address is one, too). */
function assertNothingBroken({ pictures }, outage) {
  const clocks = pictures.map(({ clock }) => clock).filter((clock) => clock !== null);
  const slate = Math.max(0, outage - SLATE_S + 1) * 30;
  const unreadable = pictures.length - clocks.length;
  assert.ok(unreadable <= slate + pictures.length * UNREADABLE, `${unreadable} of ${pictures.length} pictures cannot be read`);
  assert.deepEqual(clocks, [...clocks].sort((a, b) => a - b), 'time never goes back');
}
