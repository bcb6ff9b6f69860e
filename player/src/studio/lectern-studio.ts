/** `<lectern-studio>`: what the lecturer's page does: choose, see, go on air, arrange, and end. A co-host's is a part of it. */
import { LitElement, html, nothing, type PropertyValues, type TemplateResult } from 'lit';
import type { Broadcast } from '../api';
import { bitrate, latency } from '../core/format';
import { MAIN, screenOf, type Layout } from '../core/stage';
import type { Upstream } from '../core/upstream';
import { icons } from '../style/icons';
import { baseStyles, sheet } from '../style/shared';
import { Air, type AirState, type Sending } from './air';
import { Capture } from './capture';
import './copy-field';
import './end-lecture';
import './invite';
import './layout-bar';
import css from './lectern-studio.css?inline';
import './level-meter';
import './monitor';
import './on-air-list';
import type { OnAir } from './publisher';
import { ScreenShare } from './screen';
import { StageFollower } from './stage-follower';

/** Tells `ended` when the lecture was ended here. */
export class LecternStudio extends LitElement {
  static override styles = [baseStyles, sheet(css)];
  static override properties = { broadcast: { attribute: false }, token: { attribute: false }, source: { attribute: false } };
  declare broadcast: Broadcast | null;
  declare token: string | undefined;
  /** What a co-host publishes as; undefined: this is the host's. */
  declare source: string | undefined;
  readonly capture = new Capture();
  readonly screen = new ScreenShare();
  air: Air | null = null;
  #follower: StageFollower | null = null;
  /** Which meter listens to what. */
  #heard: { sound: MediaStreamTrack | null; meter: Element | null } = { sound: null, meter: null };
  #silent = false;

  constructor() {
    super();
    this.broadcast = null;
    for (const source of [this.capture, this.screen]) source.addEventListener('change', () => this.requestUpdate());
  }

  override disconnectedCallback(): void {
    super.disconnectedCallback();
    this.#switchOff();
  }

