/** Two broadcasts at once, each with its own room and tokens; and everybody does only what they may. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { Lectern } from '../harness/lectern.mjs';
import { RoomClient } from '../harness/room.mjs';
import { until } from '../harness/until.mjs';

const ROLES = ['host', 'moderator', 'participant', 'viewer'];
const [ALGEBRA, BIOLOGY] = ['algebra', 'biology'];

/** @type {Lectern} */
let lectern;
/** @type {Record<string, Record<string, string>>} tokens by broadcast and role */
const tokens = {};

before(async () => {
  lectern = await Lectern.start({ story: 'access' });
  await lectern.create(ALGEBRA, { guests: true });
  await lectern.create(BIOLOGY, { guests: false });
  for (const broadcast of [ALGEBRA, BIOLOGY]) {
    tokens[broadcast] = {};
    for (const role of ROLES) tokens[broadcast][role] = await lectern.token(broadcast, role, { name: `${role} of ${broadcast}` });
  }
  tokens.operator = { all: await lectern.token(null, 'operator'), algebra: await lectern.token(ALGEBRA, 'operator') };
});
after(() => lectern?.discard());

const offer = (broadcast, token) =>
  lectern.get(`/whip/${broadcast}`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/sdp', ...(token && { Authorization: `Bearer ${token}` }) },
    body: 'not an offer: who may not publish is told so before anybody reads it',
  });

const join = (broadcast, token) => RoomClient.join(lectern.url, broadcast, token);

describe('publishing', () => {
  test('is for the host of the broadcast', async () => {
    assert.equal((await offer(ALGEBRA, tokens[ALGEBRA].host)).status, 400, 'the host comes as far as the offer');
    for (const role of ['moderator', 'participant', 'viewer']) assert.equal((await offer(ALGEBRA, tokens[ALGEBRA][role])).status, 403, role);
    assert.equal((await offer(ALGEBRA, tokens[BIOLOGY].host)).status, 403, "another broadcast's host");
  });

  test('needs a token, and one that is good', async () => {
    const expired = await lectern.token(ALGEBRA, 'host', { ttl: '1s' });
    await until('the token expires', async () => (await offer(ALGEBRA, expired)).status === 401, { within: 90_000, every: 500 });
    for (const token of [undefined, 'garbage', 'a.b.c', forged(tokens[ALGEBRA].host)]) {
      const response = await offer(ALGEBRA, token);
      assert.equal(response.status, 401, token);
      assert.match(response.headers.get('content-type'), /problem\+json/);
      assert.ok(response.headers.has('access-control-allow-origin'), 'a page can read the refusal');
    }
  });
});

describe('the API', () => {
  test('making broadcasts is for operators', async () => {
    for (const token of [undefined, 'garbage', ...ROLES.map((role) => tokens[ALGEBRA][role])]) {
      const { status } = await lectern.api('POST', '/broadcasts', { token, body: { title: 'Not mine to make' } });
      assert.equal(status, token && token !== 'garbage' ? 403 : 401, token);
    }
    assert.equal((await lectern.api('GET', '/broadcasts')).body.broadcasts.length, 2);
  });

  test('ending a broadcast is for its host and for operators', async () => {
    const refused = [tokens[BIOLOGY].host, ...['moderator', 'participant', 'viewer'].map((role) => tokens[ALGEBRA][role])];
    for (const token of refused) assert.equal((await lectern.api('POST', `/broadcasts/${ALGEBRA}/end`, { token })).status, 403);
    assert.equal((await lectern.api('POST', `/broadcasts/${ALGEBRA}/end`)).status, 401);
    assert.equal((await lectern.broadcast(ALGEBRA)).state, 'waiting');
    await lectern.create('to-end');
    assert.equal((await lectern.api('POST', '/broadcasts/to-end/end', { token: tokens.operator.algebra })).status, 403, 'an operator of algebra alone');
    assert.ok((await lectern.api('POST', '/broadcasts/to-end/end', { token: tokens.operator.all })).status < 300);
    assert.equal((await lectern.broadcast('to-end')).state, 'ended');
  });
});

