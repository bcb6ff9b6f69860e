/**
 * Every client that a machine like this can have publishes for real, goes, and comes back: its pictures stand on the line where they were
 * captured, and its sound with them. What each of them needs: docs/publishing/clients.md.
 */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { launch } from '../harness/browser.mjs';
import { Lectern } from '../harness/lectern.mjs';
import { FRAME_MS, FRAME_TOLERANCE_MS, decode, lipSync, pictureErrors, summary } from '../harness/measure.mjs';
import { assertOnTheLine, closedUntil, renditions } from '../harness/presentation.mjs';
import { quantile } from '../harness/probe.mjs';
import { CanvasPublisher } from '../harness/publisher/canvas.mjs';
import { FirefoxPublisher } from '../harness/publisher/firefox.mjs';
import { ProcessPublisher } from '../harness/publisher/process.mjs';
import { until } from '../harness/until.mjs';

const ONE = { timeout: 180_000 };
/** Segments of each session: the first time long enough for a clock to settle. */
const VISITS = [2, 1];
/** Pictures that a session shows at the very least: more of them say only how busy the machine was. */
const PICTURES = 30;
const UNREADABLE = 0.1;
/** Of a beep against its second: one packet of sound, and what codecs and browsers blur. */
const BEEP_TOLERANCE_MS = 60;
/** As wide as the smallest picture that the clock can be read from; and encoded for as little as can be. */
const CHEAP = `
[transcoder]
line_delay_ms = 400
preset = "ultrafast"
rungs = [{ name = "360p", height = 360, bitrate_kbps = 1000 }]
`;
const SHORT_GOP = { g: '60' };
const TWO_FRAMES_MS = 2 * FRAME_MS;

/** @type {Lectern} */
let lectern;
/** @type {import('playwright-core').Browser} */
let browser;
before(async () => {
  // Every address of this machine: Firefox does not publish to its own.
  lectern = await Lectern.start({ story: 'clients', config: CHEAP, udp: '0.0.0.0:0' });
  browser = await launch();
});
after(async () => {
  await browser?.close();
  await lectern?.discard();
});

/**
 * @typedef {{leave: () => Promise<number>, simulcast?: string, publisher: any}} Visit `leave` gives the status of its DELETE; `simulcast`: what the answer says of it
 * @typedef {{visit: (on: {url: string, token: string}, t: import('node:test').TestContext) => Promise<Visit>, early?: number, beeps?: number, simulcast?: string}} Client
 *   `early`: how far its RTP times of pictures are, ms; `beeps`: how far off its own sound may be, where it cannot make a true one;
 *   `simulcast`: what the answer has to say
 */

/** A program of its own. @param {'obs' | 'aiortc' | 'ffmpeg' | 'gstreamer' | 'pion'} kind @returns {Client} */
const program = (kind, options = {}, more = {}) => ({
  ...more,
  async visit(on, t) {
    const publisher = ProcessPublisher[kind]('clients', { ...on, ...options });
    t.after(() => publisher.kill9());
    const { status, body, simulcast } = await publisher.said('answer');
    assert.equal(status, 201, body);
    const { first = 0 } = await publisher.said('sending');
    await until('its first picture', () => Date.now() >= first);
    const leave = async () => {
      await publisher.stop();
      return (await publisher.said('deleted')).status;
    };
    return { leave, simulcast, publisher };
  },
});

/** A page in a browser. @param {() => Promise<CanvasPublisher | FirefoxPublisher>} open @returns {Client} */
const page = (open, options, more) => ({
  ...more,
  async visit(on, t) {
    const publisher = await open();
    let closed = false;
    const close = async () => {
      if (!closed) await publisher.close();
      closed = true;
    };
    t.after(close);
    const { status, body, simulcast } = await publisher.publish(on.url, on.token, options);
    assert.equal(status, 201, body);
    const leave = async () => {
      const deleted = await publisher.hangUp();
      await close();
      return deleted;
    };
    return { leave, simulcast, publisher };
  },
});
/** What Firefox without a sound card takes for a microphone is early and late by itself, by up to half a second: that it is heard is all. */
const HEARD = { beeps: 500 };
const chromium = (options, more) => page(() => CanvasPublisher.open(browser, 'clients'), options, more);
const firefox = (options, more) => page(() => FirefoxPublisher.open('clients'), options, { ...HEARD, ...more });

const SIZES = [{ width: 640, height: 360, kbps: 1000 }, { width: 320, height: 180, kbps: 300 }, { width: 160, height: 90, kbps: 100 }];
const LAYERS = [{ rid: 'q', scale: 4 }, { rid: 'h', scale: 2 }, { rid: 'f', scale: 1 }];

