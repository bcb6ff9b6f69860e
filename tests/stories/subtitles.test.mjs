/**
 * Players that know nothing of the room show it as subtitles, if their viewer likes: plain hls.js live, rewound and in the
 * replay, from Lectern and straight from a bucket; and what is deleted is gone from there.
 */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { after, before, describe, test } from 'node:test';
import { promisify } from 'node:util';
import { launch } from '../harness/browser.mjs';
import { Lectern, SMALL_LADDER } from '../harness/lectern.mjs';
import { FRAME_TOLERANCE_MS, summary } from '../harness/measure.mjs';
import { closedUntil, mediaPlaylist, readText, renditions } from '../harness/presentation.mjs';
import { PlainPlayer } from '../harness/plain.mjs';
import { ProcessPublisher } from '../harness/publisher/process.mjs';
import { RoomClient } from '../harness/room.mjs';
import { Store } from '../harness/s3.mjs';
import { until } from '../harness/until.mjs';

const run = promisify(execFile);
const ID = 'phonology';
const BUCKET = 'lectures';
const SHOWN_MS = 8_000;
const TICKS_PER_MS = 90;
const WORDS = ['one', 'two', 'three', 'four', 'five', 'six'];
const ONE = { timeout: 120_000 };

let browser, store, lectern, publisher, host, origin, ana, bo, player;
/** What was said: its text, its place on the line (ms), its seq. @type {{body: string, at: number, seq: number}[]} */
const said = [];

before(async () => {
  browser = await launch();
  store = await Store.start('subtitles', BUCKET);
  const archive = `[archive]\nbucket = "${BUCKET}"\nendpoint = "${store.url}"\npath_style = true\n`;
  lectern = await Lectern.start({ story: 'subtitles', config: `${SMALL_LADDER}\n${archive}`, env: store.credentials });
  host = (await lectern.create(ID, { chat_subtitles: true })).token;
  publisher = ProcessPublisher.lectern('subtitles', { url: `${lectern.url}/whip/${ID}`, token: host, args: ['--size', '640x360', '--bitrate', '600'] });
  await until('the playlists', () => renditions(inLectern('index.m3u8')));
  ({ origin } = await lectern.broadcast(ID));
  ana = await RoomClient.join(lectern.url, ID, await lectern.token(ID, 'participant', { name: 'Ana' }));
  bo = await RoomClient.join(lectern.url, ID, host);
});

after(async () => {
  ana?.leave();
  bo?.leave();
  await player?.close();
  await browser?.close();
  await publisher?.kill9();
  await lectern?.discard();
  await store?.discard();
});

const inLectern = (path) => `${lectern.url}/broadcasts/${ID}/${path}`;
const inBucket = (path) => store.address(`${ID}/${path}`);

/** @param {string} body @param {number | null} [playing] Unix ms */
async function say(body, playing = null) {
  const { seq, at } = await ana.say(body, playing);
  said.push({ body, at: at / TICKS_PER_MS, seq });
  return said.at(-1);
}

/** Every listed segment of subtitles, joined. */
async function allTexts(address) {
  const { details } = await mediaPlaylist(address('chat/index.m3u8'));
  const texts = await Promise.all(details.fragments.map(({ url }) => readText(url)));
  return texts.join('\n');
}

describe('live', () => {
  test('they are offered, and off', ONE, async () => {
    player = await PlainPlayer.open(browser, 'subtitles', inLectern('index.m3u8'));
    await player.plays(2);
    assert.deepEqual(await player.subtitles(), { names: ['Chat'], chosen: -1 });
    assert.deepEqual(await player.page.evaluate(() => subtitled.texts()), []);
  });

  test('what is said now is on the picture while it is shown', ONE, async (t) => {
    await player.choose('Chat');
    // At the edge, where a player of ours is: half a second behind what is captured.
    for (const word of WORDS) {
      await say(`number ${word}`, Date.now() - 500);
      await player.plays(1.3);
    }
    const delays = [];
    for (const { body, at } of said) {
      const { clock, wall, text } = await player.appearance(body);
      assert.equal(text, `Ana: ${body}`);
      assert.ok(clock >= origin + at - FRAME_TOLERANCE_MS, 'never before its picture');
      assert.ok(clock < origin + at + SHOWN_MS, 'while it is shown');
      delays.push({ picture: clock - origin - at, wall: wall - origin - at });
    }
    const told = (of) => summary(delays.map((delay) => delay[of]));
    t.diagnostic(`on the picture after the one that its writer saw: ${told('picture')}; after its writer sent it: ${told('wall')}`);
  });

  test('far behind the edge, as players without low latency are, each stands on its picture', ONE, async (t) => {
    const far = await PlainPlayer.open(browser, 'subtitles-far', inLectern('index.m3u8'), { lowLatencyMode: false });
    await far.plays(1);
    await far.choose('Chat');
    const errors = [];
    for (let n = 1; n <= 3; n++) {
      await say(`from the edge ${n}`, Date.now() - 500);
      await far.plays(1.3);
    }
    for (const { body, at } of said.slice(-3)) {
      const { clock, wall } = await far.appearance(body);
      assert.ok(wall - clock > 6_000, 'it is far behind');
      errors.push(clock - origin - at);
    }
    t.diagnostic(`the picture's clock against the writer's, as each appears: ${summary(errors)}`);
    assert.ok(errors.filter((error) => Math.abs(error) <= 2 * FRAME_TOLERANCE_MS).length * 2 > errors.length, 'most are right');
    await far.close();
  });

  test('rewound, each stands on the picture that its writer saw', ONE, (t) => assertEachOnItsPicture(t));

  test('each is in the track once, however many segments have it', ONE, async () => {
    const [track] = await player.page.evaluate(() => subtitled.tracks());
    assert.ok(track.cues >= said.length);
    assert.equal(track.twice, 0);
  });

  test('the playlist is on the grid of the others', ONE, async () => {
    const [video] = await renditions(inLectern('index.m3u8'));
    const [texts, media] = [await mediaPlaylist(inLectern('chat/index.m3u8')), await mediaPlaylist(video.url)];
    const grid = ({ details }) => details.fragments.map(({ sn, start, duration, programDateTime }) => ({ sn, start, duration, programDateTime }));
    const common = Math.min(grid(texts).length, grid(media).length);
    assert.ok(common >= 3);
    assert.deepEqual(grid(texts).slice(0, common), grid(media).slice(0, common));
    const segment = await fetch(texts.details.fragments[0].url);
    assert.match(segment.headers.get('content-type'), /^text\/vtt/);
    assert.equal(segment.headers.get('cache-control'), 'public, max-age=3');
  });

  test('what is deleted is in no segment any more, here and in the bucket', ONE, async () => {
    const wrong = await say('something foul', Date.now() - 3_000);
    await until('the bucket lists it', async () => (await allTexts(inBucket)).includes('foul'));
    assert.ok((await allTexts(inLectern)).includes('foul'));
    await bo.delete(wrong.seq);
    said.pop();
    assert.ok(!(await allTexts(inLectern)).includes('foul'), 'at once');
    await until('the bucket has no trace of it', async () => !(await allTexts(inBucket)).includes('foul'));
  });
});

