/**
 * Somebody looks for a place in a lecture: the seek bar shows the picture of the moment under the pointer, while it is
 * live, by touch, and in the replay.
 */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { asInitScript, launch, newWindow } from '../harness/browser.mjs';
import { Lectern, OUT } from '../harness/lectern.mjs';
import { FRAME_TOLERANCE_MS } from '../harness/measure.mjs';
import { mediaPlaylist, renditions } from '../harness/presentation.mjs';
import { CanvasPublisher } from '../harness/publisher/canvas.mjs';
import { until } from '../harness/until.mjs';
import { Viewer } from '../harness/viewer.mjs';

const ID = 'geometry';
const SEGMENT_S = 3.2;
/** Where on the seek bar is looked. The first segment is of before the first picture. */
const PLACES = [0.35, 0.5, 0.6, 0.75];
const PHONE = { viewport: { width: 390, height: 844 }, deviceScaleFactor: 2, hasTouch: true, isMobile: true };
const ONE = { timeout: 120_000 };

let browser, lectern, lecturer, viewer, host, origin;
/** The page's requests below `thumbs/`. @type {string[]} */
const asked = [];

before(async () => {
  browser = await launch();
  lectern = await Lectern.start({ story: 'storyboard' });
  host = (await lectern.create(ID)).token;
  lecturer = await CanvasPublisher.open(browser, 'storyboard');
  assert.equal((await lecturer.publish(`${lectern.url}/whip/${ID}`, host)).status, 201);
  viewer = await Viewer.open(browser, 'storyboard', lectern.url, ID);
  viewer.page.on('request', (request) => {
    if (request.url().includes('/thumbs/')) asked.push(new URL(request.url()).pathname.split('/').at(-1));
  });
  await viewer.plays();
  ({ origin } = await lectern.broadcast(ID));
});

after(async () => {
  await browser?.close();
  lecturer?.pages.close();
  await lectern?.discard();
});

describe('live', () => {
  test('a cue for each segment that is listed, where players see it', ONE, async () => {
    await until('five cues', async () => (await storyboard()).length >= 5);
    await assertAgrees(await storyboard());
  });

  test('nothing is fetched before somebody looks', ONE, () => assert.deepEqual(asked, []));

  test('the picture of the moment under the pointer', ONE, async (t) => {
    await assertShowsTheMoments(t, (place) => hover(viewer.page, place));
    const looks = () => asked.filter((name) => name === 'storyboard.vtt').length;
    const before = looks();
    for (const place of [0.1, 0.3]) {
      await hover(viewer.page, place);
      await until('a picture', () => preview(viewer.page));
    }
    assert.ok(before > 0 && looks() === before, 'what is known is not fetched again');
    await viewer.page.screenshot({ path: `${OUT}/storyboard-desktop.png` });
  });

  test('the whole picture is in the player, also at its edges', ONE, async () => {
    for (const place of [0.001, 0.999]) {
      await hover(viewer.page, place);
      await until('a whole picture', async () => (await preview(viewer.page))?.fits);
    }
  });

  test('the storyboard grows with the lecture', ONE, async () => {
    const known = Math.max(...asked.map((name) => Number.parseInt(name, 10)).filter(Number.isFinite));
    await until('a picture that was not there before', async () => {
      await hover(viewer.page, 0.97 + Math.random() / 50);
      return (await preview(viewer.page))?.msn > known + 1;
    });
  });

  test('dragged and let go, the lecture goes on from there', ONE, async () => {
    const bar = await seekBar(viewer.page);
    await hover(viewer.page, 0.8);
    await viewer.page.mouse.down();
    // In small steps, each of them hardly a jump.
    await viewer.page.mouse.move(bar.x + bar.width * 0.3, bar.y + bar.height / 2, { steps: 25 });
    const { timeS, clock } = await until('a picture while the seek bar is dragged', () => preview(viewer.page));
    assert.ok(Math.abs(clock - origin - timeS * 1000) < (SEGMENT_S * 1000) / 2 + 1000);
    await viewer.page.mouse.up();
    await viewer.page.mouse.move(bar.x, bar.y - 200);
    await until('the picture of that moment plays', async () => Math.abs((await viewer.shown()).media - timeS) < SEGMENT_S);
    assert.equal(await preview(viewer.page), null);
    await viewer.backToLive();
  });

  test('by touch', ONE, async (t) => {
    const page = await newWindow(browser, 'storyboard-phone', PHONE);
    await page.addInitScript(await asInitScript('picture-clock.mjs', 'pictureClock'));
    await page.goto(`${lectern.url}/watch/${ID}`);
    await until('it plays', () => page.evaluate(() => document.querySelector('lectern-player')?.video?.currentTime > 5));
    const finger = await page.context().newCDPSession(page);
    const touch = (type, at) => finger.send('Input.dispatchTouchEvent', { type, touchPoints: at ? [at] : [] });
    // The first touch shows the controls.
    await page.locator('lectern-player').tap({ position: { x: 100, y: 60 } });
    const bar = await seekBar(page);
    const at = (place) => ({ x: bar.x + bar.width * place, y: bar.y + bar.height / 2 });
    await touch('touchStart', at(0.9));
    await assertShowsTheMoments(t, (place) => touch('touchMove', at(place)), page);
    await page.screenshot({ path: `${OUT}/storyboard-phone.png` });
    await touch('touchEnd');
    await until('the picture goes with the finger', async () => (await preview(page)) === null);
    await page.context().close();
  });
});