/** @type {Record<string, Client>} */
const PROGRAMS = {
  'OBS: H.264 High that calls itself 42e01f, 250 pictures to a keyframe': program('obs'),
  'OBS 32.1: four slices, first packets missing, a report before any media': program('obs', { layers: SIZES.slice(0, 1), firstLost: 3, encoder: { g: '45', slices: '4' } }),
  'OBS, AV1': program('obs', { codec: 'AV1', encoder: SHORT_GOP }),
  'OBS of old: two B-frames, RTP times of decoding': program('obs', { encoder: { preset: 'veryfast', tune: 'fastdecode', bf: '2', g: '60' } }, { early: TWO_FRAMES_MS }),
  'OBS 32.1, three layers': program('obs', { layers: SIZES, encoder: SHORT_GOP }, { simulcast: 'recv 0;1;2' }),
  'aiortc, H.264 and G.722': program('aiortc', { video: 'H264', audio: 'G722' }),
  'aiortc, VP8 and PCMU': program('aiortc', { video: 'VP8', audio: 'PCMU' }),
  'FFmpeg, baseline, with the certificate that it makes itself': program('ffmpeg', { certificate: false }),
  'FFmpeg, high': program('ffmpeg', { encoder: { profile: 'high', preset: 'veryfast' } }),
  'GStreamer, H.264': program('gstreamer', { codec: 'H264' }, { beeps: 150 }),
  'pion, H.264, trickle ICE': program('pion', { codec: 'H264', trickle: true, encoder: SHORT_GOP }),
  'pion, VP9, first packets missing': program('pion', { codec: 'VP9', firstLost: 3, encoder: { g: '45' } }),
  'pion, AV1 and nothing but NACK': program('pion', { codec: 'AV1', noRtx: true, encoder: SHORT_GOP }),
  'pion, three layers, each with its repairs': program('pion', { codec: 'H264', layers: SIZES, encoder: SHORT_GOP }, { simulcast: 'recv 0;1;2' }),
};
/** @type {Record<string, Client>} */
const BROWSERS = {
  'Chromium, H.264': chromium({ codec: 'H264' }),
  'Chromium, VP8': chromium({ codec: 'VP8' }),
  'Chromium, VP9': chromium({ codec: 'VP9', width: 480, height: 270 }),
  'Chromium, AV1': chromium({ codec: 'AV1', width: 480, height: 270 }),
  'Chromium, three layers': chromium({ codec: 'VP8', width: 960, height: 540, layers: LAYERS }, { simulcast: 'recv q;h;f' }),
  'Firefox, VP8': firefox({ codec: 'VP8' }),
  'Firefox, AV1': firefox({ codec: 'AV1' }),
  'Firefox, three layers': firefox({ codec: 'VP8', width: 960, height: 540, layers: LAYERS }, { simulcast: 'recv q;h;f' }),
};

// Programs wait for the most part; browsers encode.
describe('pictures and sound from programs', { concurrency: 3 }, () => {
  for (const [name, client] of Object.entries(PROGRAMS)) {
    test(name, ONE, async (t) => assertHeardAndSeen(t, client, await lecture(t, client)));
  }

  test('pion, an ICE restart', ONE, async (t) => {
    const client = program('pion', { codec: 'VP8', encoder: SHORT_GOP, restartAfter: 3 });
    const shown = await lecture(t, client, async ({ publisher }) => {
      const { status, changed } = await publisher.said('restarted');
      assert.deepEqual([status, changed], [200, true], 'PATCH, with another ETag');
    });
    assertHeardAndSeen(t, client, shown);
  });
});

describe('pictures and sound from browsers', { concurrency: 2 }, () => {
  for (const [name, client] of Object.entries(BROWSERS)) {
    test(name, ONE, async (t) => assertHeardAndSeen(t, client, await lecture(t, client)));
  }

  test('Chromium, a picture without sound', ONE, async (t) => {
    const client = chromium({ sound: false });
    const { found, origin, visits } = await lecture(t, client);
    for (const visit of visits) assertPictures(t, client, found, origin, visit);
    assert.deepEqual(found.beeps, []);
  });

  test('Chromium, sound without a picture', ONE, async (t) => {
    const client = chromium({ picture: false });
    const { found, origin, visits } = await lecture(t, client);
    for (const visit of visits) assertSound(t, client, found, origin, visit);
    assert.ok(found.pictures.length > 0 && found.pictures.every(({ clock }) => clock === null), 'there is a slate');
  });

  test('Chromium, a camera that is found later', ONE, async (t) => {
    const client = chromium({ picture: 'later' });
    const shown = await lecture(t, client, ({ publisher }) => publisher.addPicture());
    assert.equal(shown.found.pictures[0].clock, null, 'sound was on the air before it');
    assertHeardAndSeen(t, client, shown);
  });
});

