/** A browser sends three layers of its picture: the largest is shown, the next one when it stops, and the largest again. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { launch } from '../harness/browser.mjs';
import { Lectern } from '../harness/lectern.mjs';
import { FRAME_TOLERANCE_MS, decode, pictureErrors, summary } from '../harness/measure.mjs';
import { assertOnTheLine, closedUntil, renditions } from '../harness/presentation.mjs';
import { quantile } from '../harness/probe.mjs';
import { CanvasPublisher } from '../harness/publisher/canvas.mjs';
import { until } from '../harness/until.mjs';

const ONE = { timeout: 180_000 };
const [WIDTH, HEIGHT] = [960, 540];
/** A browser lets the upper layers out once it knows that the network carries them. */
const GROWS = { within: 60_000 };

let browser, lectern, lecturer;
before(async () => {
  browser = await launch();
  lectern = await Lectern.start({ story: 'simulcast' });
});
after(async () => {
  await browser?.close();
  lecturer?.pages.close();
  await lectern?.discard();
});

/** The pixels of what is shown. */
const shown = (id) => lectern.metric('lectern_ingest_picture_pixels', id);
const shows = (id, scale) => until(`the layer of 1/${scale}`, async () => (await shown(id)) === (WIDTH / scale) * (HEIGHT / scale), GROWS);

for (const codec of /** @type {const} */ (['VP8', 'H264'])) {
  // By custom the largest is last; a publisher need not keep it.
  const layers = [1, 2, 4].map((scale) => ({ rid: `r${scale}`, scale }));
  if (codec === 'VP8') layers.reverse();

  describe(`simulcast of ${codec}, ${layers[0].scale === 1 ? 'largest' : 'smallest'} first`, () => {
    const id = `layers-${codec.toLowerCase()}`;
    let all, token;

    test('the largest is shown, whatever its place in the offer', ONE, async () => {
      ({ token } = await lectern.create(id));
      lecturer = await CanvasPublisher.open(browser, 'simulcast');
      assert.equal((await lecturer.publish(`${lectern.url}/whip/${id}`, token, { width: WIDTH, height: HEIGHT, codec, layers })).status, 201);
      all = await until('the playlists', () => renditions(`${lectern.url}/broadcasts/${id}/index.m3u8`));
      await shows(id, 1);
    });

    test('when it stops, the next one is shown; when it comes again, it is', ONE, async () => {
      await lecturer.sendLayer('r1', false);
      await shows(id, 2);
      await lecturer.sendLayer('r1', true);
      await shows(id, 1);
    });

    test('the line shows every picture at its place', ONE, async (t) => {
      const to = (await closedUntil(all[0])) + 1;
      await until('what is closed', async () => (await closedUntil(all[0])) > to);
      const [video, audio] = ['video', 'audio'].map((kind) => all.find((r) => r.kind === kind));
      const { origin } = await lectern.broadcast(id);
      const found = await decode(video, audio, { from: 1, to });
      const errors = pictureErrors(found, origin);
      t.diagnostic(`place on the line − picture clock: ${summary(errors)}, ${found.pictures.length - errors.length} unreadable of ${found.pictures.length}`);
      assert.ok(errors.length > found.pictures.length * 0.9, 'the clock can be read');
      assert.ok(quantile(errors.map(Math.abs), 0.5) <= FRAME_TOLERANCE_MS);
      await lecturer.close();
      await lectern.end(id, token);
      for (const rendition of all) await assertOnTheLine(rendition, origin);
    });
  });
}
