/**
 * Behind a CDN edge (nginx, as in `deploy/nginx`): fifty viewers cost the origin what one costs, answers are kept as
 * long as they say and no longer, and the whole of Lectern works through it in a browser.
 */
import assert from 'node:assert/strict';
import { connect } from 'node:http2';
import { once } from 'node:events';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { audience, Watcher } from '../harness/audience.mjs';
import { launch } from '../harness/browser.mjs';
import { Edge } from '../harness/edge.mjs';
import { Lectern, SMALL_LADDER } from '../harness/lectern.mjs';
import { summary } from '../harness/measure.mjs';
import { renditions } from '../harness/presentation.mjs';
import { ProcessPublisher } from '../harness/publisher/process.mjs';
import { until } from '../harness/until.mjs';
import { Viewer } from '../harness/viewer.mjs';

const ID = 'topology';
const VIEWERS = 50;
/** Long enough for some forty parts of each rendition. */
const MEASURED_MS = 8_000;
/** So few that a test can fill the origin's waiting room. */
const MAX_BLOCKED = 40;
const ONE = { timeout: 120_000 };
const KINDS = ['multivariant', 'playlist', 'init', 'segment', 'part', 'file'];

let browser, lectern, edge, publisher, host;
/** Media playlists, as paths: the best picture and the sound. @type {string[]} */
let watched;

before(async () => {
  lectern = await Lectern.start({ story: 'edge', config: `${SMALL_LADDER}\n[packager]\nmax_blocked_requests = ${MAX_BLOCKED}\n` });
  edge = await Edge.start({ story: 'edge', origin: lectern.url });
  host = (await lectern.create(ID, { guests: true })).token;
  // The publisher comes through the edge as well.
  publisher = ProcessPublisher.lectern('edge', { url: `${edge.url}/whip/${ID}`, token: host, args: ['--size', '640x360', '--bitrate', '800'] });
  const all = await until('the lecture is on air', () => renditions(`${edge.url}/broadcasts/${ID}/index.m3u8`));
  watched = [all[0], all.at(-1)].map(({ url }) => new URL(url).pathname);
  browser = await launch();
});

after(async () => {
  await browser?.close();
  await publisher?.stop();
  await edge?.discard();
  await lectern?.discard();
});

const through = (server) => watched.map((path) => server.url + path);

describe('the load of one', () => {
  let one;

  test('a viewer costs the origin two requests for each part', ONE, async (t) => {
    one = await cost(() => audience(1, through(edge)));
    t.diagnostic(`1 viewer: ${tell(one)}`);
    // A playlist and a part, of the picture and of the sound.
    assert.ok(one.requests / one.rows > 3, 'the viewer watches indeed');
  });

  test('fifty cost no more', ONE, async (t) => {
    const direct = new Watcher(through(lectern));
    let viewers;
    const fifty = await cost(() => (viewers = audience(VIEWERS, through(edge))), direct);
    t.diagnostic(`${VIEWERS} viewers: ${tell(fifty)}`);
    const ratio = fifty.requests / fifty.rows / (one.requests / one.rows);
    t.diagnostic(`${ratio.toFixed(2)} times the load of one; the edge answered ${fifty.answered} requests`);
    t.diagnostic(`a part through the edge, after it came to a viewer at the origin: ${summary(delays(viewers, direct))}`);
    assert.ok(fifty.answered / fifty.requests > VIEWERS / 4, 'they watch indeed');
    assert.ok(ratio < 1.25, `${ratio}`);
    // Not one of them was refused, or left out: all have what most have.
    const counts = viewers.map(({ arrivals }) => arrivals.size);
    assert.deepEqual(viewers.flatMap(({ refused }) => refused), []);
    assert.ok(Math.min(...counts) > Math.max(...counts) / 2, `parts of each: ${counts}`);
  });

  test('a viewer who leaves takes nothing from the others', ONE, async () => {
    const url = `${edge.url}${watched[0]}?_HLS_msn=${(await openSegment()) + 1}&_HLS_part=0`;
    const before = await origin('playlist');
    const first = new AbortController();
    const leaves = fetch(url, { signal: first.signal });
    await until('the origin holds it', async () => (await lectern.metric('lectern_packager_blocked_requests')) > 0, { every: 10 });
    const stays = fetch(url);
    first.abort();
    await assert.rejects(leaves);
    assert.equal((await stays).status, 200);
    assert.equal((await origin('playlist')) - before, 1);
  });
});

