/** The server is killed in mid-lecture and started again: the lecture goes on, for those who watch and those who talk. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { launch } from '../harness/browser.mjs';
import { Lectern } from '../harness/lectern.mjs';
import { ProcessPublisher } from '../harness/publisher/process.mjs';
import { closedUntil, mediaPlaylist, readBytes, renditions } from '../harness/presentation.mjs';
import { RoomClient } from '../harness/room.mjs';
import { until } from '../harness/until.mjs';
import { Viewer } from '../harness/viewer.mjs';

const ID = 'history';
const ONE = { timeout: 180_000 };
/** Nothing is shown twice at the same place, but the lecture's clock runs on: pictures of before and after the hole differ by it. */
const FRAME_MS = 1000 / 30;

let browser, lectern, publisher, viewer, host, before_;

before(async () => {
  browser = await launch();
  lectern = await Lectern.start({ story: 'restart' });
  ({ token: host } = await lectern.create(ID));
  publisher = ProcessPublisher.lectern('restart', { url: `${lectern.url}/whip/${ID}`, token: host, args: ['--size', '640x360'] });
  viewer = await Viewer.open(browser, 'restart', lectern.url, ID, { token: host });
  await viewer.plays();
});

after(async () => {
  await browser?.close();
  await publisher?.stop();
  await lectern?.discard();
});

const playlist = (name) => mediaPlaylist(`${lectern.url}/broadcasts/${ID}/${name}/index.m3u8`);
const promises = (text) => text.split('\n').filter((line) => /^#EXT-X-(TARGETDURATION|SERVER-CONTROL|PART-INF|MAP|MEDIA-SEQUENCE)/.test(line));

describe('killed and started again', () => {
  test('what was said and acknowledged before is there, and people talk on', ONE, async () => {
    const room = await RoomClient.join(lectern.url, ID, host);
    const said = [];
    // Until the very moment of its death somebody talks.
    const talking = (async () => {
      for (let n = 0; ; n += 1) {
        const answer = await room.say(`word ${n}`, Date.now() - 1000);
        if (answer.type !== 'ack') return;
        said.push(`word ${n}`);
      }
    })().catch(() => undefined);
    const all = await renditions(`${lectern.url}/broadcasts/${ID}/index.m3u8`);
    await until('three segments', async () => (await closedUntil(all[0])) >= 3);
    const versions = await Promise.all(all.map(({ name }) => playlist(name)));
    before_ = { all, versions, broadcast: await lectern.broadcast(ID), marked: await viewer.page.evaluate(() => (window.notReloaded = Date.now())) };
    await lectern.kill9();
    await talking;
    room.leave();
    await lectern.rise();
    assert.ok(said.length > 0, 'somebody talked');
    const again = await RoomClient.join(lectern.url, ID, host);
    const bodies = again.events.map(({ body }) => body);
    const recent = said.filter((word) => bodies.includes(word));
    // History on joining is short: the newest are enough to see that nothing is missing at the end.
    assert.deepEqual(recent, said.slice(-recent.length));
    assert.ok(recent.includes(said.at(-1)), 'the last word that was acknowledged');
    assert.equal((await again.say('still here', Date.now())).type, 'ack');
    again.leave();
  });

  test('the line goes on at the next segment, with the same promises, behind a hole', ONE, async (t) => {
    const after_ = await lectern.broadcast(ID);
    assert.equal(after_.state, 'live');
    assert.equal(after_.origin, before_.broadcast.origin);
    for (const [n, { name, kind }] of before_.all.entries()) {
      const was = before_.versions[n];
      const { text, details } = await until(`${name} goes on`, async () => {
        const version = await playlist(name);
        return version.details.fragments.some(({ gap }) => gap) && version.details.fragments.at(-1).gap !== true ? version : null;
      });
      assert.deepEqual(promises(text), promises(was.text), name);
      assert.doesNotMatch(text, /EXT-X-DISCONTINUITY\n/);
      const gaps = details.fragments.filter(({ gap }) => gap).map(({ sn }) => sn);
      assert.deepEqual(gaps, gaps.map((_, i) => gaps[0] + i), 'one hole');
      for (const { sn, programDateTime } of details.fragments) assert.ok(Math.abs(programDateTime - before_.broadcast.origin - sn * 3200) < 1, `${name} ${sn}: its date`);
      const kept = details.fragments.filter(({ sn }) => sn < gaps[0]);
      const known = new Map(was.details.fragments.map((fragment) => [fragment.relurl, fragment]));
      for (const { relurl, duration, url } of kept) {
        if (known.has(relurl)) assert.equal(duration, known.get(relurl).duration);
        assert.ok((await readBytes(url)).length > 100, `${relurl} of ${name} (${kind}) is there`);
      }
      t.diagnostic(`${name}: ${kept.length} segments kept, ${gaps.length} missing, goes on at ${gaps.at(-1) + 1}`);
    }
  });

  test('the page goes on by itself, without a reload', ONE, async (t) => {
    const clocks = await viewer.plays(60);
    assert.equal(await viewer.page.evaluate(() => window.notReloaded), before_.marked, 'the same page');
    const { pictures } = await viewer.notes(before_.marked);
    const shown = pictures.filter(({ clock }) => clock !== null);
    const gap = Math.max(...shown.slice(1).map(({ wall }, n) => wall - shown[n].wall));
    t.diagnostic(`no new picture for ${(gap / 1000).toFixed(1)} s; ${((Date.now() - clocks.at(-1).clock) / 1000).toFixed(2)} s behind afterwards`);
    for (const { clock, position } of clocks) assert.ok(Math.abs(position - clock) < 3 * FRAME_MS, 'pictures stand where the player says');
    await until('live again', async () => (await viewer.page.evaluate(() => watching.player().latencyMs)) < 5_000);
    assert.deepEqual(viewer.errors, []);
  });

  test('what was before the hole plays', ONE, async () => {
    const { origin } = before_.broadcast;
    await viewer.goTo(origin + 4_000);
    const { clock } = await viewer.shown();
    assert.ok(Math.abs(clock - (origin + 4_000)) < 500, `the picture of then: ${clock - origin}`);
    await viewer.backToLive();
    await viewer.plays();
  });

  test('the end makes one recording of it', ONE, async () => {
    await lectern.end(ID, host);
    const { text, details } = await playlist(before_.all[0].name);
    assert.match(text, /#EXT-X-ENDLIST/);
    assert.equal(details.startSN, 0);
    const storyboard = await (await lectern.get(`/broadcasts/${ID}/thumbs/storyboard.vtt`)).text();
    const pictured = [...storyboard.matchAll(/^(\d+)\.jpg/gm)].map(([, msn]) => Number(msn));
    const whole = details.fragments.filter(({ gap, duration }) => !gap && duration > 3).map(({ sn }) => sn);
    assert.deepEqual(pictured.filter((msn) => whole.includes(msn)), whole, 'a picture beside the seek bar for each, before the hole and behind it');
    const broadcast = await lectern.broadcast(ID);
    const seconds = details.fragments.reduce((sum, { duration }) => sum + duration, 0);
    assert.ok(Math.abs(broadcast.duration / 90_000 - seconds) < 0.5, `${broadcast.duration / 90_000} s, listed ${seconds} s`);
  });
});
