/** A WHIP client (RFC 9725): one session, from the offer to the DELETE. */
import { Problem, ask } from '../api';
import { iceServers } from '../core/ice-servers';
import { restartFragment, restartedAnswer, trickleFragment, type Candidate } from '../core/sdp';

/** Candidates of this machine are there at once; what takes longer is trickled. */
const GATHER_MS = 300;
/** The server takes up to 5 s to close a session; it is not worth more of anybody's time. */
const GOODBYE_MS = 6_000;

/** Screens with text need it; cameras seldom use it up. */
const MAX_VIDEO_KBPS = { screen: 4_000, camera: 2_800 };

export interface Sending {
  video: MediaStreamTrack | null;
  audio: MediaStreamTrack | null;
}

export class WhipSession {
  readonly connection = new RTCPeerConnection({ bundlePolicy: 'max-bundle' });
  #video: RTCRtpSender;
  #audio: RTCRtpSender;
  #resource: string | null = null;
  #etag: string | null = null;
  #waiting: Candidate[] = [];
  #restarting = false;
  /** The server named STUN or TURN servers, which a restart would use. */
  hasServers = false;

  /** Both media are offered even where one has no track yet: it can come later without a new offer. */
  constructor(
    private readonly endpoint: string,
    private readonly token: string,
    { video, audio }: Sending,
  ) {
    const stream = new MediaStream([video, audio].filter((track) => track !== null));
    const picture = this.connection.addTransceiver(video ?? 'video', { direction: 'sendonly', streams: [stream] });
    preferH264(picture);
    this.#video = picture.sender;
    this.#audio = this.connection.addTransceiver(audio ?? 'audio', { direction: 'sendonly', streams: [stream] }).sender;
    this.connection.addEventListener('icecandidate', ({ candidate }) => {
      if (candidate?.candidate) this.#found({ candidate: candidate.candidate, mid: candidate.sdpMid ?? '' });
    });
  }

  /** The server's name for it, once there is one. */
  get id(): string | null {
    return this.#resource ? (new URL(this.#resource).pathname.split('/').at(-1) ?? null) : null;
  }

  /** The server that has it: not always the one that was asked. */
  get server(): string | null {
    return this.#resource ? new URL(this.#resource).origin : null;
  }

