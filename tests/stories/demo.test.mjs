/** `lectern serve --demo`: a living lecture without a camera. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { launch } from '../harness/browser.mjs';
import { Lectern } from '../harness/lectern.mjs';
import { RoomClient } from '../harness/room.mjs';
import { until } from '../harness/until.mjs';
import { Viewer } from '../harness/viewer.mjs';

const ONE = { timeout: 120_000 };
let browser, lectern, id;

before(async () => {
  browser = await launch();
  lectern = await Lectern.start({ story: 'demo', config: '', args: ['--demo'] });
  ({ id } = await until('the demo is live', async () => (await lectern.api('GET', '/broadcasts')).body.broadcasts.find(({ state }) => state === 'live')));
});
after(async () => {
  await browser?.close();
  await lectern?.discard();
});

test('the watch page shows a moving picture and a room that talks', ONE, async (t) => {
  const viewer = await Viewer.open(browser, 'demo', lectern.url, id);
  const [picture] = await viewer.plays();
  t.diagnostic(`${Math.round(picture.wall - picture.clock)} ms behind the lecturer`);
  const reader = await RoomClient.join(lectern.url, id);
  const since = Date.now();
  const { body, author } = await reader.event(({ kind, sent }) => kind === 'text' && sent > since, 'something new');
  await until(`the page shows what ${author.name} said`, async () => (await viewer.room()).includes(body));
  await viewer.page.screenshot({ path: `${import.meta.dirname}/../out/demo.png` });
  reader.leave();
});

test('several people talk, each with a name', ONE, async () => {
  const reader = await RoomClient.join(lectern.url, id);
  const names = await until('two names', () => {
    const all = new Set(reader.events.map(({ author }) => author.name));
    return all.size >= 2 && all;
  });
  assert.ok([...names].every(Boolean));
  reader.leave();
});
