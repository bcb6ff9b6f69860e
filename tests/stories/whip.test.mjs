/** The ways to a server, with a real browser: over TCP where UDP is not let out, and over another path in mid-lecture. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { launch } from '../harness/browser.mjs';
import { Lectern } from '../harness/lectern.mjs';
import { CanvasPublisher } from '../harness/publisher/canvas.mjs';
import { until } from '../harness/until.mjs';

let browser;
before(async () => (browser = await launch()));
after(() => browser?.close());

for (const [way, env] of Object.entries({ udp: {}, tcp: { LECTERN_INGEST__UDP: '[]', LECTERN_INGEST__TCP: '127.0.0.1:0' } })) {
  describe(`Chromium over ${way}`, () => {
    const id = `over-${way}`;
    /** @type {Lectern} */
    let lectern;
    /** @type {CanvasPublisher} */
    let publisher;

    before(async () => {
      lectern = await Lectern.start({ story: `whip-${way}`, env });
      publisher = await CanvasPublisher.open(browser, `whip-${way}`);
    });
    after(async () => {
      await publisher?.close();
      await lectern?.discard();
    });

    const pictures = () => lectern.metric('lectern_ingest_frames_total', 'track="video"');

    test('is on air', async () => {
      const { token } = await lectern.create(id);
      assert.equal((await publisher.publish(`${lectern.url}/whip/${id}`, token)).status, 201);
      await until('the lecture is live', async () => (await lectern.broadcast(id)).state === 'live');
      const { protocol } = await until('a way that is chosen', () => publisher.transport());
      assert.equal(protocol, way);
    });

    test('restarts ICE and goes on in the same session', async () => {
      for (const times of [1, 2]) {
        const before = await pictures();
        const restarted = await publisher.restart();
        assert.equal(restarted.status, 200, restarted.body);
        assert.equal(await lectern.metric('lectern_ingest_ice_restarts_total'), times);
        await until('pictures', async () => (await pictures()) > before + 30);
        assert.equal((await publisher.transport())?.protocol, way);
      }
      assert.equal((await lectern.broadcast(id)).on_air, true);
      assert.equal(await publisher.hangUp(), 200);
    });
  });
}
