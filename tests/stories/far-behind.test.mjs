/**
 * Words stand where their writers were looking, wherever on the line that is: at its live edge, five seconds behind it,
 * ten minutes behind it, and beyond a gap of the publisher's. They re-appear there while the lecture goes on, and in its
 * recording.
 *
 * The lecture that began ten minutes ago is made in half a minute: its pictures are clocked ten minutes early, the
 * server dies, its record is set back by ten minutes, and the line goes on behind a long hole.
 */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { readFile, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { launch } from '../harness/browser.mjs';
import { Lectern, SMALL_LADDER } from '../harness/lectern.mjs';
import { mediaPlaylist, renditions } from '../harness/presentation.mjs';
import { CanvasPublisher } from '../harness/publisher/canvas.mjs';
import { RoomClient } from '../harness/room.mjs';
import { assertReappear, write as writeAt } from '../harness/stamps.mjs';
import { until } from '../harness/until.mjs';
import { Viewer } from '../harness/viewer.mjs';

const ID = 'far';
const TEN_MINUTES_MS = 600_000;
/** What stands ten minutes back, in segments of 3.2 s: enough to watch for a while. */
const KEPT_SEGMENTS = 6;
/** Longer than the two seconds after which the slate takes the picture's place. */
const GAP_MS = 4_000;
const ONE = { timeout: 180_000 };

let browser, lectern, lecturer, viewer, host, reader, origin;
/** In the order of the line. */
const written = [];

before(async () => {
  browser = await launch();
  // Who is silent for ten minutes has not given up.
  lectern = await Lectern.start({ story: 'far-behind', config: `${SMALL_LADDER}\n[broadcasts]\nidle_timeout_s = 3600\n` });
  host = (await lectern.create(ID, { guests: true })).token;
  lecturer = await CanvasPublisher.open(browser, 'far-behind');
});

after(async () => {
  reader?.leave();
  await browser?.close();
  lecturer?.pages.close();
  await lectern?.discard();
});

const index = () => `${lectern.url}/broadcasts/${ID}/index.m3u8`;
async function publish() {
  const { status, body } = await lecturer.publish(`${lectern.url}/whip/${ID}`, host);
  assert.equal(status, 201, body);
}

describe('a lecture that began ten minutes ago', () => {
  test('goes on', ONE, async () => {
    await lecturer.setBack(TEN_MINUTES_MS);
    await publish();
    await until('it has begun', async () => (await segments()) >= KEPT_SEGMENTS);
    await lectern.kill9();
    await lecturer.vanish();
    await setBack(join(lectern.data, 'broadcasts', ID), TEN_MINUTES_MS);
    await lectern.rise();
    await lecturer.setBack(0);
    await publish();
    ({ origin } = await lectern.broadcast(ID));
    assert.ok(Date.now() - origin > TEN_MINUTES_MS);
    viewer = await Viewer.open(browser, 'far-behind', lectern.url, ID, { token: await lectern.token(ID, 'participant', { name: 'Ana' }) });
    await viewer.plays();
    reader = await RoomClient.join(lectern.url, ID);
  });

  test('a word at the live edge', ONE, async (t) => {
    await write(t, 'At the live edge');
  });

  test('a word five seconds behind', ONE, async (t) => {
    await until('there is so much of it', async () => (await viewer.shown()).clock > written[0].clock + 9_000);
    await viewer.goTo((await viewer.shown()).clock - 5_000);
    await viewer.play();
    await viewer.plays();
    const { clock } = await write(t, 'Five seconds behind');
    assert.ok(Date.now() - clock > 5_000);
  });

  test('a word ten minutes behind', ONE, async (t) => {
    await viewer.goTo(origin + 6_000);
    await viewer.play();
    await viewer.plays();
    const { clock } = await write(t, 'Ten minutes behind');
    assert.ok(Date.now() - clock > TEN_MINUTES_MS - 30_000);
  });

  test('a word beyond a gap of the publisher', ONE, async (t) => {
    await viewer.backToLive();
    await viewer.plays();
    await lecturer.vanish();
    await until('the slate is shown', async () => (await viewer.shown()).clock === null);
    await new Promise((over) => setTimeout(over, GAP_MS));
    await publish();
    await until('the lecture is back', async () => (await viewer.shown()).clock > Date.now() - 30_000);
    await viewer.plays();
    await write(t, 'Beyond the gap');
    await until('and goes on', async () => (await viewer.shown()).clock > written.at(-1).clock + 3_000);
  });

  test('rewound, each re-appears where it was written', ONE, async (t) => {
    for (const message of inOrder()) await assertReappear(t, viewer, [message]);
  });
});

describe('its recording', () => {
  test('has each where it was written', ONE, async (t) => {
    await lectern.end(ID, host);
    await until('the playlists end', async () => {
      const ended = await Promise.all((await renditions(index())).map(async ({ url }) => !(await mediaPlaylist(url)).details.live));
      return ended.every(Boolean);
    });
    await viewer.close();
    viewer = await Viewer.open(browser, 'far-behind', lectern.url, ID);
    for (const message of inOrder()) await assertReappear(t, viewer, [message]);
  });
});

async function write(t, text) {
  const message = await writeAt(t, { viewer, reader, origin }, text);
  written.push(message);
  return message;
}

const inOrder = () => [...written].sort((a, b) => a.at - b.at);

/** Closed segments in the archive's playlists, in each of them. */
async function segments() {
  const playlists = await playlistsOf(join(lectern.data, 'broadcasts', ID));
  const counts = await Promise.all(playlists.filter((path) => path.endsWith('/index.m3u8')).map(async (path) => (await readFile(path, 'utf8')).match(/^\d+\.m4s$/gm)?.length ?? 0));
  const media = counts.filter((count) => count > 0);
  return media.length === 0 ? 0 : Math.min(...media);
}

/** The record says that everything happened so much earlier. */
async function setBack(folder, ms) {
  const facts = join(folder, 'broadcast.json');
  const { origin: began, ...rest } = JSON.parse(await readFile(facts, 'utf8'));
  await writeFile(facts, JSON.stringify({ ...rest, origin: began - ms }));
  for (const path of await playlistsOf(folder)) {
    const text = await readFile(path, 'utf8');
    const earlier = (_, date) => `#EXT-X-PROGRAM-DATE-TIME:${new Date(Date.parse(date) - ms).toISOString()}`;
    await writeFile(path, text.replace(/#EXT-X-PROGRAM-DATE-TIME:(\S+)/g, earlier));
  }
}

async function playlistsOf(folder) {
  const names = await readdir(folder, { recursive: true }).catch(() => []);
  return names.filter((name) => name.endsWith('.m3u8')).map((name) => join(folder, name));
}