describe('afterwards', () => {
  before(async () => {
    await say('the last word', Date.now() - 500);
    const { details } = await mediaPlaylist(inLectern('chat/index.m3u8'));
    const last = details.endSN + 2;
    await until('all of it is shown', async () => (await closedUntil((await renditions(inLectern('index.m3u8')))[0])) >= last);
    await player.close();
    await lectern.end(ID, host);
  });

  test('all of it is in the replay', ONE, async (t) => {
    player = await PlainPlayer.open(browser, 'subtitles', inLectern('index.m3u8'));
    await player.plays(0.5);
    await player.choose('Chat');
    await assertEachOnItsPicture(t);
    await player.close();
  });

  test('the bucket plays it, with Lectern off', ONE, async (t) => {
    await until('the bucket has all', async () => (await lectern.metric('lectern_archive_spool_objects')) === 0);
    await lectern.stop();
    const { details } = await mediaPlaylist(inBucket('chat/index.m3u8'));
    assert.equal(details.live, false);
    player = await PlainPlayer.open(browser, 'subtitles', inBucket('index.m3u8'));
    await player.plays(0.5);
    await player.choose('Chat');
    await assertEachOnItsPicture(t);
    const segment = await fetch(inBucket('chat/0.vtt'));
    assert.match(segment.headers.get('content-type'), /^text\/vtt/);
    assert.equal(segment.headers.get('cache-control'), 'public, max-age=3');
  });

  test('ffmpeg reads it', ONE, async () => {
    const { details } = await mediaPlaylist(inBucket('chat/index.m3u8'));
    const cues = new Map();
    for (const { url } of details.fragments) {
      for (const { pts, text } of await packets(url)) cues.set(text, pts);
    }
    for (const { body, at } of said) assert.equal(cues.get(`Ana: ${body}`), Math.round(at), body);
  });

  test('deleted by a moderator after a restart, it leaves the bucket too', ONE, async () => {
    await lectern.rise();
    const { body, seq } = said[1];
    assert.ok((await allTexts(inBucket)).includes(body));
    const late = await RoomClient.join(lectern.url, ID, host);
    assert.equal((await late.delete(seq)).type, 'ack');
    await until('the bucket has no trace of it', async () => !(await allTexts(inBucket)).includes(body));
    assert.ok(!(await allTexts(inLectern)).includes(body));
    assert.ok((await allTexts(inBucket)).includes(said[2].body), 'and the others stay');
    late.leave();
  });
});

/** Played from a little before each of them: where the picture's clock stood when it came. */
async function assertEachOnItsPicture(t) {
  const errors = [];
  for (const { body, at } of said) {
    await player.goTo(Math.max(0, at / 1000 - 1));
    await player.page.evaluate(() => subtitled.forget());
    const { clock } = await player.appearance(body);
    if (clock !== null) errors.push(clock - origin - at);
  }
  t.diagnostic(`the picture's clock against the writer's, as each appears: ${summary(errors)}`);
  assert.ok(errors.length * 2 > said.length, 'the clock can be read');
  // A picture that came too late for its slot was repeated there: the machine's doing. A cue is looked for once a picture.
  assert.ok(errors.filter((error) => Math.abs(error) <= 2 * FRAME_TOLERANCE_MS).length * 2 > errors.length, 'most are right');
}

/** The cues of a segment. @returns {Promise<{pts: number, text: string}[]>} ms */
async function packets(url) {
  const args = ['-v', 'error', '-f', 'webvtt', '-show_entries', 'packet=pts_time', '-show_packets', '-show_data', '-of', 'json', url];
  const { packets: all = [] } = JSON.parse((await run('ffprobe', args)).stdout);
  return all.map(({ pts_time, data }) => ({ pts: Math.round(Number(pts_time) * 1000), text: fromDump(data).replace(/<\/?v[^>]*>/g, '') }));
}

/** ffprobe's dump: an offset, sixteen bytes in hexadecimal, the same as text. */
function fromDump(dump) {
  const hex = dump.split('\n').map((line) => line.slice(10, 50).replaceAll(' ', ''));
  return Buffer.from(hex.join(''), 'hex').toString();
}
