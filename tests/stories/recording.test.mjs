/**
 * A lecture that is over downloads as one MP4, which plays and seeks wherever MP4 does. The server died in its middle, so
 * there is a hole in it, which has its place in the file too.
 */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { readFile, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { asInitScript, launch, newWindow } from '../harness/browser.mjs';
import { Lectern, OUT } from '../harness/lectern.mjs';
import { FRAME_MS, FRAME_TOLERANCE_MS, lipSync, pictureErrors, summary } from '../harness/measure.mjs';
import { closedUntil, mediaPlaylist, renditions } from '../harness/presentation.mjs';
import { ffmpeg, ffprobe, probe, quantile } from '../harness/probe.mjs';
import { ProcessPublisher } from '../harness/publisher/process.mjs';
import { until } from '../harness/until.mjs';

const ID = 'geometry';
const ONE = { timeout: 180_000 };
/** On each side of the hole: some ten seconds. */
const SEGMENTS = 3;
/** Where people begin to notice (ITU-R BT.1359). */
const LIP_SYNC_MS = 40;
const FILE = join(OUT, 'recording.mp4');

/** `hole`: from and to, in seconds of the file. `sought`: times to seek, in an order that goes back and forth. */
let browser, lectern, url, start, length, hole, sought;

before(async () => {
  browser = await launch();
  lectern = await Lectern.start({ story: 'recording' });
});
after(async () => {
  await browser?.close();
  await lectern?.discard();
  await rm(FILE, { force: true });
});

describe('the recording', () => {
  test('is not there before the end', ONE, async () => {
    const { token } = await lectern.create(ID, { title: 'Geometry' });
    url = `${lectern.url}/broadcasts/${ID}/recording.mp4`;
    assert.equal((await fetch(url)).status, 404, 'nobody has lectured yet');
    const publisher = ProcessPublisher.lectern('recording', { url: `${lectern.url}/whip/${ID}`, token, args: ['--size', '640x360', '--bitrate', '1000'] });
    const [best] = await until('the playlists', () => renditions(`${lectern.url}/broadcasts/${ID}/index.m3u8`));
    await until('some segments', async () => (await closedUntil(best)) >= SEGMENTS);
    await lectern.kill9();
    await lectern.rise();
    const gaps = (version) => version.details.fragments.filter(({ gap }) => gap);
    await until('as many behind the hole', async () => {
      const version = await mediaPlaylist(best.url);
      return gaps(version).length > 0 && version.details.endSN >= gaps(version).at(-1).sn + SEGMENTS;
    });
    const early = await fetch(url);
    assert.equal(early.status, 409);
    assert.match((await early.json()).detail, /after the end/);
    assert.equal((await lectern.broadcast(ID)).recording, null);
    await publisher.stop();
    assert.equal((await lectern.end(ID, token)).recording, `/broadcasts/${ID}/recording.mp4`);
    // It begins with the first segment.
    const version = await mediaPlaylist(best.url);
    const missing = gaps(version);
    start = version.details.fragments[0].programDateTime;
    hole = [missing[0], missing.at(-1)].map(({ programDateTime, duration }, n) => (programDateTime - start) / 1000 + n * duration);
  });

  test('the watch page offers it, and the browser saves it', ONE, async () => {
    const page = await newWindow(browser, 'recording', { acceptDownloads: true });
    await page.goto(`${lectern.url}/watch/${ID}`);
    const saving = page.waitForEvent('download');
    await page.getByRole('link', { name: 'Download' }).click();
    const download = await saving;
    assert.equal(download.suggestedFilename(), `${ID}.mp4`);
    await download.saveAs(FILE);
    ({ size: length } = await stat(FILE));
    for (const [name, viewport] of Object.entries({ desktop: { width: 1280, height: 800 }, phone: { width: 390, height: 844 } })) {
      await page.setViewportSize(viewport);
      await page.screenshot({ path: join(OUT, `recording-${name}.png`) });
    }
    assert.deepEqual(page.errors, []);
    await page.context().close();
  });

  test('a download that broke off goes on, and is the same', ONE, async () => {
    const whole = await readFile(FILE);
    const middle = Math.floor(length / 2);
    const head = await fetch(url, { method: 'HEAD' });
    assert.deepEqual([head.headers.get('content-length'), head.headers.get('accept-ranges')], [String(length), 'bytes']);
    const rest = await fetch(url, { headers: { Range: `bytes=${middle}-`, 'If-Range': head.headers.get('etag') } });
    assert.deepEqual([rest.status, rest.headers.get('content-range')], [206, `bytes ${middle}-${length - 1}/${length}`]);
    assert.ok(Buffer.from(await rest.arrayBuffer()).equals(whole.subarray(middle)));
  });

  test('ffmpeg reads all of it and complains of nothing; sound and picture are in step', ONE, async (t) => {
    assert.equal(await ffmpeg('-xerror', '-i', FILE, '-fps_mode', 'passthrough', '-f', 'null', '-'), '');
    const { streams } = await ffprobe(FILE, '-show_streams');
    assert.deepEqual(streams.map(({ codec_name, height }) => [codec_name, height]), [['h264', 360], ['aac', undefined]]);
    const found = await probe(FILE);
    const errors = pictureErrors(found, start);
    const together = lipSync(found);
    t.diagnostic(`hole from ${hole[0]} to ${hole[1]} s; beep − flash: ${summary(together)}; time in the file − picture clock: ${summary(errors)}; ${length} bytes`);
    const behind = found.beeps.filter((at) => at / 1000 > hole[1]);
    assert.ok(behind.length >= 5 && found.beeps.length - behind.length >= 5, 'there are beeps on both sides');
    assert.ok(together.length >= 12);
    assert.ok(Math.max(...together.map(Math.abs)) <= LIP_SYNC_MS);
    assert.ok(quantile(errors.map(Math.abs), 0.95) <= FRAME_TOLERANCE_MS);
    // Slates and late pictures cannot tell where a seek has led.
    const good = found.pictures.filter(({ at, clock }) => clock !== null && Math.abs(start + at - clock) <= FRAME_MS);
    sought = [0.8, 0.1, 0.45, 0.95].map((share) => good[Math.floor(good.length * share)].at / 1000);
  });

  test('ffmpeg seeks in it over HTTP', ONE, async (t) => {
    for (const at of sought) {
      const file = join(OUT, 'recording-sought.mkv');
      await ffmpeg('-y', '-copyts', '-ss', String(at - 0.001), '-i', url, '-an', '-frames:v', '1', '-c:v', 'ffv1', file);
      const { pictures } = await probe(file);
      const [{ clock }] = pictures;
      t.diagnostic(`at ${at} s: ${(clock - start) / 1000} s`);
      assert.ok(Math.abs(clock - start - at * 1000) <= FRAME_TOLERANCE_MS, `sought ${at} s, found ${(clock - start) / 1000} s`);
      await rm(file);
    }
  });

  test('Chromium plays it and seeks in it', ONE, async (t) => {
    const page = await newWindow(browser, 'recording-video');
    await page.addInitScript(await asInitScript('picture-clock.mjs', 'pictureClock'));
    await page.goto(`${lectern.url}/watch/${ID}`);
    await page.evaluate(openVideo, url);
    for (const at of sought) {
      const { media, clock } = await page.evaluate(seek, at + 0.001);
      t.diagnostic(`sought ${at} s: picture of ${media.toFixed(3)} s shows ${((clock - start) / 1000).toFixed(3)} s`);
      assert.ok(Math.abs(media - at) <= 0.05, 'the picture of that time');
      assert.ok(Math.abs(clock - start - media * 1000) <= FRAME_TOLERANCE_MS);
    }
    // Were the hole not filled in the sound, what follows it would sound in its place, under a picture that stands still.
    const beeps = await page.evaluateHandle(listen, hole[0] - 3.5);
    await until('it plays through the hole to its end', () => page.evaluate(() => globalThis.recorded.ended));
    const heard = await beeps.evaluate((all) => all);
    t.diagnostic(`hole from ${hole[0]} to ${hole[1]} s; beeps at ${heard.map((at) => at.toFixed(1)).join(', ')}`);
    const within = heard.filter((at) => at > hole[0] + 0.5 && at < hole[1] - 0.5);
    assert.deepEqual(within, [], 'the hole is silent');
    assert.ok(heard.some((at) => at < hole[0]) && heard.some((at) => at > hole[1] + 1));
    assert.equal(await page.evaluate(() => globalThis.recorded.error), null);
    assert.deepEqual(page.errors, []);
  });

  test('after a restart, and without its index, it is the same', ONE, async () => {
    const index = join(lectern.data, 'broadcasts', ID, 'recording.index');
    const kept = await readFile(index);
    await rm(index);
    await lectern.restart();
    const again = await fetch(`${lectern.url}/broadcasts/${ID}/recording.mp4`);
    assert.ok(Buffer.from(await again.arrayBuffer()).equals(await readFile(FILE)));
    assert.ok(kept.equals(await readFile(index)), 'the index was made again');
    await writeFile(index, 'nonsense');
    await lectern.restart();
    assert.equal((await fetch(`${lectern.url}/broadcasts/${ID}/recording.mp4`, { method: 'HEAD' })).headers.get('content-length'), String(length));
  });
});

/** In the page: a video element with nothing but the file's URL. */
async function openVideo(src) {
  const video = Object.assign(document.createElement('video'), { src, muted: true, preload: 'auto' });
  Object.assign(video.style, { position: 'fixed', inset: 0, zIndex: 1000 });
  document.body.append(video);
  globalThis.recorded = video;
  await new Promise((resolve, reject) => {
    video.addEventListener('loadeddata', resolve, { once: true });
    video.addEventListener('error', () => reject(new Error(video.error.message)), { once: true });
  });
}

/** In the page: plays on from there; gives the times of the beeps, a list that grows. */
async function listen(from) {
  const video = globalThis.recorded;
  video.muted = false;
  video.currentTime = from;
  const context = new AudioContext();
  const analyser = context.createAnalyser();
  context.createMediaElementSource(video).connect(analyser).connect(context.destination);
  const [samples, beeps] = [new Float32Array(analyser.fftSize), []];
  setInterval(() => {
    analyser.getFloatTimeDomainData(samples);
    const loud = samples.some((sample) => Math.abs(sample) > 0.1);
    if (loud && !(video.currentTime - beeps.at(-1) < 0.5)) beeps.push(video.currentTime);
  }, 20);
  await video.play();
  return beeps;
}

/** In the page: what is shown after a seek, and its time in the file. */
async function seek(at) {
  const video = globalThis.recorded;
  const shown = new Promise((resolve) => video.requestVideoFrameCallback((_, { mediaTime }) => resolve(mediaTime)));
  video.currentTime = at;
  const media = await shown;
  const canvas = Object.assign(document.createElement('canvas'), { width: video.videoWidth, height: video.videoHeight });
  const context = canvas.getContext('2d', { willReadFrequently: true, alpha: false });
  context.drawImage(video, 0, 0);
  const { data } = context.getImageData(0, 0, canvas.width, canvas.height);
  const luma = (x, y) => 16 + (219 * data[(y * canvas.width + x) * 4 + 1]) / 255;
  return { media, clock: globalThis.pictureClock.read(luma, canvas.width, canvas.height) };
}
