/** What is on the lecturer's screen, as the browser gives it: a window, a tab or all of it, with its sound where that is offered. */

/** Slides change seldom, films and demonstrations often. More pixels than these are not encoded. */
const PICTURE: MediaTrackConstraints = { frameRate: { ideal: 30, max: 30 }, width: { max: 1920 }, height: { max: 1080 } };
/** It is music and films as well as speech: nothing is cleaned. */
const SOUND: MediaTrackConstraints = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };

/** Tells `change`. */
export class ScreenShare extends EventTarget {
  problem = '';
  #stream: MediaStream | null = null;
  #asked = 0;

  /** Phones have none. */
  static get offered(): boolean {
    return 'mediaDevices' in navigator && 'getDisplayMedia' in navigator.mediaDevices;
  }

  get stream(): MediaStream {
    return this.#stream ?? new MediaStream();
  }

  get shared(): boolean {
    return this.#stream !== null;
  }

  /** Asks which; what was shared before goes on until there is an answer. */
  async share(): Promise<void> {
    this.#asked += 1;
    const request = this.#asked;
    this.problem = '';
    try {
      const stream = await navigator.mediaDevices.getDisplayMedia({ video: PICTURE, audio: SOUND });
      if (request === this.#asked) this.use(stream);
      else for (const track of stream.getTracks()) track.stop();
    } catch (error) {
      if (request === this.#asked) this.problem = wordsFor(error);
      this.#changed();
    }
  }

  /** A stream from elsewhere does as well. */
  use(stream: MediaStream): void {
    this.#drop();
    this.#stream = stream;
    for (const track of stream.getVideoTracks()) {
      // Text and formulas: sharp edges before smooth movement.
      track.contentHint = 'detail';
      // The browser's own "stop sharing", or a window that was closed.
      track.addEventListener('ended', () => {
        if (this.#stream === stream) this.stop();
      });
    }
    this.#changed();
  }

  /** Also what somebody is being asked for just now. */
  stop(): void {
    this.#asked += 1;
    this.#drop();
    this.#changed();
  }

  #drop(): void {
    for (const track of this.#stream?.getTracks() ?? []) track.stop();
    this.#stream = null;
  }

  #changed(): void {
    this.dispatchEvent(new Event('change'));
  }
}

function wordsFor(error: unknown): string {
  const name = error instanceof DOMException ? error.name : '';
  // To close the browser's question is an answer, and so is a system that forbids it: the two look the same.
  if (name === 'NotAllowedError') return 'No screen is shared: none was chosen, or this computer does not allow the browser to record it.';
  return error instanceof Error ? error.message : 'The screen cannot be shared.';
}
