/**
 * A lecture whose archive is a bucket on a real S3 server: it plays straight from there, live and afterwards, with Lectern off;
 * and the store may go away for as long as it likes.
 */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { promisify } from 'node:util';
import { launch } from '../harness/browser.mjs';
import { BucketWatch } from '../harness/bucket.mjs';
import { Lectern, SMALL_LADDER } from '../harness/lectern.mjs';
import { PlainPlayer } from '../harness/plain.mjs';
import { assertOnTheLine, closedUntil, mediaPlaylist, readBytes, renditions } from '../harness/presentation.mjs';
import { ProcessPublisher } from '../harness/publisher/process.mjs';
import { Store } from '../harness/s3.mjs';
import { until } from '../harness/until.mjs';
import { Viewer } from '../harness/viewer.mjs';

const run = promisify(execFile);
const ID = 'topology';
const BUCKET = 'lectures';
const PREFIX = 'of/2026';
/** What stays in memory, by the packager's least, and some more: an older segment comes from the bucket. */
const OUT_OF_MEMORY = 14;
/** 3.2 s each: half a minute. */
const AWAY_SEGMENTS = 9;
const ONE = { timeout: 240_000 };

let browser, store, lectern, publisher, all, watch, origin, host;

before(async () => {
  browser = await launch();
  store = await Store.start('archive', BUCKET);
  const archive = `[archive]\nbucket = "${BUCKET}"\nprefix = "${PREFIX}"\nendpoint = "${store.url}"\npath_style = true\n`;
  const config = `${SMALL_LADDER}\n[packager]\nwindow_seconds = 30\nlinger_seconds = 1\n${archive}`;
  lectern = await Lectern.start({ story: 'archive', config, env: store.credentials });
  host = (await lectern.create(ID, { title: 'Topology' })).token;
  publisher = ProcessPublisher.lectern('archive', { url: `${lectern.url}/whip/${ID}`, token: host, args: ['--size', '640x360', '--bitrate', '600'] });
  all = await until('the playlists', () => renditions(`${lectern.url}/broadcasts/${ID}/index.m3u8`));
  ({ origin } = await lectern.broadcast(ID));
  watch = new BucketWatch(inBucket('index.m3u8'));
});

after(async () => {
  await watch?.stop();
  await browser?.close();
  await publisher?.kill9();
  await lectern?.discard();
  await store?.discard();
});

const inBucket = (path) => store.address(`${PREFIX}/${ID}/${path}`);
const inLectern = (path) => `${lectern.url}/broadcasts/${ID}/${path}`;
const video = () => all.find(({ kind }) => kind === 'video');
const spooled = () => lectern.metric('lectern_archive_spool_objects');

/** Waits for that many more segments in Lectern's own playlist. */
async function closes(segments) {
  const target = (await closedUntil(video())) + segments;
  await until(`segment ${target}`, async () => (await closedUntil(video())) >= target, { within: 120_000 });
  return target;
}

/** What ffprobe finds at an address. */
async function probe(url) {
  const { stdout } = await run('ffprobe', ['-v', 'error', '-show_streams', '-show_format', '-of', 'json', url]);
  return JSON.parse(stdout);
}

async function assertPlaysStraightFromTheBucket({ live }) {
  const player = await PlainPlayer.open(browser, 'archive', inBucket('index.m3u8'));
  const state = await player.plays(8);
  assert.equal(state.live, live);
  await player.close();
  const { streams } = await probe(inBucket('index.m3u8'));
  const kinds = new Set(streams.map(({ codec_name }) => codec_name));
  assert.deepEqual([...kinds].sort(), ['aac', 'h264']);
}

/** Every rendition is there from the first segment to the last; and at no moment anything was listed that was not. */
async function assertWhole({ interrupted = false } = {}) {
  const found = await renditions(inBucket('index.m3u8'));
  assert.deepEqual(found.map(({ name }) => name).sort(), all.map(({ name }) => name).sort());
  let least = Infinity;
  for (const rendition of found) {
    const { details } = await mediaPlaylist(rendition.url);
    assert.equal(details.startSN, 0);
    least = Math.min(least, details.fragments.length);
    if (!interrupted) await assertOnTheLine(rendition, origin);
  }
  await watch.look();
  assert.deepEqual(watch.missing, []);
  return least;
}