describe('what is kept', () => {
  test('one answer for all ways to ask for it', ONE, async () => {
    const [msn, query] = [(await openSegment()) - 1, (...pairs) => `${watched[0]}?${pairs.join('&')}`];
    // v2: no viewer has asked for that.
    const [m, p, s] = [`_HLS_msn=${msn}`, '_HLS_part=1', '_HLS_skip=v2'];
    const before = await origin('playlist');
    const answers = [];
    for (const path of [query(m, p, s), query(s, p, m), query('session=17', m, s, p), query(m, p, s).replace(ID, `%${ID.charCodeAt(0).toString(16)}${ID.slice(1)}`)]) {
      for (const coding of ['gzip, deflate, br', 'gzip', 'br;q=1.0, *;q=0.5']) answers.push(await edge.get(path, { headers: { 'Accept-Encoding': coding } }));
    }
    const texts = new Set(await Promise.all(answers.map((answer) => answer.text())));
    assert.equal(texts.size, 1);
    assert.ok(answers.every(({ headers }) => headers.get('content-encoding') === 'gzip' && headers.get('vary') === 'accept-encoding'));
    assert.equal((await origin('playlist')) - before, 1);
    const plain = new Set();
    for (const coding of ['identity', 'br', 'gzip;q=0']) {
      const answer = await edge.get(query(m, p, s), { headers: { 'Accept-Encoding': coding } });
      assert.equal(answer.headers.get('content-encoding'), null);
      plain.add(await answer.text());
    }
    assert.equal(plain.size, 1);
    assert.equal((await origin('playlist')) - before, 2);
  });

  test('its Age, and what browsers may read of it', ONE, async () => {
    const path = `${watched[0]}?_HLS_msn=${(await openSegment()) - 1}`;
    const asked = Date.now();
    const fresh = await edge.get(path);
    const came = Date.now();
    assert.equal(fresh.headers.get('age'), '0');
    await sleep(2_100);
    const again = Date.now();
    const aged = await edge.get(path);
    const age = Number(aged.headers.get('age'));
    assert.ok(age >= Math.floor((again - came) / 1000) && age <= Math.floor((Date.now() - asked) / 1000), `${age}`);
    assert.equal(aged.headers.get('date'), fresh.headers.get('date'));
    assert.equal(aged.headers.get('access-control-allow-origin'), '*');
    assert.match(aged.headers.get('access-control-expose-headers'), /age.*date/i);
    assert.equal(await aged.text(), await fresh.text());
  });

  test('a playlist without directives is never older than its second', ONE, async () => {
    const url = () => edge.get(watched[0]).then((answer) => answer.text());
    const [before, text, since] = [await origin('playlist'), await url(), Date.now()];
    await until('a new one', async () => (await url()) !== text);
    const asked = (await origin('playlist')) - before;
    assert.ok(asked <= 2 + (Date.now() - since) / 1000, `asked for ten times a second, ${asked} times of the origin`);
  });

  test('HEAD, ranges and what the browser has already', ONE, async () => {
    const path = watched[0].replace('index.m3u8', `${(await openSegment()) - 1}.m4s`);
    const before = await origin('segment');
    const whole = await edge.get(path);
    const body = Buffer.from(await whole.arrayBuffer());
    const head = await edge.get(path, { method: 'HEAD' });
    assert.deepEqual([head.status, head.headers.get('content-length')], [200, String(body.length)]);
    assert.equal(head.headers.get('cache-control'), 'public, max-age=31536000, immutable');
    const range = await edge.get(path, { headers: { Range: 'bytes=100-199' } });
    assert.deepEqual([range.status, range.headers.get('content-range')], [206, `bytes 100-199/${body.length}`]);
    assert.deepEqual(Buffer.from(await range.arrayBuffer()), body.subarray(100, 200));
    const known = await edge.get(path, { headers: { 'If-None-Match': whole.headers.get('etag') } });
    assert.equal(known.status, 304);
    assert.equal((await origin('segment')) - before, 1);
  });

  test('refusals: 400 and 404 for as long as they say, 503 never', ONE, async () => {
    for (const [path, status, cache, kind] of [
      [`${watched[0]}?_HLS_part=1`, 400, 'public, max-age=12', 'playlist'],
      [watched[0].replace('index.m3u8', '999999.m4s'), 404, 'public, max-age=1', 'segment'],
    ]) {
      const before = await origin(kind);
      for (const refused of await Promise.all([1, 2, 3].map(() => edge.get(path)))) {
        assert.deepEqual([refused.status, refused.headers.get('cache-control')], [status, cache]);
        assert.equal((await refused.json()).status, status);
        assert.equal(refused.headers.get('access-control-allow-origin'), '*');
      }
      assert.equal((await origin(kind)) - before, 1, path);
    }

    // The origin's waiting room is full for as long as these wait.
    const next = `_HLS_msn=${(await openSegment()) + 2}`;
    const full = new AbortController();
    const waiting = Array.from({ length: MAX_BLOCKED }, () => fetch(`${lectern.url}${watched[1]}?${next}`, { signal: full.signal }).catch(() => null));
    await until('it is full', async () => (await lectern.metric('lectern_packager_blocked_requests')) >= MAX_BLOCKED, { every: 10 });
    const refused = await Promise.all([1, 2, 3].map(() => edge.get(`${watched[0]}?${next}`)));
    for (const answer of refused) {
      assert.deepEqual([answer.status, answer.headers.get('cache-control')], [503, 'no-store']);
      assert.equal(answer.headers.get('access-control-allow-origin'), '*');
    }
    full.abort();
    await Promise.all(waiting);
    await until('there is room', async () => (await lectern.metric('lectern_packager_blocked_requests')) < MAX_BLOCKED, { every: 10 });
    assert.equal((await edge.get(`${watched[0]}?${next}`)).status, 200);
  });

  test('preflights pass, metrics do not', ONE, async () => {
    const preflight = await edge.get(watched[0], { method: 'OPTIONS', headers: { Origin: 'https://elsewhere.example', 'Access-Control-Request-Method': 'GET' } });
    assert.equal(preflight.headers.get('access-control-allow-origin'), '*');
    assert.equal((await edge.get('/metrics')).status, 404);
  });
});

