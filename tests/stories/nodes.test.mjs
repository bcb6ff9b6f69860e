/** Two servers that share a Redis: publishers are sent to the one that has the broadcast, and its place is taken when it dies. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { join } from 'node:path';
import { Common } from '../harness/common.mjs';
import { Lectern, SMALL_LADDER } from '../harness/lectern.mjs';
import { freePort } from '../harness/port.mjs';
import { ProcessPublisher } from '../harness/publisher/process.mjs';
import { until } from '../harness/until.mjs';

const ID = 'shared';
const OWNER = `lectern:owner:${ID}`;
const LEASE_MS = 15_000;

let common, one, two, token;
const publishers = [];

before(async () => {
  common = await Common.start();
  one = await node('nodes-one', SMALL_LADDER);
  two = await node('nodes-two', `${SMALL_LADDER}\n[auth]\nsecret_file = "${join(one.data, 'secret')}"\n`);
  // Each knows its own broadcasts; the secret is common, so each takes the other's tokens.
  ({ token } = await one.create(ID));
  await two.create(ID);
});
after(async () => {
  for (const publisher of publishers) await publisher.kill9();
  for (const server of [one, two]) await server?.discard();
  await common?.stop();
});

async function node(story, config) {
  const listen = `127.0.0.1:${await freePort()}`;
  return Lectern.start({ story, config, listen, env: { ...common.env, LECTERN_NODE__URL: `http://${listen}` } });
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
  assert.deepEqual([asked.status, asked.headers.get('Location')], [307, `${one.url}/whip/${ID}?source=screen`]);
  publish(two, 'screen');
  await until('both are heard where the broadcast is', async () => (await sessions(one)) === 2);
  assert.equal(await sessions(two), 0);
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