describe('live', () => {
  test('the bucket alone is a lecture, for anybody', ONE, async () => {
    await until('the bucket has a playlist', async () => (await fetch(inBucket('index.m3u8'))).ok);
    await until('it lists four segments', async () => (await closedUntil((await renditions(inBucket('index.m3u8')))[0])) >= 3);
    await assertPlaysStraightFromTheBucket({ live: true });
  });

  test('what lies there says what it is, and for how long', ONE, async () => {
    const { details } = await mediaPlaylist((await renditions(inBucket('index.m3u8')))[0].url);
    const [segment] = details.fragments;
    for (const [url, type, lifetime] of [
      [segment.url, 'video/mp4', 'public, max-age=31536000, immutable'],
      [segment.initSegment.url, 'video/mp4', 'public, max-age=31536000, immutable'],
      [inBucket('360p/index.m3u8'), 'application/vnd.apple.mpegurl', 'public, max-age=1'],
      [inBucket('index.m3u8'), 'application/vnd.apple.mpegurl', 'public, max-age=2'],
      [inBucket('broadcast.json'), 'application/json', 'public, max-age=1'],
    ]) {
      const { headers } = await fetch(url, { headers: { Origin: 'https://elsewhere.test' } });
      assert.equal(headers.get('content-type'), type, url);
      assert.equal(headers.get('cache-control'), lifetime, url);
      assert.equal(headers.get('access-control-allow-origin'), '*', url);
    }
  });

  test('what has left memory comes from the bucket through Lectern, once for fifty viewers', ONE, async () => {
    await until('the first segments have left memory', async () => (await closedUntil(video())) > OUT_OF_MEMORY, { within: 120_000 });
    const key = `${PREFIX}/${ID}/360p/0.m4s`;
    const before = store.requests('GetObject', key);
    const answers = await Promise.all(Array.from({ length: 50 }, () => readBytes(inLectern('360p/0.m4s'))));
    assert.equal(store.requests('GetObject', key), before + 1);
    const there = await readBytes(inBucket('360p/0.m4s'));
    assert.ok(answers.every((answer) => answer.equals(there)));
    const response = await fetch(inLectern('360p/1.m4s'), { redirect: 'manual' });
    assert.equal(response.status, 200, 'and never by a redirect');
    assert.equal(response.headers.get('cache-control'), 'public, max-age=31536000, immutable');
  });

  test('a viewer rewinds to the beginning', ONE, async () => {
    const viewer = await Viewer.open(browser, 'archive', lectern.url, ID);
    await viewer.plays();
    await viewer.goTo(origin + 8000);
    await viewer.play();
    await viewer.plays();
    await viewer.close();
  });
});

describe('the store goes away', () => {
  let last;

  test('and the lecture goes on', ONE, async (t) => {
    await until('what was put has arrived', async () => (await spooled()) === 0);
    await store.stop();
    last = await closes(AWAY_SEGMENTS);
    const [objects, bytes] = [await spooled(), await lectern.metric('lectern_archive_spool_bytes')];
    t.diagnostic(`${AWAY_SEGMENTS} segments without the store: ${objects} objects, ${(bytes / 1e6).toFixed(1)} MB wait on disk`);
    assert.ok(objects >= AWAY_SEGMENTS * all.length);
    const latest = await fetch(inLectern(`360p/${last}.m4s`));
    assert.equal(latest.status, 200);
    await latest.arrayBuffer();
    const older = await fetch(inLectern('180p/0.m4s'));
    assert.ok([502, 503].includes(older.status), `${older.status}`);
    assert.equal(older.headers.get('cache-control'), 'no-store');
    assert.ok((await fetch(inLectern('360p/0.m4s'))).ok, 'what is remembered is served');
  });

  test('and what was put meanwhile arrives', ONE, async (t) => {
    const since = Date.now();
    await store.start();
    await until('nothing waits', async () => (await spooled()) === 0);
    t.diagnostic(`all of it arrived ${((Date.now() - since) / 1000).toFixed(1)} s after the store's return; ${await lectern.metric('lectern_archive_upload_retries_total')} tries were in vain`);
    const whole = await assertWhole();
    assert.ok(whole > last, `${whole} segments in the bucket`);
  });

  test('and a server that is killed meanwhile starts again, and the lecture goes on', ONE, async () => {
    await store.stop();
    await closes(2);
    await lectern.kill9();
    await lectern.rise();
    assert.equal((await lectern.broadcast(ID)).state, 'live');
    await until('the line goes on behind a hole', async () => {
      const { fragments } = (await mediaPlaylist(video().url)).details;
      return fragments.some(({ gap }) => gap) && !fragments.at(-1).gap;
    });
    const before = await closedUntil(video());
    await store.start();
    await until('nothing waits', async () => (await spooled()) === 0);
    assert.ok((await assertWhole({ interrupted: true })) > before);
  });
});