  /** `takeover`: the id of the session whose place this one takes; `true` is whichever is there. */
  async open(takeover: string | null): Promise<void> {
    await this.connection.setLocalDescription();
    await gathered(this.connection, GATHER_MS);
    this.#waiting = []; // They are in the offer.
    const url = takeover === null ? this.endpoint : `${this.endpoint}${this.endpoint.includes('?') ? '&' : '?'}takeover=${takeover}`;
    const response = await ask(url, { method: 'POST', headers: this.#headers('application/sdp'), body: this.#offer });
    const location = response.headers.get('Location');
    if (!location) throw new Problem(502, 'The server gave no address for the session.', null);
    this.#resource = new URL(location, response.url).href;
    this.#etag = response.headers.get('ETag');
    // The offer went without them: they help where the direct way does not, by a restart.
    const servers = iceServers(response.headers.get('Link'));
    this.hasServers = servers.length > 0;
    if (this.hasServers) this.connection.setConfiguration({ bundlePolicy: 'max-bundle', iceServers: servers });
    await this.connection.setRemoteDescription({ type: 'answer', sdp: await response.text() });
    await this.#limit();
    void this.#trickle();
  }

  /** Finds a new way to the server, over another network or a TURN server (RFC 9725 §4.3.3). Rejects where it cannot be asked for. */
  async restart(): Promise<void> {
    const [resource, answer] = [this.#resource, this.connection.remoteDescription?.sdp];
    if (!resource || !this.#etag || answer === undefined || this.#restarting) throw new Error('ICE cannot be restarted now');
    this.#restarting = true;
    try {
      this.connection.restartIce();
      await this.connection.setLocalDescription();
      await gathered(this.connection, GATHER_MS);
      this.#waiting = [];
      const headers = { ...this.#headers('application/trickle-ice-sdpfrag'), 'If-Match': this.#etag };
      const response = await ask(resource, { method: 'PATCH', headers, body: restartFragment(this.#offer) });
      this.#etag = response.headers.get('ETag');
      await this.connection.setRemoteDescription({ type: 'answer', sdp: restartedAnswer(answer, await response.text()) });
    } finally {
      this.#restarting = false;
    }
    void this.#trickle();
  }

  /** Another device, without a new offer. */
  async replace(video: MediaStreamTrack | null, audio: MediaStreamTrack | null): Promise<void> {
    await Promise.all([this.#video.replaceTrack(video), this.#audio.replaceTrack(audio)]);
    await this.#limit();
  }

  /** Says goodbye; the server finds out by itself where this does not get through. */
  async close(): Promise<void> {
    this.connection.close();
    const resource = this.#resource;
    this.#resource = null;
    if (!resource) return;
    // `keepalive`: also while the page is being closed.
    await fetch(resource, { method: 'DELETE', headers: this.#headers(), keepalive: true, signal: AbortSignal.timeout(GOODBYE_MS) }).catch(() => undefined);
  }

  /** Gone, without a word: the session is lost already. */
  abandon(): void {
    this.connection.close();
  }

  get #offer(): string {
    return this.connection.localDescription?.sdp ?? '';
  }

  /** A lecture's picture is read: where the path is thin, fewer pictures rather than coarser ones. */
  async #limit(): Promise<void> {
    const parameters = this.#video.getParameters();
    const screen = this.#video.track?.contentHint === 'detail';
    for (const encoding of parameters.encodings) encoding.maxBitrate = MAX_VIDEO_KBPS[screen ? 'screen' : 'camera'] * 1000;
    parameters.degradationPreference = screen ? 'maintain-resolution' : 'balanced';
    // A browser that knows no preference refuses none of the rest.
    await this.#video.setParameters(parameters).catch((error: unknown) => console.warn('the bitrate could not be limited', error));
  }

  #found(candidate: Candidate): void {
    this.#waiting.push(candidate);
    if (this.#resource && !this.#restarting) void this.#trickle();
  }

  async #trickle(): Promise<void> {
    const resource = this.#resource;
    if (!resource || this.#waiting.length === 0) return;
    const body = trickleFragment(this.#offer, this.#waiting.splice(0));
    const headers = { ...this.#headers('application/trickle-ice-sdpfrag'), ...(this.#etag ? { 'If-Match': this.#etag } : {}) };
    await ask(resource, { method: 'PATCH', headers, body }).catch((error: unknown) => console.warn('a candidate was not taken', error));
  }

  #headers(type?: string): Record<string, string> {
    return { Authorization: `Bearer ${this.token}`, ...(type ? { 'Content-Type': type } : {}) };
  }
}

/** H.264 is what hardware encodes, and what the server need not guess at. */
function preferH264(transceiver: RTCRtpTransceiver): void {
  const codecs = RTCRtpSender.getCapabilities('video')?.codecs ?? [];
  const rank = ({ mimeType }: RTCRtpCodec) => (/h264/i.test(mimeType) ? 0 : /vp8/i.test(mimeType) ? 1 : 2);
  const usable = codecs.filter(({ mimeType }) => /\/(h264|vp8|rtx|red|ulpfec|flexfec-03)$/i.test(mimeType));
  if (usable.length > 0) transceiver.setCodecPreferences([...usable].sort((a, b) => rank(a) - rank(b)));
}

/** Resolves when all candidates are found, or after a while. */
async function gathered(connection: RTCPeerConnection, withinMs: number): Promise<void> {
  if (connection.iceGatheringState === 'complete') return;
  await new Promise<void>((resolve) => {
    const timer = setTimeout(resolve, withinMs);
    connection.addEventListener('icegatheringstatechange', () => {
      if (connection.iceGatheringState !== 'complete') return;
      clearTimeout(timer);
      resolve();
    });
  });
}