/**
 * The whole of a lecture by a client that leaves and comes back.
 * @param {import('node:test').TestContext} t @param {Client} client @param {(visit: Visit) => Promise<void>} [onAir] what it does when its lecture can be watched
 */
async function lecture(t, client, onAir) {
  const id = t.name.toLowerCase().replace(/[^a-z0-9]+/g, '-').slice(0, 40);
  const { token } = await lectern.create(id);
  const index = `${lectern.url}/broadcasts/${id}/index.m3u8`;
  const visits = [];
  let all = [];
  for (const segments of VISITS) {
    const visit = await client.visit({ url: `${lectern.url}/whip/${id}`, token }, t);
    assert.equal(visit.simulcast || undefined, client.simulcast, 'the answer takes all layers, or there are none');
    const begin = Date.now();
    all = await until('the playlists', () => renditions(index));
    await onAir?.(visit);
    const from = await closedUntil(all[0]);
    await until(`${segments} more segments`, async () => (await closedUntil(all[0])) > from + segments);
    assert.equal(await visit.leave(), 200, 'DELETE');
    visits.push({ begin, end: Date.now() });
  }
  const { origin } = await lectern.broadcast(id);
  const last = await closedUntil(all[0]);
  // What was sent at last stands on the line a little later.
  await until('the last of it', async () => (await closedUntil(all[0])) > last);
  const [video, audio] = [all.find(({ kind }) => kind === 'video'), all.find(({ kind }) => kind === 'audio')];
  for (const rendition of all) await assertOnTheLine(rendition, origin);
  return { found: await decode(video, audio), origin, visits };
}

function assertHeardAndSeen(t, client, { found, origin, visits }) {
  for (const visit of visits) {
    assertPictures(t, client, found, origin, visit);
    assertSound(t, client, found, origin, visit);
  }
  const { early = 0, beeps } = client;
  if (beeps !== HEARD.beeps) assert.ok(Math.abs(quantile(lipSync(found), 0.5) - early) <= BEEP_TOLERANCE_MS, 'lip sync');
}

function assertPictures(t, { early = 0 }, found, origin, { begin, end }) {
  const own = found.pictures.filter(({ clock }) => clock !== null && clock >= begin && clock < end);
  const clocks = own.map(({ clock }) => clock);
  const shown = found.pictures.filter(({ at }) => at >= own[0]?.at && at <= own.at(-1)?.at);
  const unreadable = shown.filter(({ clock }) => clock === null).length;
  // A picture stays until the next one has come: what counts is where it appears.
  const first = own.filter(({ clock }, i) => clock !== clocks[i - 1]);
  const errors = pictureErrors({ pictures: first }, origin);
  const distinct = new Set(clocks).size;
  t.diagnostic(`${distinct} pictures in ${((clocks.at(-1) - clocks[0]) / 1000).toFixed(1)} s, ${unreadable} of ${shown.length} unreadable; place on the line − picture clock: ${summary(errors)}`);
  assert.ok(distinct >= PICTURES, `only ${distinct} different pictures`);
  assert.ok(clocks.every((clock, i) => i === 0 || clock >= clocks[i - 1]), 'pictures go forwards');
  assert.ok(unreadable <= shown.length * UNREADABLE, 'pictures are whole');
  assert.ok(Math.abs(quantile(errors, 0.5) + early) <= FRAME_TOLERANCE_MS, 'PROGRAM-DATE-TIME is the time of capture');
}

function assertSound(t, { beeps = BEEP_TOLERANCE_MS }, found, origin, { begin, end }) {
  const own = found.beeps.filter((at) => origin + at >= begin && origin + at < end);
  // A beep is on a whole second.
  const errors = own.map((at) => ((origin + at + 500) % 1000) - 500);
  t.diagnostic(`${own.length} beeps in ${((end - begin) / 1000).toFixed(1)} s; place on the line − second: ${summary(errors)}; beep − flash: ${summary(lipSync({ ...found, beeps: own }))}`);
  assert.ok(own.length >= 2, 'the sound is heard');
  assert.ok(quantile(errors.map(Math.abs), 0.5) <= beeps, 'PROGRAM-DATE-TIME is the time of the sound');
}