describe('afterwards', () => {
  test('the lecture ends in the bucket too', ONE, async () => {
    await lectern.end(ID, host);
    await until('every playlist ends', async () => {
      const found = await renditions(inBucket('index.m3u8'));
      const ended = await Promise.all(found.map(async ({ url }) => !(await mediaPlaylist(url)).details.live));
      return ended.every(Boolean);
    });
    await until('its facts', async () => (await (await fetch(inBucket('broadcast.json'))).json()).state === 'ended');
    const ended = await fetch(inBucket('360p/index.m3u8'));
    assert.equal(ended.headers.get('cache-control'), 'public, max-age=300');
  });

  test('and with Lectern off the bucket is the recording', ONE, async (t) => {
    assert.equal(await lectern.stop(), 0, 'a clean stop');
    await watch.stop();
    t.diagnostic(`the bucket's playlists were read ${watch.looks} times`);
    assert.ok(watch.looks > 20);
    const segments = await assertWhole({ interrupted: true });
    await assertPlaysStraightFromTheBucket({ live: false });
    const { format } = await probe(inBucket('360p/index.m3u8'));
    assert.ok(Math.abs(Number(format.duration) - segments * 3.2) < 3.3, `${format.duration} s of ${segments} segments`);
  });

  test('it is replayed through Lectern, that has only the bucket', ONE, async () => {
    await lectern.rise();
    const viewer = await Viewer.open(browser, 'archive', lectern.url, ID);
    await viewer.goTo(origin + 20_000);
    await viewer.play();
    await viewer.plays();
    await viewer.close();
  });
});

describe('without the store', () => {
  test('a killed server starts again, knows its lectures, and takes new ones', ONE, async () => {
    await until('nothing waits', async () => (await spooled()) === 0);
    await store.stop();
    await lectern.create('algebra', { title: 'Algebra' });
    await lectern.kill9();
    await lectern.rise();
    assert.equal((await lectern.broadcast(ID)).title, 'Topology');
    assert.equal((await lectern.broadcast('algebra')).title, 'Algebra');
    await lectern.create('geometry', { title: 'Geometry' });
    await store.start();
    for (const id of ['algebra', 'geometry']) {
      await until(`${id} arrives`, async () => (await fetch(store.address(`${PREFIX}/${id}/broadcast.json`))).ok);
    }
  });

  test('the instrument sees what is not there', ONE, async () => {
    rmSync(join(store.folder, 'data', BUCKET, PREFIX, ID, '360p/5.m4s'));
    const another = new BucketWatch(inBucket('index.m3u8'));
    await until('it is missed', () => another.missing.includes(inBucket('360p/5.m4s')));
    await another.stop();
  });

  test('wrong credentials and wrong buckets are told at the start', ONE, async () => {
    for (const [wrong, config, env] of [
      [/SignatureDoesNotMatch/, '', { ...store.credentials, AWS_SECRET_ACCESS_KEY: 'wrong' }],
      [/NoSuchBucket/, 'bucket = "nowhere"\n', store.credentials],
    ]) {
      const data = mkdtempSync(join(tmpdir(), 'lectern-archive-wrong-'));
      const archive = config || `bucket = "${BUCKET}"\n`;
      const start = Lectern.start({ story: 'archive-wrong', data, config: `[archive]\n${archive}endpoint = "${store.url}"\npath_style = true\n`, env });
      await assert.rejects(start, wrong);
      rmSync(data, { recursive: true });
    }
  });
});
