/** A lecturer's page: a canvas with the picture clock and a beep from the same clock, published over WHIP. */
import { draw } from './picture-clock.mjs';

const FRAME_MS = 1000 / 30;
const BEEP_MS = 60;
const canvas = document.querySelector('canvas');
const context = canvas.getContext('2d');
let session = null;
/** How far the page's clock is behind the true one, for a lecture that is to have begun earlier. */
let backMs = 0;

globalThis.lecturer = { publish, addPicture, sendLayer, resize, hangUp, vanish, serverPort, setBack, sent, restart, transport, relays };

function setBack(ms) {
  backMs = ms;
}

const clock = () => performance.timeOrigin + performance.now() - backMs;

/** The picture and the sound, for whoever publishes them. */
async function media(width, height) {
  resize(width, height);
  setInterval(paint, FRAME_MS);
  const picture = canvas.captureStream();
  return new MediaStream([...picture.getVideoTracks(), ...(await beeps()).getAudioTracks()]);
}

/**
 * `picture`: false for sound alone, 'later' for a place in the offer that `addPicture` fills. `layers`: simulcast.
 * @param {{url: string, token: string, width: number, height: number, codec?: string, port?: number, picture?: boolean | 'later', sound?: boolean,
 *   layers?: {rid: string, scale: number}[], relayed?: boolean}} options `relayed`: over the TURN relays that the server names, and no other way
 */
async function publish({ url, token, width, height, codec, port, picture = true, sound = true, layers, relayed }) {
  globalThis.lectureMedia ??= await media(width, height);
  const iceServers = relayed ? relays(await fetch(url, { method: 'OPTIONS', headers: { Authorization: `Bearer ${token}` } })) : [];
  const connection = new RTCPeerConnection({ iceServers, iceTransportPolicy: relayed ? 'relay' : 'all' });
  session = { connection, token, location: null, etag: null, answer: '', video: null };
  addTracks(connection, globalThis.lectureMedia, { codec, picture, sound, layers });
  await connection.setLocalDescription();
  const headers = { 'Content-Type': 'application/sdp', Authorization: `Bearer ${token}` };
  const response = await fetch(url, { method: 'POST', headers, body: connection.localDescription.sdp });
  const body = await response.text();
  if (response.status !== 201) return { status: response.status, body };
  session.answer = body;
  session.location = new URL(response.headers.get('Location'), url).href;
  session.etag = response.headers.get('ETag');
  await connection.setRemoteDescription({ type: 'answer', sdp: through(body, port) });
  await connected(connection);
  return { status: response.status, location: session.location, simulcast: /a=simulcast:(.*)/.exec(body)?.[1].trim(), relays: relays(response) };
}

/** The camera is found while the lecture is on the air. */
async function addPicture() {
  await session.video.replaceTrack(globalThis.lectureMedia.getVideoTracks()[0]);
}

function resize(width, height) {
  [canvas.width, canvas.height] = [width, height];
}

async function hangUp() {
  const { connection, location, token } = session;
  connection.close();
  return (await fetch(location, { method: 'DELETE', headers: { Authorization: `Bearer ${token}` } })).status;
}

/** Gone without a DELETE. */
function vanish() {
  session.connection.close();
}

/** The STUN and TURN servers that an answer names (RFC 9725 §4.6). */
function relays(response) {
  const links = (response.headers.get('Link') ?? '').split(/,\s*(?=<)/).filter((link) => /rel="ice-server"/.test(link));
  return links.map((link) => {
    const named = (name) => new RegExp(`${name}="([^"]*)"`).exec(link)?.[1];
    return { urls: /<(.*)>/.exec(link)[1], username: named('username'), credential: named('credential') };
  });
}

/**
 * Restarts ICE (RFC 9725 §4.3.3). Resolves with the server's status once the connection stands again; with `port`, where nobody listens, at once.
 * @param {{port?: number}} [options]
 */
async function restart({ port } = {}) {
  const { connection, location, token, etag, answer } = session;
  connection.restartIce();
  await connection.setLocalDescription();
  const lines = connection.localDescription.sdp.split('\r\n');
  const fragment = ['a=ice-ufrag:', 'a=ice-pwd:', 'm=', 'a=mid:'].map((name) => lines.find((line) => line.startsWith(name)));
  const headers = { 'Content-Type': 'application/trickle-ice-sdpfrag', Authorization: `Bearer ${token}`, 'If-Match': etag };
  const response = await fetch(location, { method: 'PATCH', headers, body: `${fragment.join('\r\n')}\r\n` });
  const granted = await response.text();
  if (response.status !== 200) return { status: response.status, body: granted };
  session.etag = response.headers.get('ETag');
  session.answer = answer.replace(/a=ice-(ufrag|pwd):.*/g, (line, name) => new RegExp(`a=ice-${name}:.*`).exec(granted)[0]);
  await connection.setRemoteDescription({ type: 'answer', sdp: through(session.answer, port) });
  if (!port) await connected(connection);
  return { status: response.status };
}

