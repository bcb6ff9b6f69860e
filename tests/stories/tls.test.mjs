/** With a certificate the one listener speaks HTTPS: HTTP/2 to those who can, HTTP/1.1 to the others, and everything works over both. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { X509Certificate, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import http2 from 'node:http2';
import https from 'node:https';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import tls from 'node:tls';
import { launch } from '../harness/browser.mjs';
import { Lectern, SMALL_LADDER } from '../harness/lectern.mjs';
import { ProcessPublisher } from '../harness/publisher/process.mjs';
import { RoomClient } from '../harness/room.mjs';
import { soon, until } from '../harness/until.mjs';
import { Viewer } from '../harness/viewer.mjs';

const ID = 'optics';
const ONE = { timeout: 120_000 };
/** More than the 100 streams that HTTP/2 asks for at least. */
const MANY = 300;

const folder = mkdtempSync(join(tmpdir(), 'lectern-tls-certificate-'));
const [CERT, KEY] = ['cert.pem', 'key.pem'].map((name) => join(folder, name));
let browser, lectern, publisher;

before(async () => {
  certify();
  // `fetch` and `ws` of the harness take no certificate; those of this story do, and so does `lectern publish`.
  process.env.NODE_TLS_REJECT_UNAUTHORIZED = '0';
  process.env.SSL_CERT_FILE = CERT;
  browser = await launch();
  lectern = await Lectern.start({ story: 'tls', config: `${SMALL_LADDER}\n[tls]\ncert = "${CERT}"\nkey = "${KEY}"` });
  const { token } = await lectern.create(ID);
  publisher = ProcessPublisher.lectern('tls', { url: `${lectern.url}/whip/${ID}`, token });
  await until('the lecture can be watched', async () => (await lectern.get(`/broadcasts/${ID}/index.m3u8`)).ok);
});

after(async () => {
  await publisher?.stop();
  await browser?.close();
  await lectern?.discard();
  rmSync(folder, { recursive: true });
});

test('WHIP comes over TLS, its certificate verified', () => {
  assert.match(lectern.url, /^https:/);
  assert.equal(publisher.process.exitCode, null);
});

describe('HTTP/2', () => {
  test('is chosen by ALPN, with room for many requests and for WebSockets', ONE, async () => {
    const session = await connect();
    assert.equal(session.alpnProtocol, 'h2');
    const settings = session.remoteSettings;
    assert.ok(settings.maxConcurrentStreams >= 256, `${settings.maxConcurrentStreams} streams`);
    assert.equal(settings.enableConnectProtocol, true);
    session.close();
  });

  test('the blocked requests of a player, on one connection', ONE, async () => {
    const session = await connect();
    const edges = await Promise.all(['360p', '180p', 'audio'].map(async (name) => ({ name, ...edge(await get(session, playlist(name))) })));
    const answers = edges.flatMap(({ name, msn, part, hint }) => [
      get(session, `${playlist(name)}?_HLS_msn=${msn}&_HLS_part=${part}`),
      get(session, `/broadcasts/${ID}/${name}/${hint}`),
    ]);
    for (const answer of await soon('the next part of each rendition', Promise.all(answers))) {
      assert.equal(answer.status, 200);
      assert.ok(answer.body.length > 0);
    }
    session.close();
  });

  test(`${MANY} requests blocked at once on one connection, all woken`, ONE, async () => {
    const session = await connect();
    const { msn, part } = edge(await get(session, playlist('180p')));
    // Two parts ahead, so that they do wait.
    const blocked = Array.from({ length: MANY }, () => get(session, `${playlist('180p')}?_HLS_msn=${msn}&_HLS_part=${part + 1}`));
    const answers = await soon('all of them', Promise.all(blocked));
    assert.deepEqual([...new Set(answers.map(({ status }) => status))], [200]);
    session.close();
  });

  test('a room is entered with CONNECT (RFC 8441)', ONE, async () => {
    const session = await connect();
    const socket = session.request({ ':method': 'CONNECT', ':protocol': 'websocket', ':path': `/rooms/${ID}`, 'sec-websocket-version': '13' });
    const [headers] = await once(socket, 'response');
    assert.equal(headers[':status'], 200);
    socket.write(maskedText(JSON.stringify({ type: 'join' })));
    let heard = '';
    socket.on('data', (chunk) => (heard += chunk.toString('latin1')));
    await until('the room answers', () => heard.includes('"joined"'));
    socket.close();
    session.close();
  });

  test('Chromium watches over it', ONE, async () => {
    const viewer = await Viewer.open(browser, 'tls', lectern.url, ID, { window: { ignoreHTTPSErrors: true } });
    await viewer.plays();
    const protocols = await viewer.page.evaluate(() => {
      // Of those that were answered: one that the player took back names no protocol.
      const media = performance.getEntriesByType('resource').filter(({ name, responseStatus }) => /\.(m4s|m3u8)/.test(name) && responseStatus > 0);
      return [...new Set(media.map(({ nextHopProtocol }) => nextHopProtocol))];
    });
    assert.deepEqual(protocols, ['h2']);
    await viewer.close();
  });
});