  protected override willUpdate(changed: PropertyValues): void {
    if (changed.has('broadcast') && this.broadcast?.state === 'ended') this.#switchOff();
    if (this.air || !this.broadcast || !this.token || this.broadcast.state === 'ended') return;
    const { id } = this.broadcast;
    this.air = new Air(`/whip/${id}`, this.token, this.source ?? MAIN, this.capture, this.screen);
    this.#follower = new StageFollower(id, this.token);
    for (const told of [this.air, this.#follower]) told.addEventListener('change', () => this.requestUpdate());
    // Whose invitation was withdrawn is off air already; their page need not find that out from the network.
    this.#follower.addEventListener('change', () => this.#follower?.problem?.status === 403 && void this.air?.stop());
    void this.#follower.follow();
  }

  protected override updated(): void {
    this.#show('.camera video', this.capture.stream);
    this.#show('.screen video', this.screen.stream);
    const sound = this.capture.stream.getAudioTracks()[0] ?? null;
    const meter = this.renderRoot.querySelector('lectern-level-meter');
    if (!meter || (sound === this.#heard.sound && meter === this.#heard.meter)) return;
    this.#heard = { sound, meter };
    meter.listen(sound);
  }

  override render() {
    if (!this.broadcast) return html`<p class="notice">Loading…</p>`;
    if (this.broadcast.state === 'ended') return this.#over(this.broadcast);
    const host = this.source === undefined;
    return html`
      ${this.#previews()}
      ${this.token ? nothing : html`<p class="notice bad" role="alert">This link has no token. Open the studio with the whole link that you were given: it ends with <code>#token=…</code></p>`}
      ${this.#problems()}
      ${incidents(this.broadcast)}
      ${this.#elsewhere(this.broadcast)}
      ${this.#controls()}
      ${this.#stage(this.broadcast, host)}
      ${this.#devices()}
      <section class="card"><lectern-monitor .broadcast=${this.broadcast} ?opened=${!host}></lectern-monitor></section>
      ${host ? this.#links(this.broadcast) : this.#ownLinks(this.broadcast)}
    `;
  }

  /** Nobody is filmed any longer than they think. */
  #switchOff(): void {
    this.#follower?.stop();
    void this.air?.stop();
    this.capture.release();
    this.screen.stop();
  }

  // --- picture and sound

  #show(selector: string, stream: MediaStream): void {
    const video = this.renderRoot.querySelector<HTMLVideoElement>(selector);
    if (!video || sameTracks(video.srcObject, stream)) return;
    video.srcObject = stream;
    void video.play().catch(() => undefined);
  }

  #previews() {
    const [filming, sharing] = [this.capture.filming, this.screen.shared];
    return html`<div class="previews ${filming && sharing ? 'two' : ''}">
      <div class="preview camera" ?hidden=${sharing && !filming}>
        <video muted playsinline autoplay aria-label="Preview of your camera"></video>
        ${filming ? this.#tally('Camera', this.air?.camera) : this.#blank()}
      </div>
      <div class="preview screen" ?hidden=${!sharing}>
        <video muted playsinline autoplay aria-label="Preview of your screen"></video>
        ${this.#tally('Screen', this.air?.screen)}
      </div>
    </div>`;
  }

  #blank() {
    return html`<div class="blank"><h2>Choose what to show</h2>
      <div class="starts">
        <button class="button primary" @click=${() => this.#film()}>${icons.camera} Camera</button>
        ${ScreenShare.offered ? html`<button class="button" @click=${() => this.#share()}>${icons.screen} Share screen</button>` : nothing}
      </div></div>`;
  }

  #tally(what: string, sending: Sending | undefined) {
    const on = sending?.publisher.state === 'on';
    return html`<span class="badge tally ${on ? 'live' : ''}">${what}${on ? ' · on air' : nothing}</span>`;
  }

  #film(): void {
    void this.capture.useCamera().then(() => this.#hear(this.capture.filming));
  }

  #share(): void {
    void this.screen.share().then(() => this.#hear(this.screen.shared));
  }

  /** A picture seldom comes without a voice; whoever wants it so says "No sound". */
  async #hear(seen: boolean): Promise<void> {
    const { capture } = this;
    // Refused, or something else was chosen since.
    if (seen && !capture.hearing && capture.microphoneId !== 'none' && !capture.problem) await capture.useMicrophone();
  }

  #devices() {
    const { capture } = this;
    if (capture.handed) return html`<p class="notice">Picture and sound come from another source of this page.</p>`;
    const { cameras, microphones } = capture.devices;
    return html`<fieldset class="card">
      <legend>Devices</legend>
      <div class="pair">
        <label>Camera ${select(capture.cameraId, cameras, [], (id) => void capture.useCamera(id), cameras.length === 0)}</label>
        <label>Microphone ${select(capture.microphoneId, microphones, [['none', 'No sound']], (id) => void capture.useMicrophone(id), false)}</label>
      </div>
      <lectern-level-meter @silence=${(event: CustomEvent<boolean>) => this.#fellSilent(event.detail)}></lectern-level-meter>
      ${this.#silent && !capture.muted ? html`<p class="notice warn" role="status">Nothing is heard from the microphone. Is it switched on?</p>` : nothing}
    </fieldset>`;
  }

  #fellSilent(silent: boolean): void {
    this.#silent = silent;
    this.requestUpdate();
  }

  // --- on air

  #controls() {
    const { air, capture, screen } = this;
    const state = air?.state ?? 'off';
    const nothingToSend = !capture.filming && !capture.hearing && !screen.shared;
    return html`<section class="card air ${state}" aria-label="On air">
      <div class="toggles" role="group" aria-label="What you send">
        ${this.#microphone()}
        <button class="button" aria-pressed=${String(capture.filming)} ?disabled=${capture.handed} @click=${() => (capture.filming ? capture.stopCamera() : this.#film())}>${icons.camera} Camera</button>
        ${ScreenShare.offered ? html`<button class="button ${screen.shared ? 'active' : ''}" @click=${() => (screen.shared ? screen.stop() : this.#share())}>${icons.screen} ${screen.shared ? 'Stop sharing' : 'Share screen'}</button>` : nothing}
      </div>
      <div class="going">
        ${state === 'off'
          ? html`<button class="button live go" ?disabled=${!air || nothingToSend} @click=${() => void air?.start()}>Go on air</button>`
          : html`<button class="button go" @click=${() => void air?.stop()}>Stop</button>`}
        <div class="state">
          <p role="status"><b>${STATES[state]}</b></p>
          <p class="dim">${HINTS[state]}</p>
        </div>
      </div>
      ${state === 'off' ? nothing : html`<ul class="sent">${air?.all.map((sending) => this.#sent(sending))}</ul>`}
    </section>`;
  }

  #microphone() {
    const { capture } = this;
    if (!capture.hearing) return html`<button class="button" ?disabled=${capture.handed} @click=${() => void capture.useMicrophone(capture.microphoneId === 'none' ? '' : capture.microphoneId)}>${icons.microphone} Microphone</button>`;
    const { muted } = capture;
    return html`<button class="button ${muted ? 'muted' : 'active'}" @click=${() => capture.mute(!muted)}>
      ${muted ? icons['microphone-off'] : icons.microphone} ${muted ? 'Unmute' : 'Mute'}</button>`;
  }

  #sent({ kind, publisher }: Sending) {
    if (publisher.state === 'off') return nothing;
    const { upstream } = publisher;
    const limited = publisher.limitedFor > LIMITED_S ? upstream?.limitedBy : null;
    return html`<li>${icons[kind]} <b>${kind === 'camera' ? 'Camera' : 'Screen'}</b>
      <span class="figures">${publisher.state === 'on' ? (upstream ? figures(upstream) : 'starting…') : SENDING[publisher.state]}</span>
      ${limited ? html`<span class="dim">${LIMITS[limited]}</span>` : nothing}</li>`;
  }

  #problems() {
    const said = [this.capture.problem, this.screen.problem, this.#follower?.problem?.message ?? ''].filter(Boolean);
    // Who may not even look may not send: that is one thing to say.
    const more = this.air?.all.filter(({ publisher }) => !said.includes(publisher.problem?.message ?? ''));
    return html`${said.map((words) => html`<p class="notice bad" role="alert">${words}</p>`)} ${more?.map((sending) => this.#refused(sending))}`;
  }

  #refused({ kind, publisher }: Sending) {
    const { problem } = publisher;
    if (!problem) return nothing;
    return html`<div class="notice bad refused" role="alert"><span>${kind === 'screen' ? 'The screen: ' : nothing}${problem.message}</span>
      ${problem.status === 409 && publisher.state === 'off' ? html`<button class="button small" @click=${() => void this.air?.start(true)}>Take over</button>` : nothing}</div>`;
  }

  /** The rest of the page knows only what its own server does. */
  #elsewhere({ id }: Broadcast) {
    const server = this.air?.all.map(({ publisher }) => publisher.server).find((server) => server && server !== location.origin);
    if (!server) return nothing;
    return html`<p class="notice warn" role="status">This lecture is on air at another server, and so are you. Who else is, the layout and the end of the lecture are in
      <a href="${server}/studio/${id}#token=${this.token}" target="_blank" rel="noopener">the studio there</a>.</p>`;
  }

  // --- who is on air, and how they are seen

  #stage({ id }: Broadcast, host: boolean) {
    const { token } = this;
    const stage = this.#follower?.stage;
    if (!stage || !token) return nothing;
    const own = this.source ?? MAIN;
    const ask = (event: CustomEvent<Layout>) => void this.#follower?.arrange(event.detail);
    return html`
      ${host ? html`<section class="card" aria-labelledby="layout-title"><h2 id="layout-title">Layout</h2>
        <lectern-layout-bar .stage=${stage} .asking=${this.#follower?.asking ?? false} @arrange=${ask}></lectern-layout-bar></section>` : nothing}
      <section class="card" aria-labelledby="people-title"><h2 id="people-title">Who is on air</h2>
        <lectern-on-air-list .stage=${stage} .own=${[own, screenOf(own)]} .directs=${host} @arrange=${ask}></lectern-on-air-list>
        ${host ? html`<details><summary>Invite a co-host</summary><lectern-invite .broadcast=${id} .token=${token} .stage=${stage} ?busy=${this.#follower?.asking ?? false}
          @withdraw=${(event: CustomEvent<string>) => void this.#follower?.withdraw(event.detail)}></lectern-invite></details>` : nothing}
      </section>`;
  }

  // --- links, and the end

  #links({ id }: Broadcast) {
    return html`<section class="card links">
      <h2>For your students</h2>
      <lectern-copy-field label="Watch page" .value=${`${location.origin}/watch/${id}`}></lectern-copy-field>
      <p><a href="/watch/${id}" target="_blank" rel="noopener">Open the watch page</a></p>
      ${this.#obs(id)}
      <lectern-end-lecture .broadcast=${id} .token=${this.token} @ended=${() => this.#ended()}></lectern-end-lecture>
    </section>`;
  }

  #ownLinks({ id }: Broadcast) {
    return html`<section class="card links">${this.#obs(id)}</section>`;
  }

  #obs(id: string) {
    return html`<details>
      <summary>Publish with OBS instead</summary>
      <p class="dim">Settings → Stream → Service: WHIP</p>
      <lectern-copy-field label="Server" .value=${`${location.origin}/whip/${id}`}></lectern-copy-field>
      <lectern-copy-field label="Bearer token" secret .value=${this.token ?? ''}></lectern-copy-field>
    </details>`;
  }

  #ended(): void {
    this.#switchOff();
    this.dispatchEvent(new Event('ended'));
  }

  #over({ id }: Broadcast) {
    return html`<div class="over"><h2>The lecture has ended</h2>
      <p class="dim">The recording is ready at the same address.</p>
      <a class="button primary" href="/watch/${id}">${icons.play} Watch the recording</a></div>`;
  }
}

const STATES: Record<AirState, string> = { off: 'Off air', connecting: 'Going on air…', on: 'On air', reconnecting: 'Reconnecting…', empty: 'Nothing to send' };
const HINTS: Record<AirState, string> = {
  off: 'Nobody sees or hears you yet.',
  connecting: 'Waiting for the server.',
  on: 'Students see and hear what you send.',
  reconnecting: 'The connection was lost. Your students see the last picture; it goes on by itself.',
  empty: 'What you switch on now goes on air at once.',
};
const SENDING: Record<OnAir, string> = { off: '', connecting: 'connecting…', on: '', reconnecting: 'reconnecting…' };
const LIMITS = { bandwidth: 'Your upload is too slow for the full quality.', cpu: 'This computer is too busy for the full quality.' };

/** What the server met with, and mended by itself. */
function incidents({ incidents: told }: Broadcast) {
  if (!told?.last) return nothing;
  const { at, stood_ms: stood } = told.last;
  const when = new Date(at).toLocaleTimeString(undefined, { timeStyle: 'short' });
  const times = told.count === 1 ? 'Once' : `${told.count} times`;
  return html`<p class="notice warn" role="status">${times} the server had to start its encoder anew, last at ${when}. ${stood === null
    ? 'The lecture goes on in a moment.'
    : `For ${latency(stood)} nothing new came; the lecture went on without a gap.`}</p>`;
}

/** A browser begins low and takes its time to find out what the path carries. */
const LIMITED_S = 20;

/** What goes out, in one line. */
function figures({ kbps, fps, width, height, roundTripMs, lossPercent }: Upstream): string {
  const parts = [
    bitrate(kbps),
    width && height ? `${width} × ${height}` : null,
    fps === null ? null : `${Math.round(fps)} fps`,
    roundTripMs === null ? null : `${Math.round(roundTripMs)} ms`,
    lossPercent >= 1 ? `${lossPercent.toFixed(0)} % lost` : null,
  ];
  return parts.filter((part) => part !== null).join(' · ');
}

function select(chosen: string, devices: readonly MediaDeviceInfo[], more: readonly [string, string][], choose: (id: string) => void, disabled: boolean): TemplateResult {
  return html`<select class="field" ?disabled=${disabled} @change=${(event: Event) => choose((event.target as HTMLSelectElement).value)}>
    <option value="" ?selected=${chosen === ''}>Default</option>
    ${devices.filter(({ deviceId }) => deviceId !== 'default').map(({ deviceId, label }) => html`<option value=${deviceId} ?selected=${deviceId === chosen}>${label}</option>`)}
    ${more.map(([value, words]) => html`<option value=${value} ?selected=${value === chosen}>${words}</option>`)}
  </select>`;
}

function sameTracks(a: MediaProvider | null, b: MediaStream): boolean {
  if (!(a instanceof MediaStream)) return b.getTracks().length === 0;
  const ids = (stream: MediaStream) => stream.getTracks().map(({ id }) => id).sort().join();
  return ids(a) === ids(b);
}

customElements.define('lectern-studio', LecternStudio);

declare global {
  interface HTMLElementTagNameMap {
    'lectern-studio': LecternStudio;
  }
}
