/** A student behind a proxy that lets no WebSocket through takes part in the room all the same. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { launch } from '../harness/browser.mjs';
import { Lectern } from '../harness/lectern.mjs';
import { NoUpgrade } from '../harness/no-upgrade.mjs';
import { RoomClient } from '../harness/room.mjs';
import { until } from '../harness/until.mjs';
import { Viewer } from '../harness/viewer.mjs';

const ID = 'botany';
/** A participant may say five things in five seconds. */
const CUTS = 3;
const ONE = { timeout: 120_000 };

let browser, lectern, proxy, viewer, bo;

before(async () => {
  browser = await launch();
  lectern = await Lectern.start({ story: 'blocked' });
  await lectern.create(ID, { guests: true });
  proxy = await NoUpgrade.open(lectern.url);
  bo = await RoomClient.join(lectern.url, ID, await lectern.token(ID, 'moderator', { name: 'Bo' }));
  viewer = await Viewer.open(browser, 'blocked', proxy.url, ID, { token: await lectern.token(ID, 'participant', { name: 'Ana' }) });
});

after(async () => {
  bo?.leave();
  await browser?.close();
  proxy?.close();
  await lectern?.discard();
});

const streams = () => proxy.asked.filter((request) => request === `GET /rooms/${ID}/events`).length;

async function write(text) {
  const field = viewer.page.locator('lectern-room').getByRole('textbox').last();
  await field.fill(text);
  await field.press('Enter');
  return bo.event(({ body }) => body === text, `"${text}"`);
}

const shows = (text) => until(`the page shows "${text}"`, async () => (await viewer.room()).includes(text));

describe('behind it', () => {
  test('two WebSockets fail, then server-sent events do', ONE, async () => {
    await until('a stream of events', () => streams() > 0);
    assert.equal(proxy.refused, 2);
    await until('both are in the room', () => bo.frames.findLast(({ type }) => type === 'presence')?.count === 2);
  });

  test('one is heard and hears', ONE, async () => {
    const { author } = await write('Is moss a plant?');
    assert.equal(author.name, 'Ana');
    await bo.say('It is');
    await shows('It is');
    await shows('Is moss a plant?');
  });

  test('what was said while the line was cut is not missing, nor there twice', ONE, async () => {
    for (let n = 1; n <= CUTS; n++) {
      proxy.breakAll();
      await bo.say(`Fern ${n}`);
      await write(`Leaf ${n}`);
      await shows(`Fern ${n}`);
      await shows(`Leaf ${n}`);
    }
    const said = bo.events.flatMap(({ kind, body }) => (kind === 'text' ? [body] : []));
    assert.equal(said.filter((body) => body.startsWith('Leaf')).length, CUTS, 'each was sent once');
    const listed = await viewer.page.locator('lectern-messages li[data-seq] p.body').allInnerTexts();
    assert.ok(listed.length > 5);
    assert.deepEqual(listed, said.slice(-listed.length));
  });

  test('no token is in any address', ONE, () => {
    assert.ok(proxy.asked.some((request) => request === `POST /rooms/${ID}/messages`));
    assert.deepEqual(proxy.asked.filter((request) => /token|eyJ/.test(request)), []);
  });
});

describe('once it lets them through', () => {
  test('the page goes over to a WebSocket, and misses nothing', ONE, async () => {
    proxy.lets = true;
    await viewer.page.evaluate(() => dispatchEvent(new Event('online')));
    const { sockets } = await until('a WebSocket is in the room', async () => {
      const sockets = await lectern.metric('lectern_chat_connections', ID);
      return sockets === 2 && proxy.refused === 2 && { sockets };
    });
    assert.equal(sockets, 2);
    const before = proxy.asked.filter((request) => request.startsWith('POST')).length;
    await write('Over a socket');
    await bo.say('So it is');
    await shows('So it is');
    assert.equal(proxy.asked.filter((request) => request.startsWith('POST')).length, before);
    assert.deepEqual(viewer.errors, []);
  });
});
