/** Where a lecturer's picture and voice come from: a camera, a microphone, or a stream that somebody hands us. */

export interface Devices {
  cameras: MediaDeviceInfo[];
  microphones: MediaDeviceInfo[];
}

const CAMERA: MediaTrackConstraints = { width: { ideal: 1280 }, height: { ideal: 720 }, frameRate: { ideal: 30 } };
/** Speech across a room. */
const MICROPHONE: MediaTrackConstraints = { echoCancellation: true, noiseSuppression: true, autoGainControl: true };

/** Tells `change` when the stream, the devices or what is wrong with them changed. */
export class Capture extends EventTarget {
  devices: Devices = { cameras: [], microphones: [] };
  cameraId = '';
  /** Empty: the default one; `none`: no sound. */
  microphoneId = '';
  problem = '';
  #muted = false;
  #video: MediaStreamTrack | null = null;
  #audio: MediaStreamTrack | null = null;
  #handed: MediaStream | null = null;
  /** How many requests there were: an answer to any but the last one is too late. */
  #asked = { video: 0, audio: 0 };

  constructor() {
    super();
    // Absent where the page is not secure (http, not on localhost).
    if ('mediaDevices' in navigator) navigator.mediaDevices.addEventListener('devicechange', () => void this.#list());
    else this.problem = 'This browser gives cameras and microphones only to secure pages: open the studio over https or on localhost.';
  }

  get stream(): MediaStream {
    return this.#handed ?? new MediaStream([this.#video, this.#audio].filter((track) => track !== null));
  }

  get handed(): boolean {
    return this.#handed !== null;
  }

  get filming(): boolean {
    return this.stream.getVideoTracks().length > 0;
  }

  get hearing(): boolean {
    return this.stream.getAudioTracks().length > 0;
  }

  get muted(): boolean {
    return this.#muted;
  }

  /** Silence is sent instead of the voice: nothing has to be asked for again. */
  mute(muted: boolean): void {
    this.#muted = muted;
    this.#changed();
  }

  /** A stream from elsewhere (a canvas, another page, a test) in place of the devices; null gives them back. */
  hand(stream: MediaStream | null): void {
    this.#handed = stream;
    this.#changed();
  }

  async useCamera(id = this.cameraId): Promise<void> {
    this.cameraId = id;
    const wanted = { ...CAMERA, ...(id ? { deviceId: { exact: id } } : {}) };
    await this.#ask('video', () => navigator.mediaDevices.getUserMedia({ video: wanted }), (track) => this.#setVideo(track));
  }

  stopCamera(): void {
    this.#asked.video += 1;
    this.#setVideo(null);
  }

  async useMicrophone(id = this.microphoneId): Promise<void> {
    this.microphoneId = id;
    if (id === 'none') {
      this.#asked.audio += 1;
      this.#setAudio(null);
      return;
    }
    const wanted = { ...MICROPHONE, ...(id ? { deviceId: { exact: id } } : {}) };
    await this.#ask('audio', () => navigator.mediaDevices.getUserMedia({ audio: wanted }), (track) => this.#setAudio(track));
  }

  /** Switches everything off, also what somebody is being asked for just now. A handed stream is not ours to stop. */
  release(): void {
    this.stopCamera();
    this.#asked.audio += 1;
    this.#setAudio(null);
  }

  /** People take their time to answer the browser: what they have asked for since counts. */
  async #ask(kind: 'video' | 'audio', ask: () => Promise<MediaStream>, use: (track: MediaStreamTrack | null) => void): Promise<void> {
    this.#asked[kind] += 1;
    const request = this.#asked[kind];
    this.problem = '';
    try {
      const stream = await ask();
      if (request === this.#asked[kind]) use(stream.getTracks()[0] ?? null);
      else for (const track of stream.getTracks()) track.stop();
    } catch (error) {
      if (request === this.#asked[kind]) this.problem = wordsFor(error);
    }
    await this.#list();
  }

  #setVideo(track: MediaStreamTrack | null): void {
    this.#video?.stop();
    this.#video = track;
    // A camera that was pulled out.
    track?.addEventListener('ended', () => {
      if (this.#video === track) this.#setVideo(null);
    });
    this.#changed();
  }

  #setAudio(track: MediaStreamTrack | null): void {
    this.#audio?.stop();
    this.#audio = track;
    this.#changed();
  }

  async #list(): Promise<void> {
    if (!('mediaDevices' in navigator)) return;
    const all = await navigator.mediaDevices.enumerateDevices();
    // Without permission devices have no name yet.
    const named = all.filter(({ deviceId, label }) => deviceId !== '' && label !== '');
    this.devices = { cameras: named.filter(({ kind }) => kind === 'videoinput'), microphones: named.filter(({ kind }) => kind === 'audioinput') };
    this.#changed();
  }

  #changed(): void {
    for (const track of this.stream.getAudioTracks()) track.enabled = !this.#muted;
    this.dispatchEvent(new Event('change'));
  }
}

function wordsFor(error: unknown): string {
  const name = error instanceof DOMException ? error.name : '';
  if (name === 'NotAllowedError') return 'The browser was not allowed to use it. Allow it in the address bar, then try again.';
  if (name === 'NotFoundError' || name === 'OverconstrainedError') return 'There is no such device connected.';
  if (name === 'NotReadableError') return 'Another program is using the device.';
  return error instanceof Error ? error.message : 'The device cannot be used.';
}
