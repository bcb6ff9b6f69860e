/** A lecturer's page: a canvas with the picture clock and a beep from the same clock, published over WHIP. */
import { draw } from './picture-clock.mjs';

const FRAME_MS = 1000 / 30;
const SAMPLE_RATE = 48_000;
const BLOCK_MS = 10;
const BEEP_MS = 60;
const canvas = document.querySelector('canvas');
const context = canvas.getContext('2d');
let session = null;
/** How far the page's clock is behind the true one, for a lecture that is to have begun earlier. */
let backMs = 0;

globalThis.lecturer = { publish, sendLayer, resize, hangUp, vanish, serverPort, setBack, sent, restart, transport };

function setBack(ms) {
  backMs = ms;
}

const clock = () => performance.timeOrigin + performance.now() - backMs;

/** The picture and the sound, for whoever publishes them. */
function media(width, height) {
  resize(width, height);
  setInterval(paint, FRAME_MS);
  const picture = canvas.captureStream();
  return new MediaStream([...picture.getVideoTracks(), ...beeps().getAudioTracks()]);
}

/** @param {{url: string, token: string, width: number, height: number, codec?: string, port?: number, layers?: {rid: string, scale: number}[]}} options */
async function publish({ url, token, width, height, codec, port, layers }) {
  globalThis.lectureMedia ??= media(width, height);
  const connection = new RTCPeerConnection();
  session = { connection, token, location: null, etag: null, answer: '' };
  addTracks(connection, globalThis.lectureMedia, codec, layers);
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
  return { status: response.status, location: session.location };
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

/** Restarts ICE (RFC 9725 §4.3.3). Resolves with the server's status once the connection stands again. */
async function restart() {
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
  await connection.setRemoteDescription({ type: 'answer', sdp: session.answer });
  await connected(connection);
  return { status: response.status };
}

/** What carries the media: `udp` or `tcp`, and to which port. */
async function transport() {
  const stats = [...(await session.connection.getStats()).values()];
  const { selectedCandidatePairId: id } = stats.find(({ type }) => type === 'transport');
  const pair = stats.find((stat) => stat.id === id);
  const remote = pair && stats.find((stat) => stat.id === pair.remoteCandidateId);
  return remote ? { protocol: remote.protocol, port: remote.port } : null;
}

/** The server's UDP port, as its answer says. */
function serverPort() {
  return Number(/a=candidate:(?:\S+ ){5}(\d+)/.exec(session.answer)[1]);
}

/** Whether a layer of simulcast is sent. */
async function sendLayer(rid, active) {
  const [sender] = session.connection.getSenders();
  const parameters = sender.getParameters();
  parameters.encodings.find((encoding) => encoding.rid === rid).active = active;
  await sender.setParameters(parameters);
}

/** What left so far: bytes of pictures, and what the browser believes the path to bear. */
async function sent() {
  const stats = [...(await session.connection.getStats()).values()];
  const pair = stats.find(({ type, nominated }) => type === 'candidate-pair' && nominated);
  const streams = stats.filter(({ type, kind }) => type === 'outbound-rtp' && kind === 'video');
  const bytes = streams.reduce((sum, { bytesSent }) => sum + bytesSent, 0);
  return { at: performance.now(), bytes, kbps: (pair?.availableOutgoingBitrate ?? 0) / 1000, retransmitted: streams.reduce((sum, { retransmittedPacketsSent = 0 }) => sum + retransmittedPacketsSent, 0) };
}

function addTracks(connection, stream, codec, layers) {
  const [video] = stream.getVideoTracks();
  // A lecture's picture is read, not watched: keep its size when the path is thin.
  video.contentHint = 'detail';
  const sendEncodings = layers?.map(({ rid, scale }) => ({ rid, scaleResolutionDownBy: scale }));
  const sender = connection.addTransceiver(video, { direction: 'sendonly', streams: [stream], sendEncodings });
  connection.addTransceiver(stream.getAudioTracks()[0], { direction: 'sendonly', streams: [stream] });
  if (!codec) return;
  const wanted = ({ mimeType }) => mimeType === `video/${codec}` || /rtx$/.test(mimeType);
  sender.setCodecPreferences(RTCRtpSender.getCapabilities('video').codecs.filter(wanted));
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

/**
 * 1 kHz for 60 ms from each whole second of the clock. Written sample by sample: a headless browser has no sound card,
 * and the clock that it pretends to have runs some percent slow.
 */
function beeps() {
  const track = new MediaStreamTrackGenerator({ kind: 'audio' });
  const writer = track.writable.getWriter();
  const start = performance.timeOrigin + performance.now();
  let blocks = 0;
  setInterval(() => {
    const due = (performance.timeOrigin + performance.now() - start) / BLOCK_MS;
    for (; blocks < due; blocks++) writer.write(block(start + blocks * BLOCK_MS, blocks));
  }, BLOCK_MS);
  return new MediaStream([track]);
}

/** @param {number} ms the time of its first sample, on the clock @param {number} n */
function block(ms, n) {
  const data = new Float32Array((SAMPLE_RATE * BLOCK_MS) / 1000);
  for (let i = 0; i < data.length; i++) {
    const within = (ms + (i * 1000) / SAMPLE_RATE) % 1000;
    data[i] = within < BEEP_MS ? Math.sin(2 * Math.PI * within) / 2 : 0;
  }
  return new AudioData({ format: 'f32', sampleRate: SAMPLE_RATE, numberOfFrames: data.length, numberOfChannels: 1, timestamp: n * BLOCK_MS * 1000, data });
}
