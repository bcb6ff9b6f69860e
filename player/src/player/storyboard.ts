/**
 * The pictures beside the seek bar: the broadcast's storyboard (a WebVTT file of one cue per segment), fetched when
 * somebody first looks for a place, and again when they look beyond what is known of a lecture that goes on.
 *
 * media-chrome finds the picture of a moment in the video's text track of this label. The cues are put there by us and
 * not by a `<track>`: that would be fetched at once, never again, and forget all it has when its address changes.
 */
import { ask } from '../api';

export interface StoryCue {
  startS: number;
  endS: number;
  /** Where the picture is, and which part of it: `…/thumbs/17.jpg#xywh=0,0,256,144`. */
  image: string;
}

/** The server adds a cue a segment. */
const RELOAD_MS = 3_000;
const LABEL = 'thumbnails';
const CUE = /^(\d+):(\d\d):(\d\d\.\d{3}) --> (\d+):(\d\d):(\d\d\.\d{3})\n(\S+#xywh=\d+,\d+,\d+,\d+)$/gm;

export class Storyboard {
  #track: TextTrack | null = null;
  #cues: StoryCue[] = [];
  #loading: Promise<void> | null = null;
  #askedMs = -Infinity;

  /** @param hls the broadcast's multivariant playlist: the storyboard stands beside it */
  constructor(
    private readonly video: HTMLVideoElement,
    hls: string,
    private readonly now: () => number = () => performance.now(),
  ) {
    this.url = new URL('thumbs/storyboard.vtt', new URL(hls, document.baseURI)).href;
  }

  readonly url: string;

  /** Somebody looks at this moment, in the video's time. Whether there are pictures now that were not there before. */
  async lookAt(timeS: number): Promise<boolean> {
    const before = this.#cues.length;
    if (this.#isBeyond(timeS) && this.now() - this.#askedMs >= RELOAD_MS) this.#load();
    await this.#loading;
    return this.#fill() || this.#cues.length > before;
  }

  #isBeyond(timeS: number): boolean {
    return timeS >= (this.#cues.at(-1)?.endS ?? -Infinity);
  }

  #load(): void {
    this.#askedMs = this.now();
    this.#loading ??= this.#read().finally(() => (this.#loading = null));
  }

  async #read(): Promise<void> {
    try {
      const text = await (await ask(this.url)).text();
      this.#cues = parseStoryboard(text, this.url);
    } catch {
      // Without pictures the seek bar shows the time alone; the next look tries again.
    }
  }

  /** Adds to the track what it lacks: all of it, where hls.js has emptied the video's tracks. */
  #fill(): boolean {
    this.#track ??= this.video.addTextTrack('metadata', LABEL);
    this.#track.mode = 'hidden';
    const known = this.#track.cues?.length ?? 0;
    const fresh = this.#cues.slice(known);
    for (const { startS, endS, image } of fresh) this.#track.addCue(new VTTCue(startS, endS, image));
    return fresh.length > 0;
  }
}

/** A storyboard as this server writes it; what is not understood is left out. */
export function parseStoryboard(text: string, url: string): StoryCue[] {
  return Array.from(text.matchAll(CUE), ([, h = '', m = '', s = '', toH = '', toM = '', toS = '', image = '']) => ({
    startS: secondsOf(h, m, s),
    endS: secondsOf(toH, toM, toS),
    image: new URL(image, url).href,
  }));
}

const secondsOf = (hours: string, minutes: string, seconds: string): number => Number(hours) * 3600 + Number(minutes) * 60 + Number(seconds);