test('HTTP/2 over TLS', ONE, async () => {
  const session = connect(edge.tls, { rejectUnauthorized: false });
  const part = `${watched[0]}?_HLS_msn=${await openSegment()}&_HLS_part=15`;
  const answers = await Promise.all([part, part, watched[1]].map(async (path) => {
    const stream = session.request({ ':path': path, 'accept-encoding': 'gzip' });
    const [headers] = await once(stream, 'response');
    stream.resume();
    await once(stream, 'end');
    return headers;
  }));
  for (const headers of answers) assert.deepEqual([headers[':status'], headers['content-encoding'], Number(headers.age) >= 0], [200, 'gzip', true]);
  session.close();
});

test('a student watches, live and in low latency, and writes', ONE, async (t) => {
  const token = await lectern.token(ID, 'participant', { name: 'Ana' });
  const viewer = await Viewer.open(browser, 'edge', edge.url, ID, { token });
  const asked = [];
  viewer.page.on('request', (request) => asked.push(request.url()));
  await viewer.plays();
  const since = Date.now();
  const pictures = await until('ten seconds of pictures', async () => {
    const { pictures: all } = await viewer.notes(since);
    return all.length >= 300 && all;
  });
  const latency = pictures.filter(({ clock }) => clock !== null).map(({ wall, clock }) => wall - clock);
  t.diagnostic(`glass-to-glass latency through the edge: ${summary(latency)}`);
  assert.ok(asked.some((url) => /_HLS_part=/.test(url)), 'it reloads by the part');
  assert.ok(asked.some((url) => /\/\d+\.\d+\.m4s$/.test(url)), 'it plays parts');
  await viewer.say('Is a cup a torus?');
  await until('the room shows it', async () => (await viewer.room()).includes('Is a cup a torus?'));
  assert.deepEqual(viewer.errors, []);
  await viewer.close();
});