describe('afterwards', () => {
  before(async () => {
    await lectern.end(ID, host);
    await viewer.close();
  });

  test('the storyboard is whole', ONE, async () => {
    const { details } = await playlist();
    assert.equal(details.live, false);
    const cues = await storyboard();
    await assertAgrees(cues);
    const whole = details.fragments.filter(({ duration }) => duration === SEGMENT_S);
    assert.deepEqual(cues.slice(0, whole.length).map(({ msn }) => msn), whole.map(({ sn }) => sn));
    const again = await fetch(at('storyboard.vtt'));
    assert.match(again.headers.get('cache-control'), /max-age=300/);
    const picture = await fetch(at('0.jpg'));
    assert.equal(picture.headers.get('content-type'), 'image/jpeg');
    assert.match(picture.headers.get('cache-control'), /immutable/);
  });

  test('and so it is after a restart of the server, beside the replay', ONE, async (t) => {
    const before = await (await fetch(at('storyboard.vtt'))).text();
    await lectern.restart();
    assert.equal(await (await fetch(at('storyboard.vtt'))).text(), before);
    viewer = await Viewer.open(browser, 'storyboard', lectern.url, ID);
    await until('the replay can be played', () => viewer.page.evaluate(() => watching.video()?.duration > 0));
    await viewer.play();
    await assertShowsTheMoments(t, (place) => hover(viewer.page, place));
    assert.deepEqual(viewer.errors, []);
  });
});

const at = (name) => `${lectern.url}/broadcasts/${ID}/thumbs/${name}`;

/** @returns {Promise<{startS: number, endS: number, msn: number}[]>} */
async function storyboard() {
  const text = await (await fetch(at('storyboard.vtt'))).text();
  const [head, ...cues] = text.split('\n\n').filter(Boolean);
  assert.equal(head, 'WEBVTT');
  return cues.map((cue) => {
    const [, from, to, msn] = /^(\S+) --> (\S+)\n(\d+)\.jpg#xywh=0,0,256,144$/.exec(cue);
    return { startS: seconds(from), endS: seconds(to), msn: Number(msn) };
  });
}

const seconds = (time) => time.split(':').reduce((sum, part) => sum * 60 + Number(part), 0);

async function playlist() {
  const [best] = await renditions(`${lectern.url}/broadcasts/${ID}/index.m3u8`);
  return mediaPlaylist(best.url);
}

