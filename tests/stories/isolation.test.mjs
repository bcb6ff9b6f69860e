/** A transcoder that fails is replaced, the broadcast beside it does not notice, and the lecturer is told. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { launch } from '../harness/browser.mjs';
import { Lectern } from '../harness/lectern.mjs';
import { PlaylistFollower, assertOnTheLine, assertOnlyGrowsAtTheEdge, closedUntil, renditions } from '../harness/presentation.mjs';
import { CanvasPublisher } from '../harness/publisher/canvas.mjs';
import { until } from '../harness/until.mjs';

const FAULTY = 'chemistry';
const BESIDE = 'history';
const ONE = { timeout: 120_000 };

let browser, lectern;
/** By the broadcast's id. */
const tokens = {}, lecturers = {}, all = {}, followers = {};

before(async () => {
  browser = await launch();
  // A small ladder: two lectures at once.
  const config = '[transcoder]\npreset = "ultrafast"\nrungs = [{ name = "180p", height = 180, bitrate_kbps = 250 }]\n';
  lectern = await Lectern.start({ story: 'isolation', config });
  for (const id of [FAULTY, BESIDE]) {
    ({ token: tokens[id] } = await lectern.create(id));
    lecturers[id] = await CanvasPublisher.open(browser, `isolation-${id}`);
    assert.equal((await lecturers[id].publish(`${lectern.url}/whip/${id}`, tokens[id], { width: 320, height: 180 })).status, 201);
    all[id] = await until('the playlists', () => renditions(`${lectern.url}/broadcasts/${id}/index.m3u8`));
    followers[id] = all[id].map((rendition) => new PlaylistFollower(rendition.url));
  }
  for (const id of [FAULTY, BESIDE]) await until('a segment', async () => (await closedUntil(all[id][0])) >= 1);
});

after(async () => {
  await browser?.close();
  for (const lecturer of Object.values(lecturers)) lecturer.pages.close();
  await lectern?.discard();
});

const incidents = async (id) => (await lectern.broadcast(id)).incidents;

/** Signals the process that makes the line of the broadcast that was opened first. */
async function fault(signal) {
  const { count } = await incidents(FAULTY);
  const pid = lectern.transcoderOf(FAULTY);
  process.kill(pid, signal);
  return until(`the line after ${signal}`, async () => {
    const told = await incidents(FAULTY);
    return told.count === count + 1 && told.last.stood_ms !== null && told.last;
  });
}

describe('a process that', () => {
  for (const [what, signal, reason] of [['is killed', 'SIGKILL', 'killed'], ['crashes', 'SIGABRT', 'crashed'], ['hangs', 'SIGSTOP', 'hung']]) {
    test(`${what} is replaced, and it is told`, ONE, async (t) => {
      const last = await fault(signal);
      assert.equal(last.reason, reason);
      t.diagnostic(`${signal}: the line stood for ${last.stood_ms} ms`);
      const edge = await closedUntil(all[FAULTY][0]);
      await until('two more segments', async () => (await closedUntil(all[FAULTY][0])) >= edge + 2);
    });
  }

  test('failed is shown to the lecturer', ONE, async () => {
    const page = await browser.newPage();
    await page.goto(`${lectern.url}/studio/${FAULTY}#token=${tokens[FAULTY]}`);
    const said = await page.getByText('start its encoder anew').textContent({ timeout: 30_000 });
    assert.match(said, /3 times .* the lecture went on without a gap/);
    await page.close();
  });

  test('failed is counted by reason, and the sandbox is shown', ONE, async () => {
    const metrics = await (await fetch(`${lectern.url}/metrics`)).text();
    for (const reason of ['killed', 'crashed', 'hung']) {
      const line = metrics.split('\n').find((l) => l.startsWith('lectern_transcoder_respawns_total') && l.includes(`"${FAULTY}"`) && l.includes(`"${reason}"`));
      assert.equal(line?.split(' ').at(-1), '1', reason);
    }
    assert.match(metrics, /lectern_transcoder_sandbox\{kind="seccomp"\} [01]/);
  });
});

describe('after all of this', () => {
  before(async () => {
    for (const id of [FAULTY, BESIDE]) await lectern.end(id, tokens[id]);
    for (const follower of Object.values(followers).flat()) await follower.done;
  });

  test('the broadcast beside it knows of nothing', ONE, async () => {
    assert.deepEqual(await incidents(BESIDE), { count: 0, last: null });
  });

  test('neither line has a hole', ONE, async (t) => {
    for (const id of [FAULTY, BESIDE]) {
      const { origin } = await lectern.broadcast(id);
      for (const rendition of all[id]) {
        const { segments } = await assertOnTheLine(rendition, origin);
        t.diagnostic(`${id}: ${segments} segments of ${rendition.name ?? rendition.kind}`);
      }
      for (const { versions } of followers[id]) assertOnlyGrowsAtTheEdge(versions);
    }
  });
});
