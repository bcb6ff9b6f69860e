/**
 * A camera and a screen from two programs: both in one picture, read in their places; the layout switched live; one leaves
 * and returns, or falls silent and is heard again.
 */
import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { Lectern } from '../harness/lectern.mjs';
import { FRAME_TOLERANCE_MS, decode, lipSync, pictureErrors, summary } from '../harness/measure.mjs';
import { assertOnTheLine, closedUntil, download, renditions } from '../harness/presentation.mjs';
import { probe, quantile } from '../harness/probe.mjs';
import { ProcessPublisher } from '../harness/publisher/process.mjs';
import { until } from '../harness/until.mjs';

const ID = 'topology';
const ONE = { timeout: 180_000 };
const LIP_SYNC_MS = 40;

/** One rung, so large that the clock of an inset is readable. Who falls silent is to stay (`[ingest]`), however long it takes to see that. */
const LADDER = `
silence_s = 120

[transcoder]
line_delay_ms = 400
rungs = [{ name = "720p", height = 720, bitrate_kbps = 2500 }]
`;

/** Where pictures of 16:9 stand on 1280×720 (docs/publishing): left, top, width, height. */
const PLACES = {
  whole: [0, 0, 1280, 720],
  inset: [942, 522, 320, 180],
  left: [0, 182, 636, 356],
  right: [642, 182, 636, 356],
};

/** By the places in which a clock is readable. */
const ARRANGEMENTS = { whole: 'solo', 'whole inset': 'corner', 'left right': 'beside' };

let lectern, token, /** @type {ProcessPublisher} */ camera, /** @type {ProcessPublisher} */ screen;
let video, sound, origin;

const publish = (source) =>
  ProcessPublisher.lectern(`two-sources-${source}`, { url: `${lectern.url}/whip/${ID}?source=${source}`, token, args: ['--size', '640x360', '--bitrate', '1200'] });

const arrange = async (arrangement, ...sources) => {
  const { status, body } = await lectern.api('PUT', `/broadcasts/${ID}/layout`, { token, body: { arrangement, sources } });
  assert.equal(status, 200, JSON.stringify(body));
};

/** Of the two that are on air, those that nothing comes of. */
async function silent() {
  const { on_air } = (await lectern.api('GET', `/broadcasts/${ID}/layout`, { token })).body;
  assert.deepEqual(on_air.map(({ source }) => source).sort(), ['main', 'screen']);
  return on_air.filter(({ silent }) => silent).map(({ source }) => source);
}

before(async () => {
  lectern = await Lectern.start({ story: 'two-sources', config: LADDER });
  ({ token } = await lectern.create(ID));
  camera = publish('main');
  const all = await until('the playlists', () => renditions(`${lectern.url}/broadcasts/${ID}/index.m3u8`));
  [video, sound] = [all.find(({ kind }) => kind === 'video'), all.find(({ kind }) => kind === 'audio')];
  ({ origin } = await lectern.broadcast(ID));
});

after(async () => {
  await Promise.all([camera?.stop(), screen?.stop()]);
  await lectern?.discard();
});

/**
 * What each picture of these segments shows in each place, and how all of it is arranged; null where nothing is readable.
 * @returns {Promise<{at: number, clocks: Record<string, number>, arrangement: string | null}[]>}
 */
async function pictures(from, to = from) {
  const folder = await mkdtemp(join(tmpdir(), 'lectern-places-'));
  try {
    const file = await download(video, join(folder, 'video.mp4'), { from, to });
    const seen = [];
    for (const [name, place] of Object.entries(PLACES)) {
      (await probe(file, { place })).pictures.forEach(({ at, clock }, n) => {
        seen[n] ??= { at, clocks: {} };
        if (clock !== null) seen[n].clocks[name] = clock;
      });
    }
    return seen.map((picture) => ({ ...picture, arrangement: ARRANGEMENTS[Object.keys(picture.clocks).join(' ')] ?? null }));
  } finally {
    await rm(folder, { recursive: true });
  }
}