/** Each cue stands where hls.js sees its segment, and its picture is there. */
async function assertAgrees(cues) {
  const { details } = await playlist();
  const near = (a, b) => Math.abs(a - b) < 0.002;
  for (const { startS, endS, msn } of cues) {
    const segment = details.fragments.find(({ sn }) => sn === msn);
    assert.ok(segment && near(startS, segment.start) && near(endS, segment.start + segment.duration), `${startS}–${endS} is not segment ${msn}`);
    assert.equal((await fetch(at(`${msn}.jpg`))).status, 200);
  }
}

/**
 * Looks at some places, and reads the picture's clock. A picture that came too late for its slot was repeated there: here
 * the machine's doing. The place itself is right or wrong for most, and no picture is from the future.
 */
async function assertShowsTheMoments(t, look, page = viewer.page) {
  const errors = [];
  for (const place of PLACES) {
    const seen = await until('the picture and the time of that place', async () => {
      // media-chrome looks anew after a move of a second and more.
      await look(0.05);
      await look(place);
      const now = await preview(page);
      return now && Math.abs(now.place - place) < 0.05 && now.msn === Math.floor(now.timeS / SEGMENT_S) && now.words === clockTime(now.timeS) && now;
    });
    assert.notEqual(seen.clock, null, `the picture ${seen.msn} cannot be read`);
    assert.ok(seen.fits, 'the whole picture is in the player');
    errors.push(seen.clock - (origin + (seen.msn + 0.5) * SEGMENT_S * 1000));
  }
  t.diagnostic(`the pictures' clocks against the middle of their segments: ${errors.map((error) => `${error.toFixed(0)} ms`).join(', ')}`);
  assert.ok(errors.every((error) => error <= FRAME_TOLERANCE_MS), 'none is from the future');
  assert.ok(errors.filter((error) => error >= -FRAME_TOLERANCE_MS).length * 2 > errors.length, 'most are right');
}

const clockTime = (s) => `${Math.floor(s / 60)}:${String(Math.floor(s) % 60).padStart(2, '0')}`;

const seekBar = (page) => page.locator('lectern-player media-time-range').boundingBox();

async function hover(page, place) {
  const { x, y, width, height } = await seekBar(page);
  await page.mouse.move(x + width * place, y + height / 2);
}

/** What the seek bar shows; null while it shows no picture. */
async function preview(page) {
  return page.evaluate(() => {
    const range = document.querySelector('lectern-player').renderRoot.querySelector('media-time-range');
    const thumbnail = range.querySelector('media-preview-thumbnail');
    const image = thumbnail.shadowRoot.querySelector('img');
    const wanted = range.getAttribute('mediapreviewimage')?.split('#')[0];
    const visible = getComputedStyle(thumbnail).visibility === 'visible' && image.offsetWidth > 0;
    if (!visible || !image.complete || !wanted || image.currentSrc !== wanted) return null;
    const [inner, outer] = [thumbnail, document.querySelector('lectern-player')].map((element) => element.getBoundingClientRect());
    const fits = inner.left >= outer.left && inner.right <= outer.right && inner.top >= outer.top && inner.bottom <= outer.bottom;
    const [width, height] = [image.naturalWidth, image.naturalHeight];
    const canvas = new OffscreenCanvas(width, height);
    const context = canvas.getContext('2d', { alpha: false });
    context.drawImage(image, 0, 0);
    const { data } = context.getImageData(0, 0, width, height);
    return {
      fits,
      clock: pictureClock.read((x, y) => 16 + (219 * data[4 * (y * width + x) + 1]) / 255, width, height),
      msn: Number.parseInt(wanted.split('/').at(-1), 10),
      timeS: Number(range.getAttribute('mediapreviewtime')),
      place: Number(range.getAttribute('mediapreviewtime')) / Number(range.getAttribute('mediaseekable').split(':')[1]),
      words: range.querySelector('.preview-time').textContent,
    };
  });
}
