/**
 * Two servers that share a Redis: publishers, a studio page too, are sent to the one that has the broadcast, and its place is
 * taken when it dies.
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { join } from 'node:path';
import { accessible } from '../harness/access.mjs';
import { launch } from '../harness/browser.mjs';
import { Common } from '../harness/common.mjs';
import { Lectern, SMALL_LADDER } from '../harness/lectern.mjs';
import { freePort } from '../harness/port.mjs';
import { ProcessPublisher } from '../harness/publisher/process.mjs';
import { Studio } from '../harness/publisher/studio.mjs';
import { until } from '../harness/until.mjs';

const ID = 'shared';
const OWNER = `lectern:owner:${ID}`;
const LEASE_MS = 15_000;

let browser, common, one, two, token;
const publishers = [];

before(async () => {
  [browser, common] = await Promise.all([launch(), Common.start()]);
  one = await node('nodes-one', SMALL_LADDER);
  two = await node('nodes-two', `${SMALL_LADDER}\n[node]\nothers = ["${one.url}"]\n[auth]\nsecret_file = "${join(one.data, 'secret')}"\n`);
  // Each knows its own broadcasts; the secret is common, so each takes the other's tokens.
  ({ token } = await one.create(ID));
  await two.create(ID);
});
after(async () => {
  await browser?.close();
  for (const publisher of publishers) await publisher.kill9();
  for (const server of [one, two]) await server?.discard();
  await common?.stop();
});

async function node(story, config) {
  const listen = `127.0.0.1:${await freePort()}`;
  return Lectern.start({ story, config, listen, env: { ...common.env, LECTERN_NODE__URL: `http://${listen}`, LECTERN_LOG: 'info,tower_http=debug' } });
}

/** `lectern publish`, told of one of them. */
function publish(server, source) {
  const publisher = ProcessPublisher.lectern(`nodes-${source}`, { url: `${server.url}/whip/${ID}?source=${source}`, token, args: ['--size', '320x180'] });
  publishers.push(publisher);
  return publisher;
}

const sessions = (server) => server.metric('lectern_ingest_sessions');

test('who comes to the other is sent to the one that has it, and is on air there', async () => {
  publish(one, 'main');
  await until('a node has the broadcast', async () => (await common.redis('GET', OWNER)) === one.url);
  const headers = { Authorization: `Bearer ${token}`, 'Content-Type': 'application/sdp' };
  const asked = await fetch(`${two.url}/whip/${ID}?source=screen`, { method: 'POST', headers, body: 'v=0', redirect: 'manual' });
  const sentTo = new URL(asked.headers.get('Location'));
  assert.deepEqual([asked.status, sentTo.origin, sentTo.pathname, [...sentTo.searchParams.keys()]], [307, one.url, `/whip/${ID}`, ['source', 'pass']]);
  // Who leaves the token behind comes in with it, as this source and as no other; it is no token.
  const there = async (source, headers = {}) => {
    sentTo.searchParams.set('source', source);
    return (await fetch(sentTo, { method: 'POST', headers: { 'Content-Type': 'application/sdp', ...headers }, body: 'v=0' })).status;
  };
  assert.deepEqual([await there('screen'), await there('main')], [400, 403]);
  assert.equal(await there('screen', { Authorization: `Bearer ${sentTo.searchParams.get('pass')}` }), 401);
  publish(two, 'screen');
  await until('both are heard where the broadcast is', async () => (await sessions(one)) === 2);
  assert.equal(await sessions(two), 0);
});

test('a studio page that was opened at the other is on air where the broadcast is', async () => {
  const ada = await Studio.open(browser, 'nodes', two.url, ID, await one.token(ID, 'cohost', { name: 'Ada', source: 'ada' }));
  const page = await ada.page.request.get(`${two.url}/studio/${ID}`);
  assert.match(page.headers()['content-security-policy'], new RegExp(`connect-src 'self' ws: wss: ${one.url}$`));
  assert.match((await two.get(`/watch/${ID}`)).headers.get('Content-Security-Policy'), /connect-src 'self' ws: wss:$/);

  const whips = [];
  ada.page.on('response', (response) => {
    const { origin, pathname } = new URL(response.url());
    const request = response.request();
    if (pathname.startsWith('/whip/')) whips.push({ origin, method: request.method(), status: response.status(), headers: request.allHeaders(), location: response.headers().location });
  });
  await ada.button('Camera').first().click();
  await ada.button('Go on air').click();
  await ada.says('On air');
  const heard = async () => (await one.api('GET', `/broadcasts/${ID}/layout`, { token })).body.on_air.find(({ source }) => source === 'ada');
  await until('picture and sound come', async () => { const { video, audio } = (await heard()) ?? {}; return video && audio; });
  assert.deepEqual([await sessions(one), await sessions(two)], [3, 0]);
  const posts = whips.filter(({ method }) => method === 'POST');
  assert.deepEqual(posts.map(({ origin, status }) => [origin, status]), [[two.url, 307], [one.url, 201]]);
  const { authorization, referer } = await posts[1].headers;
  assert.deepEqual([authorization, referer], [undefined, undefined], 'the browser left the token behind');

  const studio = ada.page.locator('lectern-studio').getByRole('link', { name: 'the studio there' });
  assert.ok((await studio.getAttribute('href')).startsWith(`${one.url}/studio/${ID}#token=eyJ`));
  if (process.env.SHOTS) await ada.page.screenshot({ path: join(process.env.SHOTS, 'elsewhere.png'), fullPage: true });
  await accessible(ada.page, 'a studio that is sent to another server', ['lectern-player']);

  // What the page sends when its network changes: it may, and reads the answer.
  const resource = one.url + posts[1].location;
  const restarted = await ada.page.evaluate(async ([url, bearer]) => {
    const headers = { Authorization: `Bearer ${bearer}`, 'Content-Type': 'application/trickle-ice-sdpfrag', 'If-Match': '*' };
    const answer = await fetch(url, { method: 'PATCH', headers, body: 'a=ice-ufrag:abcd\r\na=ice-pwd:0123456789012345678901\r\nm=audio 9 x 0\r\na=mid:0\r\n' });
    return [answer.status, answer.headers.get('ETag')];
  }, [resource, token]);
  assert.equal(restarted[0], 200);
  assert.ok(restarted[1]);

  await ada.button('Stop').click();
  await ada.says('Off air');
  await until('its session is over', async () => (await sessions(one)) === 2);
  const goodbyes = whips.filter(({ method }) => method === 'DELETE').map(({ origin, status }) => [origin, status]);
  assert.deepEqual(goodbyes, [[one.url, 200]]);
  assert.deepEqual(ada.errors, []);
  await ada.close();
});

test('passes are in no log', () => {
  for (const { log } of [one, two]) {
    const text = readFileSync(log, 'utf8');
    assert.match(text, new RegExp(`/whip/${ID}`), 'requests are logged');
    assert.doesNotMatch(text, /pass=|eyJ/);
  }
});

test('when it dies the lease runs out, and the other takes the broadcast', async () => {
  for (const publisher of publishers.splice(0)) await publisher.kill9();
  await one.kill9();
  const left = Number(await common.redis('PTTL', OWNER));
  assert.ok(left > 0 && left <= LEASE_MS, `${left} ms`);
  // The rest of it is not waited for.
  await common.redis('PEXPIRE', OWNER, '1');
  publish(two, 'main');
  await until('the other has the broadcast', async () => (await common.redis('GET', OWNER)) === two.url);
  await until('it is live there', async () => (await two.broadcast(ID)).state === 'live');
  assert.equal(await sessions(two), 1);
});