/** The first closed segment, from one on, that is arranged like that from beginning to end. @returns {Promise<number>} its MSN */
async function arranged(arrangement, from) {
  let msn = from;
  return until(`a segment is all ${arrangement}`, async () => {
    for (; msn <= (await closedUntil(video)); msn++) {
      const seen = await pictures(msn);
      if (seen.every((picture) => picture.arrangement === arrangement)) return msn;
    }
  });
}

/** From one arrangement to another in these segments: by one cut, without anything in between. */
async function assertCut(t, [before, after], from, to) {
  const seen = await pictures(from, to);
  const shown = seen.map(({ arrangement }) => arrangement);
  const cut = shown.indexOf(after);
  t.diagnostic(`${before} → ${after} at ${seen[cut]?.at.toFixed(0)} ms, of ${seen[0].at.toFixed(0)}–${seen.at(-1).at.toFixed(0)}`);
  assert.deepEqual(shown, [...Array(cut).fill(before), ...Array(shown.length - cut).fill(after)]);
}

describe('a camera and a screen', () => {
  let alone, corner;

  test('the camera alone is the whole picture', ONE, async () => {
    alone = await arranged('solo', 1);
  });

  test('a screen takes the picture, and the camera its corner; both are of their time', ONE, async (t) => {
    screen = publish('screen');
    corner = await arranged('corner', alone);
    const seen = await pictures(corner);
    for (const place of ['whole', 'inset']) {
      const errors = pictureErrors({ pictures: seen.map(({ at, clocks }) => ({ at, clock: clocks[place] })) }, origin);
      t.diagnostic(`${place}: place on the line − picture clock: ${summary(errors)}`);
      assert.ok(quantile(errors.map(Math.abs), 0.95) <= FRAME_TOLERANCE_MS);
    }
  });

  test('both are heard, with the lips of each', ONE, async (t) => {
    const found = await decode(video, sound, { from: corner, to: corner });
    const together = lipSync(found);
    t.diagnostic(`beep − flash: ${summary(together)}`);
    assert.ok(together.length >= 2, 'there are beeps');
    assert.ok(Math.max(...together.map(Math.abs)) <= LIP_SYNC_MS);
  });

  test('side by side, at once and without anything in between', ONE, async (t) => {
    const from = await closedUntil(video);
    await arrange('side-by-side', 'screen', 'main');
    const beside = await arranged('beside', from);
    await assertCut(t, ['corner', 'beside'], from, beside);
    corner = beside;
  });

  test('the screen ends: the camera takes the whole picture; it returns to its place', ONE, async (t) => {
    const from = await closedUntil(video);
    await screen.stop();
    const solo = await arranged('solo', from);
    await assertCut(t, ['beside', 'solo'], from, solo);
    screen = publish('screen');
    const back = await arranged('beside', solo);
    await assertCut(t, ['solo', 'beside'], solo, back);
  });

  test('the screen falls silent without a word: after two seconds the camera has the whole picture; then it returns', ONE, async (t) => {
    const from = await closedUntil(video);
    let solo;
    screen.process.kill('SIGSTOP');
    try {
      solo = await arranged('solo', from);
      assert.deepEqual(await silent(), ['screen'], 'its session never ended, and everybody with a studio is told');
    } finally {
      screen.process.kill('SIGCONT');
    }
    await assertCut(t, ['beside', 'solo'], from, solo);
    const back = await arranged('beside', solo);
    await assertCut(t, ['solo', 'beside'], solo, back);
    await until('all are heard', async () => (await silent()).length === 0);
    // One end of the path for each source, of those that are there.
    assert.ok((await lectern.metric('lectern_ingest_rtt_seconds', 'source="main"')) > 0);
    assert.ok((await lectern.metric('lectern_ingest_rtt_seconds', 'source="screen"')) > 0);
  });

  test('the line is whole', ONE, async () => {
    for (const rendition of [video, sound]) await assertOnTheLine(rendition, origin);
  });
});