/** What carries the media: `udp` or `tcp`, to which port, and from what kind of address. */
async function transport() {
  const stats = [...(await session.connection.getStats()).values()];
  const { selectedCandidatePairId: id } = stats.find(({ type }) => type === 'transport');
  const pair = stats.find((stat) => stat.id === id);
  const remote = pair && stats.find((stat) => stat.id === pair.remoteCandidateId);
  if (!remote) return null;
  const local = stats.find((stat) => stat.id === pair.localCandidateId);
  return { protocol: remote.protocol, port: remote.port, from: local?.candidateType, relay: local?.url };
}

/** The server's UDP port, as its answer says. */
function serverPort() {
  return Number(/a=candidate:(?:\S+ ){5}(\d+)/.exec(session.answer)[1]);
}

/** Whether a layer of simulcast is sent. */
async function sendLayer(rid, active) {
  const parameters = session.video.getParameters();
  parameters.encodings.find((encoding) => encoding.rid === rid).active = active;
  await session.video.setParameters(parameters);
}

/** What left so far: bytes of pictures, and what the browser believes the path to bear. */
async function sent() {
  const stats = [...(await session.connection.getStats()).values()];
  const pair = stats.find(({ type, nominated }) => type === 'candidate-pair' && nominated);
  const streams = stats.filter(({ type, kind }) => type === 'outbound-rtp' && kind === 'video');
  const bytes = streams.reduce((sum, { bytesSent }) => sum + bytesSent, 0);
  return { at: performance.now(), bytes, kbps: (pair?.availableOutgoingBitrate ?? 0) / 1000, retransmitted: streams.reduce((sum, { retransmittedPacketsSent = 0 }) => sum + retransmittedPacketsSent, 0) };
}

function addTracks(connection, stream, { codec, picture, sound, layers }) {
  const [video] = stream.getVideoTracks();
  // A lecture's picture is read, not watched: keep its size when the path is thin.
  video.contentHint = 'detail';
  if (picture) {
    const sendEncodings = layers?.map(({ rid, scale }) => ({ rid, scaleResolutionDownBy: scale }));
    const options = { direction: 'sendonly', streams: [stream], ...(layers && { sendEncodings }) };
    const transceiver = connection.addTransceiver(picture === 'later' ? 'video' : video, options);
    session.video = transceiver.sender;
    const wanted = ({ mimeType }) => mimeType === `video/${codec}` || /rtx$/.test(mimeType);
    if (codec) transceiver.setCodecPreferences(RTCRtpSender.getCapabilities('video').codecs.filter(wanted));
  }
  if (sound) connection.addTransceiver(stream.getAudioTracks()[0], { direction: 'sendonly', streams: [stream] });
}

/** With `port`, every candidate of the answer points to a relay in between. */
const through = (sdp, port) => (port ? sdp.replace(/(a=candidate:(?:\S+ ){5})\d+/g, `$1${port}`) : sdp);

const connected = (connection) =>
  new Promise((resolve, reject) => {
    const check = () => {
      if (connection.connectionState === 'connected') resolve();
      if (connection.connectionState === 'failed') reject(new Error('WebRTC did not connect'));
    };
    connection.addEventListener('connectionstatechange', check);
    check();
  });

function paint() {
  const { width, height } = canvas;
  const now = clock();
  context.fillStyle = `hsl(${(now / 50) % 360} 30% 40%)`;
  context.fillRect(0, 0, width, height);
  context.fillStyle = '#eee';
  context.fillRect(((now / 10) % 1) * width, height / 2, width / 10, height / 10);
  context.font = `${height / 8}px sans-serif`;
  context.fillText(new Date(now).toISOString().slice(11, 23), width * 0.3, height * 0.8);
  draw(context, width, height, now);
}

/** 1 kHz for 60 ms from each whole second of the clock. */
const beeps = () => (globalThis.MediaStreamTrackGenerator ? writtenBeeps() : gatedBeeps());

function writtenBeeps() {
  const track = new MediaStreamTrackGenerator({ kind: 'audio' });
  const { writable } = track;
  globalThis.lectureBeeps = new Worker('beeps.mjs', { type: 'module' });
  globalThis.lectureBeeps.postMessage(writable, [writable]);
  return new MediaStream([track]);
}

/** Where samples cannot be written (Firefox): a fake microphone hears 1 kHz all the time, and is let through when there is to be a beep. */
async function gatedBeeps() {
  const plain = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };
  const stream = await navigator.mediaDevices.getUserMedia({ audio: plain });
  const [track] = stream.getAudioTracks();
  const gate = () => {
    const within = clock() % 1000;
    track.enabled = within < BEEP_MS;
    setTimeout(gate, track.enabled ? BEEP_MS - within : 1000 - within);
  };
  gate();
  return stream;
}
