/** The ways to a server, with a real browser: over TCP where UDP is not let out, over a relay, and over another path in mid-lecture. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { launch } from '../harness/browser.mjs';
import { Lectern, SMALL_LADDER } from '../harness/lectern.mjs';
import { freePort } from '../harness/port.mjs';
import { CanvasPublisher } from '../harness/publisher/canvas.mjs';
import { Turn } from '../harness/turn.mjs';
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

    test('restarts ICE towards nowhere, and loses nothing', async () => {
      const before = { pictures: await pictures(), way: await publisher.transport() };
      const restarted = await publisher.restart({ port: await freePort() });
      assert.equal(restarted.status, 200, restarted.body);
      await until('pictures', async () => (await pictures()) > before.pictures + 60);
      assert.deepEqual(await publisher.transport(), before.way, 'over the old path');
    });

    test('restarts ICE and goes on in the same session', async () => {
      for (const times of [2, 3]) {
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

describe('Chromium over a relay', () => {
  const id = 'over-a-relay';
  let turn, lectern, publisher;

  before(async () => {
    turn = await Turn.start('whip');
    lectern = await Lectern.start({ story: 'whip-relay', config: SMALL_LADDER + turn.config });
    publisher = await CanvasPublisher.open(browser, 'whip-relay');
  });
  after(async () => {
    await publisher?.close();
    await lectern?.discard();
    await turn?.stop();
  });

  test('is on air with the credentials that the server gave it', async () => {
    const { token } = await lectern.create(id);
    const published = await publisher.publish(`${lectern.url}/whip/${id}`, token, { relayed: true });
    assert.equal(published.status, 201, published.body);
    const [expiry, person] = published.relays[0].username.split(':');
    assert.ok(Number(expiry) > Date.now() / 1000 && person, 'for a time, and for one person');
    await until('pictures', async () => (await lectern.metric('lectern_ingest_frames_total', 'track="video"')) > 30);
    const { from, relay } = await until('a way that is chosen', () => publisher.transport());
    assert.deepEqual([from, relay?.startsWith(`turn:127.0.0.1:${turn.port}`)], ['relay', true]);
    assert.ok(turn.sessions.some((line) => / new, /.test(line) && line.includes(`:${person}>`)), turn.sessions.join('\n'));
    assert.equal(await publisher.hangUp(), 200);
  });
});
