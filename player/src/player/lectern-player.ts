/**
 * `<lectern-player>`: the picture of a broadcast through its whole life: waiting, live with rewinding, replay.
 *
 * It is the playhead of the room beside it, and tests read it: `playingDate`, `mediaTicks`, `latencyMs`, `stalls`,
 * `levels`, `seekTo(ticks)`, `goLive()`, `setLevel(name)`.
 */
import Hls from 'hls.js';
import { LitElement, html, nothing, type PropertyValues } from 'lit';
import 'media-chrome';
import 'media-chrome/menu';
import type { Broadcast } from '../api';
import { ServerClock } from '../core/clock';
import { clockTime, latency, positionTime } from '../core/format';
import { ticksAt, TICKS_PER_SECOND, wallAt, type Ticks } from '../core/time';
import { MOVED, SHOWN, type Playhead } from '../playhead';
import { icons } from '../style/icons';
import { baseStyles, sheet } from '../style/shared';
import type { Engine, Level, Stages } from './engine';
import { HlsEngine } from './hls-engine';
import css from './lectern-player.css?inline';
import { NativeEngine } from './native-engine';
import { Renditions } from './renditions';
import { Storyboard } from './storyboard';

const TICK_MS = 250;
/** A jump back by more than this is somebody who rewinds; less is hls.js that nudges the playhead over a gap. */
const REWOUND_S = 2;
/** Nearer to the target latency than this is "live". */
const AT_EDGE_S = 2;
const RATES = '0.75 1 1.25 1.5 1.75 2';

export class LecternPlayer extends LitElement implements Playhead {
  static override styles = [baseStyles, sheet(css)];
  static override properties = { broadcast: { attribute: false } };
  declare broadcast: Broadcast | null;
  /** The server's clock, from whoever talks with the server. */
  clock = new ServerClock();
  /** How often the picture stood still for want of data. */
  stalls = 0;
  /** From opening the page to the first picture; null before. */
  firstPictureMs: number | null = null;

  #engine: Engine | null = null;
  #renditions = new Renditions((index) => this.#choose(index));
  #ticking: ReturnType<typeof setInterval> | undefined;
  /** The viewer wants to be at the live edge. */
  #following = true;
  #lastTimeS = 0;
  #trouble: string | null = null;
  #silenced = false;
  /** It has been playing since the last jump: standing still now is a stall. */
  #moving = false;
  /** It was played to its end, whether or not the video knows. */
  #over = false;
  #storyboard: Storyboard | null = null;
  /** The moment under the pointer on the seek bar, in the video's time. */
  #previewS: number | null = null;

  constructor() {
    super();
    this.broadcast = null;
  }

  // --- the playhead, and what tests see

  get playingDate(): Date | null {
    return this.#placed ? (this.#engine?.playingDate ?? null) : null;
  }

  /** Before hls.js has gone to the live edge, the video stands at 0 and shows nothing. */
  get #placed(): boolean {
    const { video } = this;
    return video !== null && (!this.#engine?.live || video.currentTime > 0 || video.played.length > 0);
  }

  get mediaTicks(): Ticks | null {
    const [date, origin] = [this.playingDate, this.broadcast?.origin];
    return date && origin != null ? ticksAt(origin, date.getTime()) : null;
  }

  /** From capture to now; null unless it is live. */
  get latencyMs(): number | null {
    const date = this.#engine?.live ? this.playingDate : null;
    return date ? this.clock.at(Date.now()) - date.getTime() : null;
  }

  /** Where the time between capture and screen goes, as far as a player sees it. */
  get latencyStages(): Stages | null {
    const stages = this.#engine?.live ? this.#engine.stages : null;
    return stages && { ...stages, edgeAgeMs: stages.edgeAgeMs === null ? null : stages.edgeAgeMs + this.clock.offsetMs };
  }

  get rate(): number {
    const { video } = this;
    return !video || video.paused || video.seeking || video.readyState < HTMLMediaElement.HAVE_FUTURE_DATA ? 0 : video.playbackRate;
  }

