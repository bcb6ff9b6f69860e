/**
 * A stand-in for OBS on OBS's own library (libdatachannel): its offer holds no candidates, it never PATCHes, it
 * answers NACK from the same SSRC (no RTX), does nothing on PLI, has a keyframe every 250 pictures, and says 42e01f whatever it
 * encodes. RTP times are those of decoding: with B-frames they lie.
 * A process of its own, so that a story can kill it. Usage: node obs.mjs OPTIONS-AS-JSON; writes one JSON line per event.
 */
import nd from 'node-datachannel';
import { Layer, attributes } from './obs-wire.mjs';
import { Recording } from './record.mjs';

/** Until the first picture: the WHIP exchange happens, and the encoder gets ahead. */
const LEAD_MS = 4_000;
const TICK_MS = 4;
const [VIDEO_PT, AUDIO_PT] = [96, 111];
/** As in OBS: packets kept for repair. */
const [VIDEO_NACKS, AUDIO_NACKS] = [4000, 512];
const PACKET_BYTES = 1200;

/**
 * `seconds`: it leaves by itself then. `encoder`: options for the encoder. `layers`: sizes of the picture; then the wire is that of OBS
 * 32.1, simulcast where there are several. `firstLost`: of each layer so many packets never leave (for `layers` alone). `port`: of a relay.
 * @type {{url: string, token: string, seconds?: number, width?: number, height?: number, port?: number, codec?: 'H264' | 'AV1',
 *   encoder?: Record<string, string>, layers?: {width: number, height: number, kbps?: number}[], firstLost?: number}}
 */
const { url, token, seconds, width = 640, height = 360, port, codec = 'H264', encoder, layers, firstLost } = JSON.parse(process.argv[2]);
const say = (event, more = {}) => console.log(JSON.stringify({ event, ...more }));

const connection = new nd.PeerConnection('obs', { iceServers: [] });
const ssrc = Math.floor(Math.random() * 0xffff_fff0);
const audio = addAudio();
const video = addVideo();
let stopping = false;
connection.onStateChange((state) => say('state', { state }));
connection.onGatheringStateChange((state) => state === 'complete' && publish(offer(connection.localDescription().sdp)));
connection.setLocalDescription('offer');

async function publish(sdp) {
  const first = Math.ceil((Date.now() + LEAD_MS) / 1000) * 1000;
  const pictures = (layers ?? [{ width, height }]).map((size) => ({ codec, encoder, ...size }));
  const lecture = new Recording({ first, seconds, video: pictures });
  const headers = { 'Content-Type': 'application/sdp', Authorization: `Bearer ${token}` };
  const response = await fetch(url, { method: 'POST', headers, body: sdp });
  const answer = await response.text();
  const serverPort = Number(/a=candidate:(?:\S+ ){5}(\d+)/.exec(answer)?.[1]);
  say('answer', response.status === 201 ? { status: 201, serverPort, simulcast: /a=simulcast:(.*)/.exec(answer)?.[1].trim() } : { status: response.status, body: answer });
  if (response.status !== 201) return leave(2);
  connection.setRemoteDescription(port ? answer.replace(/(a=candidate:(?:\S+ ){5})\d+/g, `$1${port}`) : answer, 'answer');
  const location = new URL(response.headers.get('location'), response.url);
  process.on('SIGTERM', () => stop(location));
  play(lecture, () => stop(location));
}

/** OBS closes DTLS first and then sends DELETE. */
async function stop(location) {
  if (stopping) return;
  stopping = true;
  connection.close();
  const { status } = await fetch(location, { method: 'DELETE', headers: { Authorization: `Bearer ${token}` } });
  say('deleted', { status });
  leave(0);
}

function leave(code) {
  connection.close();
  nd.cleanup();
  process.exit(code);
}

/** Each frame leaves when its moment has come. @param {Recording} lecture */
function play(lecture, done) {
  let playing = false;
  const tick = () => {
    if (stopping) return clearInterval(timer);
    if (!playing && (connection.state() !== 'connected' || !video.track.isOpen())) return;
    const now = Date.now();
    const due = lecture.due(now);
    if (due.length === 0 && !lecture.ended) return;
    if (!playing && now - lecture.first > 500) say('late', { ms: now - lecture.first });
    if (!playing) begin(lecture.first);
    playing = true;
    due.forEach(send);
    if (!lecture.ended || lecture.frames.length > 0) return;
    clearInterval(timer);
    done();
  };
  const timer = setInterval(tick, TICK_MS);
}

function begin(first) {
  // Of simulcast, reports come for the first layer alone.
  video.layers = layers?.map((_, n) => new Layer(video.track, ssrc + 1 + n, { rid: layers.length > 1 ? String(n) : undefined, reports: n === 0, firstLost }));
  say('sending', { first });
}

function send({ kind, dts, payload }) {
  const { track, config, clock } = kind === 'a' ? audio : video;
  const timestamp = Math.round((dts * clock) / 1000) >>> 0;
  if (kind !== 'a' && video.layers) return video.layers[Number(kind)].send(payload, timestamp);
  config.timestamp = timestamp;
  track.sendMessageBinary(payload);
}

function addVideo() {
  const media = new nd.Video('1', 'SendOnly');
  if (codec === 'AV1') media.addAV1Codec(VIDEO_PT);
  else media.addH264Codec(VIDEO_PT);
  media.addSSRC(ssrc + 1, 'cname', 'stream', 'stream-video');
  const clock = 90_000;
  if (layers) {
    const track = connection.addTrack(media);
    track.setMediaHandler(new nd.RtcpNackResponder(VIDEO_NACKS));
    return { track, clock };
  }
  const config = new nd.RtpPacketizationConfig(ssrc + 1, 'cname', VIDEO_PT, clock);
  const packetizer = codec === 'AV1' ? new nd.AV1RtpPacketizer('TemporalUnit', config, PACKET_BYTES) : new nd.H264RtpPacketizer('StartSequence', config, PACKET_BYTES);
  return withReports(connection.addTrack(media), packetizer, config, clock, VIDEO_NACKS);
}

function addAudio() {
  const media = new nd.Audio('0', 'SendOnly');
  media.addOpusCodec(AUDIO_PT, 'minptime=10;maxaveragebitrate=96000;stereo=1;sprop-stereo=1;useinbandfec=1');
  media.addSSRC(ssrc, 'cname', 'stream', 'stream-audio');
  const config = new nd.RtpPacketizationConfig(ssrc, 'cname', AUDIO_PT, 48_000);
  return withReports(connection.addTrack(media), new nd.RtpPacketizer(config), config, 48_000, AUDIO_NACKS);
}

function withReports(track, packetizer, config, clock, nacks) {
  packetizer.addToChain(new nd.RtcpSrReporter(config));
  packetizer.addToChain(new nd.RtcpNackResponder(nacks));
  track.setMediaHandler(packetizer);
  return { track, config, clock };
}

/** What OBS makes of its library's offer. */
function offer(sdp) {
  const lines = sdp.split('\r\n').filter((line) => !/^a=(candidate|end-of-candidates)/.test(line));
  const at = lines.indexOf('a=mid:1');
  if (layers) lines.splice(at + 1, 0, ...attributes(layers.length));
  return lines.join('\r\n');
}