test('the origin is away: what is kept is served, all else is refused clearly', ONE, async () => {
  const kept = watched[0].replace('index.m3u8', `${(await openSegment()) - 1}.m4s`);
  for (const path of [kept, watched[0]]) assert.equal((await edge.get(path)).status, 200);
  await lectern.kill9();
  for (const path of [kept, watched[0]]) assert.equal((await edge.get(path)).status, 200, path);
  await sleep(2_100);
  const old = await edge.get(watched[0]);
  assert.equal(old.status, 200);
  assert.ok(Number(old.headers.get('age')) >= 2, 'and says how old it is');
  const refused = await edge.get(watched[0].replace('index.m3u8', '999998.m4s'));
  assert.deepEqual([refused.status, refused.headers.get('cache-control'), refused.headers.get('access-control-allow-origin')], [502, 'no-store', '*']);
});

/** Requests that the origin has answered. @param {string} [kind] of resource */
async function origin(kind) {
  return lectern.metric('lectern_packager_requests_total', kind && `kind="${kind}"`);
}

/** The segment that is open now. */
async function openSegment() {
  const playlist = await (await lectern.get(watched[0])).text();
  return Number(/PRELOAD-HINT:TYPE=PART,URI="(\d+)\./.exec(playlist)[1]);
}

/**
 * What an audience costs the origin once all of it plays.
 * @param {() => Watcher[]} begin @param {Watcher} [beside] who asks the origin itself, and is not counted
 */
async function cost(begin, beside) {
  const viewers = begin();
  const all = beside ? [...viewers, beside] : viewers;
  await until('everybody plays', () => all.every(({ arrivals }) => arrivals.size >= 6));
  const look = async () => {
    const [counts, rows] = [await Promise.all(KINDS.map(origin)), await lectern.metric('lectern_packager_playlist_versions_total')];
    return { counts, rows, answered: viewers.reduce((sum, { requests }) => sum + requests, 0), beside: beside?.requests ?? 0 };
  };
  const start = await look();
  await sleep(MEASURED_MS);
  const end = await look();
  await Promise.all(all.map((viewer) => viewer.stop()));
  const kinds = KINDS.map((kind, i) => [kind, end.counts[i] - start.counts[i]]);
  const requests = kinds.reduce((sum, [, count]) => sum + count, 0) - (end.beside - start.beside);
  return { kinds, requests, rows: end.rows - start.rows, answered: end.answered - start.answered };
}

const tell = ({ kinds, requests, rows }) =>
  `${(requests / rows).toFixed(2)} requests to the origin for each part published (${requests} for ${rows}; with a viewer beside: ${kinds.filter(([, n]) => n).map((of) => of.join(' ')).join(', ')})`;

/** How much later each part came to each viewer than to the one at the origin, in ms. */
function delays(viewers, direct) {
  return viewers.flatMap(({ arrivals }) => [...arrivals].flatMap(([path, at]) => (direct.arrivals.has(path) ? [at - direct.arrivals.get(path)] : [])));
}