  get levels(): readonly Level[] {
    return this.#engine?.levels ?? [];
  }

  get following(): boolean {
    return this.#following;
  }

  get video(): HTMLVideoElement | null {
    return this.renderRoot.querySelector('video');
  }

  seekTo(at: Ticks): void {
    const origin = this.broadcast?.origin;
    const time = origin == null ? null : this.#engine?.timeOf(wallAt(origin, at));
    if (time != null && this.video) this.video.currentTime = time;
  }

  goLive(): void {
    const { video } = this;
    const position = this.#engine?.livePosition;
    if (!video || position == null) return;
    this.#follow(true);
    video.currentTime = position;
    void video.play().catch(() => undefined);
  }

  /** A rung by its name; anything else is automatic. */
  setLevel(name: string): void {
    this.#renditions.selectedIndex = this.levels.findIndex((level) => level.name === name);
  }

  // --- life

  override connectedCallback(): void {
    super.connectedCallback();
    this.#ticking = setInterval(() => this.#tick(), TICK_MS);
  }

  override disconnectedCallback(): void {
    super.disconnectedCallback();
    clearInterval(this.#ticking);
    this.#engine?.destroy();
    this.#engine = null;
  }

  protected override firstUpdated(): void {
    const { video } = this;
    if (!video) return;
    // media-chrome reads these from the media element.
    Object.defineProperty(video, 'videoRenditions', { value: this.#renditions });
    Object.defineProperty(video, 'targetLiveWindow', { get: () => (this.#engine?.live ? Infinity : NaN) });
    for (const type of ['timeupdate', 'play', 'playing', 'pause', 'waiting', 'ratechange', 'seeked', 'ended', 'durationchange']) {
      video.addEventListener(type, this.#moved);
    }
    this.#watchPictures(video);
    video.addEventListener('seeking', () => this.#jumped(video));
    video.addEventListener('playing', () => (this.#moving = true));
    video.addEventListener('pause', () => this.#paused(video));
    video.addEventListener('ended', () => this.#finish(video));
    video.addEventListener('ratechange', () => this.#hurried(video));
    video.addEventListener('waiting', () => this.#stalled(video));
    video.addEventListener('volumechange', () => (this.#silenced &&= video.muted));
  }

  protected override updated(changed: PropertyValues): void {
    if (changed.has('broadcast')) this.#start();
  }

  #start(): void {
    const { video, broadcast } = this;
    if (this.#engine || !video || !broadcast || broadcast.state === 'waiting') return;
    // Chromium says "maybe" to HLS, and then plays it a minute late: the browser's own only where there is no other way.
    const engine = Hls.isSupported() ? new HlsEngine(video, broadcast.hls) : new NativeEngine(video, broadcast.hls);
    this.#engine = engine;
    this.#storyboard = new Storyboard(video, broadcast.hls);
    engine.addEventListener('levels', () => this.#renditions.replace(engine.levels));
    engine.addEventListener('trouble', (event) => this.#troubled((event as CustomEvent<string | null>).detail));
    engine.addEventListener('over', () => this.#finish(video));
    engine.addEventListener('ready', () => void this.#begin(video), { once: true });
  }

  /** What is live starts by itself, if need be without sound; a replay waits for its viewer. */
  async #begin(video: HTMLVideoElement): Promise<void> {
    if (this.broadcast?.state === 'ended') return;
    try {
      await video.play();
    } catch (error) {
      if (!(error instanceof DOMException) || error.name !== 'NotAllowedError') return;
      video.muted = true;
      this.#silenced = true;
      await video.play().catch(() => undefined);
    }
    this.requestUpdate();
  }

  #tick(): void {
    const [engine, { video }] = [this.#engine, this];
    const edge = engine?.edge;
    if (!engine || !video || !edge || video.paused) return;
    if (!this.#following && edge.latencyS < edge.targetS + AT_EDGE_S && video.playbackRate >= 1) this.#follow(true);
    this.requestUpdate();
  }

  #follow(following: boolean): void {
    if (this.#following === following) return;
    this.#following = following;
    if (this.#engine) this.#engine.following = following;
    // A viewer's own speed is for what was rewound.
    if (this.video) this.video.playbackRate = 1;
    this.requestUpdate();
  }

  readonly #moved = (): void => {
    if (this.video && !this.video.seeking) this.#lastTimeS = this.video.currentTime;
    this.dispatchEvent(new Event(MOVED));
    this.requestUpdate();
  };

  #finish(video: HTMLVideoElement): void {
    this.#over = true;
    if (!video.paused) video.pause();
    this.requestUpdate();
  }

  #watchPictures(video: HTMLVideoElement): void {
    // Firefox before 132 has none; the timers of who listens do without.
    if (!('requestVideoFrameCallback' in video)) return;
    const shown = () => {
      this.firstPictureMs ??= performance.now();
      this.dispatchEvent(new Event(SHOWN));
      video.requestVideoFrameCallback(shown);
    };
    video.requestVideoFrameCallback(shown);
  }

  #jumped(video: HTMLVideoElement): void {
    this.#moving = this.#over = false;
    const [backS, edge] = [this.#lastTimeS - video.currentTime, this.#engine?.live ? this.#engine.edge : null];
    // Whoever drags the seek bar goes back in small steps.
    const behindS = edge && backS > 0 ? edge.latencyS - edge.targetS : 0;
    if (edge && Math.max(backS, behindS) > REWOUND_S) this.#follow(false);
    this.#moved();
  }

  #paused(video: HTMLVideoElement): void {
    if (!video.ended) this.#follow(false);
  }

  /** Somebody who chooses a speed does not want to be kept at the edge. */
  #hurried(video: HTMLVideoElement): void {
    const engine = this.#engine;
    if (!this.#following || !engine?.live || engine.rate === null || video.playbackRate === engine.rate) return;
    this.#following = engine.following = false;
  }

  #stalled(video: HTMLVideoElement): void {
    if (this.#moving && !video.seeking && !video.ended) this.stalls += 1;
    this.#moving = false;
  }

  #troubled(words: string | null): void {
    if (this.#trouble === words) return;
    this.#trouble = words;
    this.requestUpdate();
  }

  readonly #preview = async (event: CustomEvent<number | null>): Promise<void> => {
    const [range, timeS] = [event.currentTarget, event.detail];
    this.#previewS = timeS;
    this.requestUpdate();
    const fresh = timeS !== null && (await this.#storyboard?.lookAt(timeS));
    // media-chrome looked for the picture before it was there.
    if (fresh && this.#previewS === timeS) range?.dispatchEvent(new CustomEvent(event.type, { detail: timeS, bubbles: true, composed: true }));
  };

  /** As a place in the lecture, which may have begun before the first segment that is there. */
  get #previewTime(): string {
    const origin = this.broadcast?.origin;
    const zeroS = origin == null ? null : this.#engine?.timeOf(origin);
    return this.#previewS === null ? '' : clockTime(this.#previewS - (zeroS ?? 0));
  }

  #choose(index: number): void {
    if (this.#engine instanceof HlsEngine) this.#engine.level = index;
  }

  // --- what is shown

  override render() {
    const state = this.broadcast?.state;
    const begun = state === 'live' || state === 'ended';
    return html`
      <media-controller noautoseektolive class=${begun ? 'begun' : ''}>
        <video slot="media" playsinline preload="auto"></video>
        ${begun ? this.#chrome() : nothing}
      </media-controller>
      ${begun ? html`<div class="pills">${this.#pills()}</div>` : nothing}
      ${this.#overlay()}
    `;
  }

  #chrome() {
    return html`
      <media-loading-indicator slot="centered-chrome" noautohide></media-loading-indicator>
      <media-settings-menu id="settings" hidden anchor="settings-button">
        <media-settings-menu-item>
          Quality
          <media-rendition-menu slot="submenu" hidden><div slot="title">Quality</div></media-rendition-menu>
        </media-settings-menu-item>
        <!-- Last: the menu gives the focus to its first item, seen or not. -->
        <media-settings-menu-item ?hidden=${this.#following && this.#engine?.live !== false}>
          Speed
          <media-playback-rate-menu slot="submenu" hidden rates=${RATES}><div slot="title">Speed</div></media-playback-rate-menu>
        </media-settings-menu-item>
      </media-settings-menu>
      <media-time-range @mediapreviewrequest=${this.#preview}>
        <media-preview-thumbnail slot="preview"></media-preview-thumbnail>
        <span slot="preview" class="preview-time">${this.#previewTime}</span>
      </media-time-range>
      <media-control-bar>
        <media-play-button></media-play-button>
        <media-mute-button></media-mute-button>
        <media-volume-range></media-volume-range>
        ${this.#times()}
        <span class="gap"></span>
        <media-settings-menu-button id="settings-button"><span slot="icon" class="gear">${icons.gear}</span></media-settings-menu-button>
        <media-pip-button></media-pip-button>
        <media-fullscreen-button></media-fullscreen-button>
      </media-control-bar>
    `;
  }

  #times() {
    const [at, behind] = [this.mediaTicks, this.latencyMs];
    const position = at === null ? '–:––' : positionTime(at);
    if (!this.#engine?.live) {
      const duration = this.video && Number.isFinite(this.video.duration) ? this.video.duration : (this.broadcast?.duration ?? 0) / TICKS_PER_SECOND;
      return html`<span class="time">${position} <span class="dim">/ ${clockTime(duration)}</span></span><span class="edge replay">Replay</span>`;
    }
    const late = this.#following || behind === null ? nothing : html`<span class="dim behind" title="Behind live">−${clockTime(behind / 1000)}</span>`;
    return html`<span class="time">${position} ${late}</span>
      ${this.#following
        ? html`<span class="edge live">Live</span>`
        : html`<button class="edge" @click=${() => this.goLive()}>Back to live</button>`}
      ${this.#following && behind !== null ? html`<span class="latency" title="Time from the lecturer's camera to this screen">${latency(behind)}<span class="words"> behind the lecturer</span></span>` : nothing}`;
  }

  #pills() {
    const away = this.broadcast?.state === 'live' && !this.broadcast.on_air;
    return html`
      ${this.#silenced ? html`<button class="pill act" @click=${() => this.#unmute()}>${icons.mute} Tap for sound</button>` : nothing}
      ${this.#trouble ? html`<span class="pill" role="status">${this.#trouble}</span>` : nothing}
      ${away && !this.#trouble ? html`<span class="pill" role="status">The lecturer is away for a moment</span>` : nothing}
    `;
  }

  #unmute(): void {
    if (this.video) this.video.muted = false;
    this.#silenced = false;
    this.requestUpdate();
  }

  #overlay() {
    const { broadcast, video } = this;
    if (!broadcast) return html`<div class="overlay"><p class="quiet">Loading…</p></div>`;
    if (broadcast.state === 'waiting') {
      return html`<div class="overlay" role="status">
        <span class="pulse" aria-hidden="true"></span>
        <h2>The lecture has not started yet</h2>
        <p class="quiet">Stay on this page: it begins here by itself.</p>
      </div>`;
    }
    if (broadcast.state !== 'ended' || !video) return nothing;
    if (this.#over) {
      return html`<div class="overlay over">
        <h2>The lecture has ended</h2>
        <button class="button primary" @click=${() => this.#replay()}>${icons.play} Watch from the beginning</button>
      </div>`;
    }
    const unplayed = video.paused && video.played.length === 0 && video.currentTime === 0;
    return unplayed ? html`<button class="big" aria-label="Play the recording" @click=${() => void video.play()}>${icons.play}</button>` : nothing;
  }

  #replay(): void {
    this.seekTo(0);
    void this.video?.play().catch(() => undefined);
  }
}

customElements.define('lectern-player', LecternPlayer);

declare global {
  interface HTMLElementTagNameMap {
    'lectern-player': LecternPlayer;
  }
}
