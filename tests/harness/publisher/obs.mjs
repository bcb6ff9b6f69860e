/**
 * A stand-in for OBS on OBS's own library (libdatachannel): its offer holds no candidates, it never PATCHes, it
 * answers NACK from the same SSRC (no RTX), does nothing on PLI, and has a keyframe every 250 pictures.
 * A process of its own, so that a story can kill it. Usage: node obs.mjs OPTIONS-AS-JSON; writes one JSON line per event.
 */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import nd from 'node-datachannel';

const PYTHON = join(import.meta.dirname, '../../.venv/bin/python');
const RECORD = join(import.meta.dirname, 'record.py');
/** Between the end of the recording's making and its first picture: the WHIP exchange happens here. */
const LEAD_MS = 3_000;
const [VIDEO_PT, AUDIO_PT] = [96, 111];
/** As in OBS: packets kept for repair. */
const [VIDEO_NACKS, AUDIO_NACKS] = [4000, 512];
const PACKET_BYTES = 1200;

/** @type {{url: string, token: string, seconds?: number, width?: number, height?: number, port?: number, takeover?: boolean}} */
const { url, token, seconds = 40, width = 640, height = 360, port } = JSON.parse(process.argv[2]);
const say = (event, more = {}) => console.log(JSON.stringify({ event, ...more }));

const connection = new nd.PeerConnection('obs', { iceServers: [] });
const ssrc = Math.floor(Math.random() * 0xffff_fff0);
const audio = addAudio();
const video = addVideo();
connection.onStateChange((state) => say('state', { state }));
connection.onGatheringStateChange((state) => state === 'complete' && publish(withoutCandidates(connection.localDescription().sdp)));
connection.setLocalDescription('offer');

async function publish(offer) {
  const lecture = record(Math.ceil(Date.now() / 1000) * 1000 + makingMs());
  // A session without media is ended.
  await sleep(Math.max(0, lecture.first - LEAD_MS - Date.now()));
  const headers = { 'Content-Type': 'application/sdp', Authorization: `Bearer ${token}` };
  const response = await fetch(url, { method: 'POST', headers, body: offer });
  const answer = await response.text();
  const serverPort = Number(/a=candidate:(?:\S+ ){5}(\d+)/.exec(answer)?.[1]);
  say('answer', response.status === 201 ? { status: 201, serverPort } : { status: response.status, body: answer });
  if (response.status !== 201) return leave(2);
  connection.setRemoteDescription(port ? answer.replace(/(a=candidate:(?:\S+ ){5})\d+/g, `$1${port}`) : answer, 'answer');
  const location = new URL(response.headers.get('location'), url);
  process.on('SIGTERM', () => stop(location));
  play(lecture, () => stop(location));
}

/** OBS closes DTLS first and then sends DELETE. */
async function stop(location) {
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

/** Each frame leaves when its moment has come. */
function play({ first, frames }, done) {
  let next = 0;
  const tick = () => {
    if (next === 0 && (connection.state() !== 'connected' || !video.track.isOpen())) return;
    const now = Date.now() - first;
    if (next === 0 && now > 500) say('late', { ms: now });
    for (; next < frames.length && frames[next].ms <= now; next++) send(frames[next]);
    if (next > 0) sayOnce('sending', { first });
    if (next < frames.length) return;
    clearInterval(timer);
    done();
  };
  const timer = setInterval(tick, 4);
}

function send({ kind, ms, payload }) {
  const { track, config, clock } = kind === 'v' ? video : audio;
  config.timestamp = Math.round((ms * clock) / 1000) >>> 0;
  track.sendMessageBinary(payload);
}

const said = new Set();
function sayOnce(event, more) {
  if (!said.has(event)) say(event, more);
  said.add(event);
}

/** Encoding takes a few seconds of a busy machine, for each minute of lecture. */
const makingMs = () => LEAD_MS + seconds * 150;

function record(first) {
  const folder = mkdtempSync(join(tmpdir(), 'lectern-obs-'));
  const file = join(folder, 'lecture');
  execFileSync(PYTHON, [RECORD, file, first, seconds, width, height].map(String));
  const frames = parse(readFileSync(file));
  rmSync(folder, { recursive: true });
  return { first, frames };
}

function parse(bytes) {
  const frames = [];
  for (let at = 0; at < bytes.length; ) {
    const length = bytes.readUInt32BE(at + 9);
    const payload = bytes.subarray(at + 13, at + 13 + length);
    frames.push({ kind: String.fromCharCode(bytes[at]), ms: Number(bytes.readBigInt64BE(at + 1)) / 1000, payload });
    at += 13 + length;
  }
  return frames;
}

function addVideo() {
  const media = new nd.Video('1', 'SendOnly');
  media.addH264Codec(VIDEO_PT);
  media.addSSRC(ssrc + 1, 'cname', 'stream', 'stream-video');
  const config = new nd.RtpPacketizationConfig(ssrc + 1, 'cname', VIDEO_PT, 90_000);
  return withReports(connection.addTrack(media), new nd.H264RtpPacketizer('StartSequence', config, PACKET_BYTES), config, 90_000, VIDEO_NACKS);
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

function withoutCandidates(sdp) {
  const lines = sdp.split('\r\n');
  return lines.filter((line) => !/^a=(candidate|end-of-candidates)/.test(line)).join('\r\n');
}