describe('the room', () => {
  test('those who may speak are heard in their own room alone', async () => {
    const here = await join(ALGEBRA, tokens[ALGEBRA].viewer);
    const elsewhere = await join(BIOLOGY, tokens[BIOLOGY].viewer);
    for (const role of ['host', 'moderator', 'participant']) {
      const speaker = await join(ALGEBRA, tokens[ALGEBRA][role]);
      assert.equal(speaker.joined.you.role, role);
      assert.equal((await speaker.say(`I am the ${role}`)).type, 'ack');
      const heard = await here.event(({ body }) => body === `I am the ${role}`, `what the ${role} said`);
      assert.deepEqual([heard.author.role, heard.author.name], [role, `${role} of ${ALGEBRA}`]);
      speaker.leave();
    }
    const marker = await join(BIOLOGY, tokens[BIOLOGY].host);
    await marker.say('biology speaking');
    await elsewhere.event(({ body }) => body === 'biology speaking');
    assert.deepEqual(elsewhere.events.map(({ body }) => body), ['biology speaking']);
    for (const client of [here, elsewhere, marker]) client.leave();
  });

  test('viewers, and watchers without a token, only read', async () => {
    for (const token of [tokens[ALGEBRA].viewer, undefined]) {
      const reader = await join(ALGEBRA, token);
      const { type, code } = await reader.say('let me speak');
      assert.deepEqual([type, code], ['refused', 'forbidden']);
      reader.leave();
    }
  });

  test('deleting is for hosts and moderators, of their own room', async () => {
    const participant = await join(ALGEBRA, tokens[ALGEBRA].participant);
    const { seq } = await participant.say('soon deleted');
    for (const role of ['viewer', 'participant']) {
      const client = role === 'participant' ? await join(ALGEBRA, await lectern.token(ALGEBRA, 'participant', { name: 'Another' })) : await join(ALGEBRA, tokens[ALGEBRA][role]);
      assert.equal((await client.delete(seq)).code, 'forbidden', role);
      client.leave();
    }
    const moderator = await join(ALGEBRA, tokens[ALGEBRA].moderator);
    assert.equal((await moderator.delete(seq)).type, 'ack');
    await participant.event((event) => event.kind === 'delete' && event.target === seq, 'the deletion');
    const late = await join(ALGEBRA, undefined);
    const kept = late.joined.events.find((event) => event.seq === seq);
    assert.ok(!kept || (kept.deleted && kept.body === undefined), 'a deleted text is not told to newcomers');
    for (const client of [participant, moderator, late]) client.leave();
  });

  test("garbage, expired and other broadcasts' tokens do not come in", async () => {
    const refused = await RoomClient.connect(lectern.url, ALGEBRA);
    refused.send({ type: 'join', token: 'garbage' });
    assert.equal((await refused.end()).code, 4001);
    const forgery = await RoomClient.connect(lectern.url, ALGEBRA);
    forgery.send({ type: 'join', token: forged(tokens[ALGEBRA].host) });
    assert.equal((await forgery.end()).code, 4001);
    const stranger = await RoomClient.connect(lectern.url, ALGEBRA);
    stranger.send({ type: 'join', token: tokens[BIOLOGY].host });
    assert.ok([4001, 4003].includes((await stranger.end()).code));
    const lost = await RoomClient.connect(lectern.url, 'no-such-broadcast').catch((error) => error);
    if (lost instanceof RoomClient) {
      lost.send({ type: 'join' });
      assert.equal((await lost.end()).code, 4004);
    } else assert.match(lost.message, /404/);
  });
});

describe('guests', () => {
  test('where they are admitted they get a name and speak', async () => {
    const { status, body } = await lectern.api('POST', `/broadcasts/${ALGEBRA}/guests`, { body: { name: 'Ana' } });
    assert.equal(status, 201);
    assert.equal(body.name, 'Ana');
    const guest = await join(ALGEBRA, body.token);
    assert.deepEqual([guest.joined.you.name, guest.joined.you.role], ['Ana', 'participant']);
    assert.equal((await guest.say('good morning')).type, 'ack');
    guest.leave();
  });

  test('without a name they are given one of their own; the staff\'s they cannot take', async () => {
    const admit = (body) => lectern.api('POST', `/broadcasts/${ALGEBRA}/guests`, { body });
    const [one, other] = [(await admit({})).body.name, (await admit({})).body.name];
    assert.match(one, /^Guest \d+$/);
    assert.notEqual(one, other);
    assert.equal((await admit({ name: 'M0derator' })).status, 409);
  });

  test('where they are not, they are refused', async () => {
    assert.equal((await lectern.api('POST', `/broadcasts/${BIOLOGY}/guests`, { body: { name: 'Ana' } })).status, 403);
    assert.equal((await lectern.api('POST', '/broadcasts/no-such-broadcast/guests', { body: {} })).status, 404);
  });
});

/** The same claims under a signature of nobody's. */
function forged(token) {
  const [head, claims] = token.split('.');
  return `${head}.${claims}.${Buffer.from('not the secret').toString('base64url')}`;
}
