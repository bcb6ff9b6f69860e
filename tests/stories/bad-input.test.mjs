/** Bad input gets a clear answer and harms nobody: a lecture is on air all the while. */
import assert from 'node:assert/strict';
import { connect } from 'node:net';
import { once } from 'node:events';
import { after, before, describe, test } from 'node:test';
import { Lectern } from '../harness/lectern.mjs';
import { assertOnTheLine, mediaPlaylist, renditions } from '../harness/presentation.mjs';
import { ProcessPublisher } from '../harness/publisher/process.mjs';
import { RoomClient } from '../harness/room.mjs';
import { until } from '../harness/until.mjs';

const ID = 'chemistry';
const MEGABYTE = 1 << 20;

/** @type {Lectern} */
let lectern;
/** @type {ProcessPublisher} */
let publisher;
/** @type {ProcessPublisher | undefined} */
let second;
let token;
/** A media playlist's URL. */
let video;

before(async () => {
  lectern = await Lectern.start({ story: 'bad-input' });
  ({ token } = await lectern.create(ID, { guests: true }));
  publisher = ProcessPublisher.aiortc('bad-input', { url: `${lectern.url}/whip/${ID}`, token });
  await until('the lecture is live', async () => (await lectern.broadcast(ID)).state === 'live');
  video = await until('a playlist', async () => (await renditions(`${lectern.url}/broadcasts/${ID}/index.m3u8`))[0].url);
});

after(async () => {
  await second?.stop();
  await publisher?.stop();
  await lectern?.discard();
});

const post = (path, body, headers = {}) => lectern.get(path, { method: 'POST', headers: { 'Content-Type': 'application/sdp', Authorization: `Bearer ${token}`, ...headers }, body });

/** A refusal in the API's words: a problem with a title and a detail for a person. */
async function assertProblem(response, status, what) {
  const text = await response.text();
  assert.equal(response.status, status, `${what}: ${text}`);
  assert.match(response.headers.get('content-type') ?? '', /problem\+json/, what);
  const problem = JSON.parse(text);
  assert.equal(problem.status, status, what);
  assert.ok(problem.title, what);
}

describe('at the WHIP door', () => {
  test('what is not an offer is refused', async () => {
    await lectern.create('for-offers');
    const host = await lectern.token('for-offers', 'host');
    const to = (body, headers) => post('/whip/for-offers', body, { Authorization: `Bearer ${host}`, ...headers });
    await assertProblem(await to('garbage'), 400, 'garbage');
    await assertProblem(await to(''), 400, 'nothing');
    await assertProblem(await to(Buffer.from([0xff, 0xfe, 0x00, 0x80])), 400, 'not UTF-8');
    await assertProblem(await to('v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n'), 400, 'an offer of nothing');
    await assertProblem(await to('v=0', { 'Content-Type': 'application/json' }), 415, 'another type');
    await assertProblem(await to('v'.repeat(MEGABYTE)), 413, 'a megabyte');
    assert.equal((await lectern.broadcast('for-offers')).state, 'waiting');
  });

  test('ids that can be none, and sessions that are none, are not found', async () => {
    for (const id of ['..%2f..%2fetc', 'UPPER', '%ff']) {
      const { status } = await post(`/whip/${id}`, 'garbage');
      assert.ok(status >= 400 && status < 500, `${id}: ${status}`);
    }
    await assertProblem(await lectern.get(`/whip/${ID}/no-such-session`, { method: 'DELETE', headers: { Authorization: `Bearer ${token}` } }), 404, 'DELETE');
  });

  test('a second publisher is refused, and takes over when it says so', async () => {
    // Somebody else: the same token would take its own place over.
    const other = await lectern.token(ID, 'host');
    second = ProcessPublisher.aiortc('bad-input-second', { url: `${lectern.url}/whip/${ID}`, token: other });
    const { status, body } = await second.said('answer');
    assert.equal(status, 409);
    assert.match(body, /takeover/i, 'the refusal says how to take over');
    const { origin } = await lectern.broadcast(ID);
    second = ProcessPublisher.aiortc('bad-input-second', { url: `${lectern.url}/whip/${ID}?takeover=true`, token: other });
    assert.equal((await second.said('answer')).status, 201);
    await second.said('state', ({ state }) => state === 'connected');
    await publisher.said('state', ({ state }) => state === 'closed' || state === 'failed');
    await stillLive();
    assert.equal((await lectern.broadcast(ID)).origin, origin, 'the line is the same');
  });
});

