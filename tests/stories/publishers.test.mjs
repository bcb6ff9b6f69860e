/** Publishers and players that know nothing of each other: aiortc, OBS's library, ffmpeg, ffprobe, hls.js's parser. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { Lectern } from '../harness/lectern.mjs';
import { FRAME_TOLERANCE_MS, decode, lipSync, pictureErrors, summary } from '../harness/measure.mjs';
import { PlaylistFollower, assertOnTheLine, assertOnlyGrowsAtTheEdge, closedUntil, mediaPlaylist, renditions } from '../harness/presentation.mjs';
import { ffmpeg, ffprobe, quantile } from '../harness/probe.mjs';
import { ProcessPublisher } from '../harness/publisher/process.mjs';
import { until } from '../harness/until.mjs';

const ONE = { timeout: 120_000 };
/** The first segment may begin before the first picture could be decoded. */
const FIRST_WHOLE_SEGMENT = 1;
/** Long enough for a player to begin and to be told of some twenty versions a second. */
const SEGMENTS = 4;

/** @type {Lectern} */
let lectern;
before(async () => (lectern = await Lectern.start({ story: 'publishers' })));
after(() => lectern?.discard());

for (const kind of /** @type {const} */ (['aiortc', 'obs'])) {
  describe(`a lecture published by ${{ aiortc: 'aiortc (VP8)', obs: 'the OBS stand-in (H.264)' }[kind]}`, () => {
    const id = `by-${kind}`;
    const index = () => `${lectern.url}/broadcasts/${id}/index.m3u8`;
    let publisher, followers, all, origin, token;

    before(async () => {
      ({ token } = await lectern.create(id));
      publisher = ProcessPublisher[kind]('publishers', { url: `${lectern.url}/whip/${id}`, token });
      assert.equal((await publisher.said('answer')).status, 201);
      all = await until('the playlists', () => renditions(index()));
      followers = all.map(({ url }) => new PlaylistFollower(url));
      ({ origin } = await lectern.broadcast(id));
      await until('some segments', async () => (await closedUntil(all[0])) >= SEGMENTS);
    });
    after(() => publisher?.stop());

    test('ffprobe sees a ladder of H.264 and AAC', ONE, async () => {
      const { streams } = await ffprobe(index(), '-show_streams');
      assert.deepEqual(streams.filter((s) => s.codec_type === 'video').map((s) => [s.codec_name, s.height]).sort(), all.filter((r) => r.kind === 'video').map((r) => ['h264', r.height]).sort());
      for (const sound of streams.filter((s) => s.codec_type === 'audio')) assert.deepEqual([sound.codec_name, sound.sample_rate, sound.channels], ['aac', '48000', 2]);
    });

    test('ffmpeg plays the URL without a complaint', ONE, async () => {
      assert.equal(await ffmpeg('-live_start_index', '0', '-i', index(), '-t', '6', '-map', '0:v:0', '-map', '0:a:0', '-f', 'null', '-'), '');
    });

    test('each picture stands on the line where it was captured', ONE, async (t) => {
      const [audio] = all.filter((r) => r.kind === 'audio');
      for (const video of all.filter((r) => r.kind === 'video')) {
        const found = await decode(video, audio, { from: FIRST_WHOLE_SEGMENT, to: SEGMENTS });
        const errors = pictureErrors(found, origin);
        t.diagnostic(`${video.name}: place on the line − picture clock: ${summary(errors)}, ${found.pictures.length - errors.length} unreadable; beep − flash: ${summary(lipSync(found))}`);
        assert.ok(errors.length > found.pictures.length * 0.9, 'the clock can be read');
        assert.ok(quantile(errors.map(Math.abs), 0.5) <= FRAME_TOLERANCE_MS);
      }
    });

    test('every published version can be read, and only ever grows at the edge', ONE, async (t) => {
      await lectern.end(id, token);
      await until('the end', async () => !(await mediaPlaylist(all[0].url)).details.live);
      for (const [i, follower] of followers.entries()) {
        await follower.done;
        t.diagnostic(`${all[i].name}: ${follower.versions.length} versions`);
        assert.ok(follower.versions.length > SEGMENTS * 8, 'parts were seen as they came');
        assert.equal(follower.versions.at(-1).details.live, false, 'the last version ends the playlist');
        assertOnlyGrowsAtTheEdge(follower.versions);
      }
    });

    test('media time goes on without a hole, and dates follow from it', ONE, async () => {
      const lengths = [];
      for (const rendition of all) lengths.push(await assertOnTheLine(rendition, origin));
      assert.equal(new Set(lengths.map(({ segments }) => segments)).size, 1, 'as many segments in each rendition');
    });
  });
}
