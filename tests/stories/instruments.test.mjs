/** The stories are worth what their instruments are: each is shown something known, and something broken. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { lipSync, pictureErrors } from '../harness/measure.mjs';
import { bits, draw, read } from '../harness/page/picture-clock.mjs';
import { assertOnlyGrowsAtTheEdge, parse } from '../harness/presentation.mjs';
import { probe } from '../harness/probe.mjs';

const NOW = 1_795_228_556_017;

test('the picture clock can be read back, and a damaged one is not guessed', () => {
  const picture = canvas(640, 360);
  draw(picture.context, 640, 360, NOW);
  assert.equal(read(picture.luma, 640, 360), NOW);
  assert.equal(bits(NOW).length, 56);
  const damaged = (x, y) => (x > 617 && y < 14 ? 251 - picture.luma(x, y) : picture.luma(x, y));
  assert.equal(read(damaged, 640, 360), null, 'one bit is wrong');
  assert.equal(read(() => 125, 640, 360), null, 'a grey picture');
  assert.equal(read(() => 16, 640, 360), null, 'a black picture');
  assert.equal(read(() => 235, 640, 360), null, 'a white picture');
});

test('decoded media: clocks, flashes and beeps are found where they were put', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'lectern-instruments-'));
  const file = join(folder, 'lecture.mkv');
  const SOUND_LATE_MS = 30;
  execFileSync(join(import.meta.dirname, '../.venv/bin/python'), ['-c', MUXED_LECTURE, file, NOW, SOUND_LATE_MS].map(String), { cwd: join(import.meta.dirname, '../harness/publisher') });
  const found = await probe(file);
  rmSync(folder, { recursive: true });
  assert.equal(found.pictures.length, 90);
  assert.ok(pictureErrors(found, NOW).every((error) => Math.abs(error) <= 1), 'each picture reads its own time');
  const together = lipSync(found);
  assert.equal(together.length, 3);
  assert.ok(together.every((error) => Math.abs(error - SOUND_LATE_MS) <= 4), `${together}`);
});

test('a playlist that changes its past, or goes back, is seen', () => {
  const [v1, v2] = [playlist(3), playlist(4)];
  assertOnlyGrowsAtTheEdge([v1, v1, v2]);
  assert.throws(() => assertOnlyGrowsAtTheEdge([v2, v1]));
  assert.throws(() => assertOnlyGrowsAtTheEdge([v1, playlist(4, (text) => text.replace('#EXTINF:3.20000', '#EXTINF:3.10000'))]), /closed segment/);
  assert.throws(() => assertOnlyGrowsAtTheEdge([v1, playlist(4, (text) => text.replace('1.m4s', 'other.m4s'))]), /closed segment/);
  assert.throws(() => assertOnlyGrowsAtTheEdge([v1, playlist(4, (text) => text.replace('PART-TARGET=0.2', 'PART-TARGET=0.3'))]), /partTarget/);
  assert.throws(() => playlist(3, (text) => text.replace('#EXT-X-TARGETDURATION:3\n', '')));
});

/** Three seconds with the sound late, muxed by PyAV. */
const MUXED_LECTURE = `
import sys; from fractions import Fraction; import av, lecture
path, first, late = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
with av.open(path, "w") as out:
    video, audio = out.add_stream("libx264", rate=30), out.add_stream("pcm_s16le", rate=48000, layout="mono")
    video.width, video.height, video.pix_fmt, video.options = 640, 360, "yuv420p", {"preset": "ultrafast", "bf": "0"}
    for n in range(90):
        frame = av.VideoFrame.from_ndarray(lecture.picture(640, 360, first + n * 1000 / 30), format="yuv420p")
        frame.pts, frame.time_base = n, Fraction(1, 30)
        out.mux(video.encode(frame))
        sound = av.AudioFrame.from_ndarray(lecture.sound(first - late + n * 1000 / 30, 1600).reshape(1, -1), format="s16", layout="mono")
        sound.sample_rate, sound.pts, sound.time_base = 48000, n * 1600, Fraction(1, 48000)
        out.mux(audio.encode(sound))
    out.mux(video.encode(None))
`;

function playlist(segments, change = (text) => text) {
  const head = '#EXTM3U\n#EXT-X-VERSION:9\n#EXT-X-TARGETDURATION:3\n#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK=0.6\n#EXT-X-PART-INF:PART-TARGET=0.2\n#EXT-X-PLAYLIST-TYPE:EVENT\n#EXT-X-MAP:URI="init.mp4"\n';
  const body = Array.from({ length: segments }, (_, n) => `#EXT-X-PROGRAM-DATE-TIME:${new Date(NOW + n * 3200).toISOString()}\n#EXTINF:3.20000,\n${n}.m4s\n`);
  return parse(change(head + body.join('')), 'http://lectern.test/360p/index.m3u8');
}

/** As much of a canvas as the clock needs, in luma. */
function canvas(width, height) {
  const pixels = new Uint8Array(width * height).fill(90);
  const context = {
    fillStyle: '#000',
    fillRect(left, top, w, h) {
      for (let y = Math.floor(top); y < top + h; y++) pixels.fill(this.fillStyle === '#fff' ? 235 : 16, y * width + left, y * width + left + w);
    },
  };
  return { context, luma: (x, y) => pixels[y * width + x] };
}