describe('in the room', () => {
  test('a megabyte of message closes the connection, and only that one', async () => {
    const neighbour = await RoomClient.join(lectern.url, ID, token);
    const loud = await RoomClient.join(lectern.url, ID, await lectern.token(ID, 'participant'));
    loud.send({ type: 'say', ref: 'big', body: 'x'.repeat(MEGABYTE), playing: null });
    assert.equal((await loud.end()).code, 4009);
    assert.equal((await neighbour.say('still here')).type, 'ack');
    neighbour.leave();
  });

  test('a message that is too long or empty is refused with a reason', async () => {
    const client = await RoomClient.join(lectern.url, ID, token);
    const { body: limit } = client.joined.limits;
    assert.equal((await client.say('x'.repeat(limit + 1))).code, 'too_long');
    assert.equal((await client.say('   ')).code, 'empty');
    assert.equal((await client.say('ä'.repeat(limit))).type, 'ack', 'letters are counted, not bytes');
    client.leave();
  });

  test('invalid UTF-8 and invalid JSON', async () => {
    for (const [bytes, what] of [[Buffer.from([0x22, 0xff, 0xfe, 0x22]), 'UTF-8'], [Buffer.from('{"type":'), 'JSON'], [Buffer.from('{"type":"dance"}'), 'type'], [Buffer.from('[1,2]'), 'object']]) {
      const client = await RoomClient.join(lectern.url, ID, token);
      client.send(bytes, { binary: false });
      const verdict = await until(`an answer to bad ${what}`, () => client.closed ?? client.frames.find(({ type }) => type === 'refused'), { within: 15_000 });
      if ('code' in verdict && typeof verdict.code === 'number') assert.ok([1007, 4000].includes(verdict.code), `${what}: ${verdict.code}`);
      else assert.equal(verdict.code, 'malformed', what);
      client.leave();
    }
  });

  test('a playhead that cannot be is not believed', async () => {
    const client = await RoomClient.join(lectern.url, ID, token);
    const { origin } = await lectern.broadcast(ID);
    for (const playing of [-1, 0, 1e15, origin - 3_600_000, Date.now() + 3_600_000]) {
      const answer = await client.say(`I am at ${playing}`, playing);
      if (answer.type === 'refused') assert.equal(answer.code, 'malformed');
      else assert.ok(answer.at >= 0 && answer.at <= (Date.now() - origin + 1000) * 90, `${playing} → ${answer.at}`);
    }
    client.leave();
  });
});

describe('in a URL', () => {
  test('malformed directives are refused', async () => {
    for (const query of ['_HLS_msn=abc', '_HLS_part=1', '_HLS_msn=-1', '_HLS_msn=99999999999999999999999', '_HLS_msn=1&_HLS_part=x', '_HLS_msn=%ff']) {
      assert.equal((await fetch(`${video}?${query}`)).status, 400, query);
    }
    assert.equal((await fetch(`${video}?utm_source=mail`)).status, 200, 'what is nobody’s directive is nobody’s business');
  });

  test('what does not exist is not found', async () => {
    for (const path of [`/broadcasts/${ID}/360p/999999.m4s`, `/broadcasts/${ID}/9000p/index.m3u8`, '/broadcasts/none/index.m3u8', `/broadcasts/${ID}/../../lectern.toml`, `/broadcasts/${ID}/%2e%2e%2f%2e%2e%2flectern.toml`, '/api/v1/broadcasts/none', '/rooms/none/messages?from=1&to=2']) {
      assert.equal((await lectern.get(path)).status, 404, path);
    }
    for (const query of ['from=x&to=2', 'from=-1&to=2', 'from=1&to=99999999999999999999999']) {
      const { status } = await lectern.get(`/rooms/${ID}/messages?${query}`);
      assert.equal(status, 400, query);
    }
  });

  test('a request that is no HTTP is answered or dropped', async () => {
    const socket = connect(Number(new URL(lectern.url).port), '127.0.0.1');
    socket.on('error', () => {});
    socket.end('\x16\x03\x01 hello\r\n\r\n');
    socket.resume();
    await once(socket, 'close');
    assert.ok((await lectern.get('/healthz')).ok);
  });

  test('a body that is not what the API asks for', async () => {
    const operator = await lectern.token(ID, 'operator');
    const api = (body, type = 'application/json') => lectern.get('/api/v1/broadcasts', { method: 'POST', headers: { Authorization: `Bearer ${operator}`, 'Content-Type': type }, body });
    for (const body of ['{', '[]', '{"title":1}', '{"title":"x","id":"../x"}', '{"title":"x","surprise":true}', Buffer.from([0x22, 0xff])]) {
      const response = await api(body);
      assert.ok([400, 422].includes(response.status), `${body}: ${response.status}`);
      await assertProblem(response, response.status, String(body));
    }
    await assertProblem(await api(JSON.stringify({ title: 'again', id: ID })), 409, 'an id that is taken');
  });
});

test('after all of this the lecture is still live, and the server healthy', async () => {
  await stillLive();
  assert.equal(lectern.process.exitCode, null);
  assert.ok((await lectern.get('/healthz')).ok);
});

test('a SIGTERM in the middle of the lecture loses nothing', { timeout: 120_000 }, async () => {
  const { origin } = await lectern.broadcast(ID);
  const { details } = await mediaPlaylist(video);
  assert.equal(await lectern.restart(), 0, 'a clean stop');
  for (const rendition of await renditions(`${lectern.url}/broadcasts/${ID}/index.m3u8`)) {
    const after = (await mediaPlaylist(rendition.url)).details;
    assert.ok(after.edge >= details.edge, `${rendition.name} ends at ${after.edge} s, and was at ${details.edge} s`);
    await assertOnTheLine(rendition, origin);
  }
});

/** The edge moves on. */
async function stillLive() {
  const { details } = await mediaPlaylist(video);
  await until('the edge moves', async () => (await mediaPlaylist(video)).details.edge > details.edge + 1);
}