describe('HTTP/1.1', () => {
  test('is served to who knows no other', ONE, async () => {
    const request = https.get(`${lectern.url}${playlist('360p')}`, { ca: readFileSync(CERT) });
    const [response] = await once(request, 'response');
    assert.equal(response.httpVersion, '1.1');
    assert.equal(response.statusCode, 200);
    response.resume();
  });

  test('a room over its upgrade', ONE, async () => {
    const reader = await RoomClient.join(lectern.url, ID);
    assert.equal(reader.joined.type, 'joined');
    reader.leave();
  });
});

test('who says nothing, or speaks in the clear, is let go', ONE, async () => {
  const { port } = new URL(lectern.url);
  const open = () => net.connect(Number(port), '127.0.0.1').on('error', () => {}).resume();
  const [silent, clear] = [open(), open()];
  clear.write('GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n');
  // Through the handshake, and then nothing.
  const idle = tls.connect({ port: Number(port), host: '127.0.0.1', ca: readFileSync(CERT) }).on('error', () => {}).resume();
  await soon('all of them to be closed', Promise.all([silent, clear, idle].map((socket) => once(socket, 'close'))));
});

test('a renewed certificate is served without a restart; one that cannot be is not', ONE, async () => {
  const before = await connect();
  const old = await fingerprint();
  const [cert, key] = [readFileSync(CERT), readFileSync(KEY)];

  writeFileSync(KEY, 'no key');
  lectern.process.kill('SIGHUP');
  await until('it says so', () => readFileSync(lectern.log, 'utf8').includes('the certificate cannot be renewed'));
  assert.equal(await fingerprint(), old);
  [writeFileSync(CERT, cert), writeFileSync(KEY, key)];

  certify();
  const renewed = new X509Certificate(readFileSync(CERT)).fingerprint256;
  assert.notEqual(renewed, old);
  lectern.process.kill('SIGHUP');
  await until('the new one is served', async () => (await fingerprint()) === renewed);
  assert.equal((await get(before, '/healthz')).status, 200, 'a connection from before goes on');
  before.close();
});

/** A key and a certificate for this machine, in the two files. */
function certify() {
  const subject = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1', '-addext', 'basicConstraints=critical,CA:FALSE'];
  const kind = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2'];
  execFileSync('openssl', ['req', '-x509', ...kind, '-keyout', KEY, '-out', CERT, ...subject], { stdio: 'ignore' });
}

const playlist = (rendition) => `/broadcasts/${ID}/${rendition}/index.m3u8`;

/** @returns {Promise<http2.ClientHttp2Session>} */
async function connect() {
  const session = http2.connect(lectern.url, { ca: readFileSync(CERT) });
  // Until the server's settings have come, they are what the protocol begins with.
  await Promise.all([once(session, 'connect'), once(session, 'remoteSettings')]);
  return session;
}

/** @returns {Promise<{status: number, body: string}>} */
async function get(session, path) {
  const stream = session.request({ ':path': path });
  const response = once(stream, 'response');
  const chunks = [];
  stream.on('data', (chunk) => chunks.push(chunk));
  const [[headers]] = await Promise.all([response, once(stream, 'end')]);
  return { status: headers[':status'], body: Buffer.concat(chunks).toString('latin1') };
}

/** The part that comes next, and its name. */
function edge({ body }) {
  const [, hint, msn, part] = /PRELOAD-HINT:TYPE=PART,URI="((\d+)\.(\d+)\.m4s)"/.exec(body);
  return { hint, msn: Number(msn), part: Number(part) };
}

/** The certificate that a new connection is shown. */
async function fingerprint() {
  const { port } = new URL(lectern.url);
  const socket = tls.connect({ port: Number(port), host: '127.0.0.1', rejectUnauthorized: false });
  await once(socket, 'secureConnect');
  const { fingerprint256 } = socket.getPeerCertificate();
  socket.destroy();
  return fingerprint256;
}

/** A client's text frame of less than 126 bytes (RFC 6455 §5.2). */
function maskedText(text) {
  const [body, mask] = [Buffer.from(text), randomBytes(4)];
  return Buffer.concat([Buffer.from([0x81, 0x80 | body.length]), mask, body.map((byte, i) => byte ^ mask[i % 4])]);
}
