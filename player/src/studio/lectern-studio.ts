/** `<lectern-studio>`: what the lecturer's page does: choose, see, go on air, and end. */
import { LitElement, html, nothing, type PropertyValues, type TemplateResult } from 'lit';
import { endBroadcast, type Broadcast } from '../api';
import { bitrate } from '../core/format';
import type { Upstream } from '../core/upstream';
import { icons } from '../style/icons';
import { baseStyles, sheet } from '../style/shared';
import { Capture, type PictureSource } from './capture';
import './copy-field';
import './level-meter';
import css from './lectern-studio.css?inline';
import { Publisher } from './publisher';

/** Tells `ended` when the lecture was ended here. */
export class LecternStudio extends LitElement {
  static override styles = [baseStyles, sheet(css)];
  static override properties = { broadcast: { attribute: false }, token: { attribute: false } };
  declare broadcast: Broadcast | null;
  declare token: string | undefined;
  readonly capture = new Capture();
  publisher: Publisher | null = null;
  #silent = false;
  #problem = '';
  #ending = false;

  constructor() {
    super();
    this.broadcast = null;
    this.capture.addEventListener('change', () => this.#captured());
  }

  override disconnectedCallback(): void {
    super.disconnectedCallback();
    this.#switchOff();
  }

  protected override willUpdate(changed: PropertyValues): void {
    if (changed.has('broadcast') && this.broadcast?.state === 'ended') this.#switchOff();
    if (this.publisher || !this.broadcast || !this.token) return;
    this.publisher = new Publisher(`/whip/${this.broadcast.id}`, this.token);
    this.publisher.use(this.capture.stream);
    this.publisher.addEventListener('change', () => this.requestUpdate());
  }

  override render() {
    if (!this.broadcast) return html`<p class="notice">Loading…</p>`;
    if (this.broadcast.state === 'ended') return this.#over(this.broadcast);
    return html`
      ${this.#preview()}
      ${this.token ? nothing : html`<p class="notice bad" role="alert">This link has no token. Open the studio with the whole link that you were given: it ends with <code>#token=…</code></p>`}
      ${this.#problems()}
      ${this.#air()}
      ${this.#sources()}
      ${this.#links(this.broadcast)}
      ${this.#endDialog()}
    `;
  }

  /** Nobody is filmed any longer than they think. */
  #switchOff(): void {
    void this.publisher?.stop();
    this.capture.release();
  }

  // --- picture and sound

  #captured(): void {
    const { stream } = this.capture;
    this.publisher?.use(stream);
    this.requestUpdate();
    void this.updateComplete.then(() => {
      const preview = this.renderRoot.querySelector('video');
      if (preview && preview.srcObject !== stream && !sameTracks(preview.srcObject, stream)) this.#show(preview, stream);
    });
  }

  #show(preview: HTMLVideoElement, stream: MediaStream): void {
    preview.srcObject = stream;
    void preview.play().catch(() => undefined);
    this.renderRoot.querySelector('lectern-level-meter')?.listen(stream.getAudioTracks()[0] ?? null);
  }

  #preview() {
    const seen = this.capture.stream.getVideoTracks().length > 0;
    return html`<div class="preview">
      <video muted playsinline autoplay aria-label="Preview of your picture"></video>
      ${seen ? nothing : html`<div class="blank"><h2>Choose what to show</h2>
        <div class="starts">
          <button class="button primary" @click=${() => this.#choose('camera')}>${icons.camera} Camera</button>
          <button class="button" @click=${() => this.#choose('screen')}>${icons.screen} Screen</button>
        </div></div>`}
      ${this.publisher?.state === 'on' ? html`<span class="badge live tally">On air</span>` : nothing}
    </div>`;
  }

  #sources() {
    const { capture } = this;
    if (capture.handed) return html`<p class="notice">Picture and sound come from another source of this page.</p>`;
    const { cameras, microphones } = capture.devices;
    return html`<fieldset class="sources">
      <legend>Picture and sound</legend>
      <div class="switch" role="group" aria-label="Picture">
        ${this.#sourceButton('camera', 'Camera')} ${this.#sourceButton('screen', 'Screen')}
      </div>
      <div class="pair">
        <label>Camera ${select(capture.cameraId, cameras, [], (id) => void capture.useCamera(id), cameras.length === 0)}</label>
        <label>Microphone ${select(capture.microphoneId, microphones, [['none', 'No sound']], (id) => void capture.useMicrophone(id), false)}</label>
      </div>
      <lectern-level-meter @silence=${(event: CustomEvent<boolean>) => this.#heard(event.detail)}></lectern-level-meter>
      ${this.#silent ? html`<p class="notice warn" role="status">Nothing is heard from the microphone. Is it switched on?</p>` : nothing}
    </fieldset>`;
  }

  #sourceButton(source: Exclude<PictureSource, 'none'>, words: string): TemplateResult {
    const chosen = this.capture.picture === source;
    return html`<button class="button" aria-pressed=${String(chosen)} @click=${() => this.#choose(source)}>${icons[source]} ${words}</button>`;
  }

  #choose(source: PictureSource): void {
    void (source === 'camera' ? this.capture.useCamera() : this.capture.useScreen()).then(() => {
      // Refused, or something else was chosen since.
      if (this.capture.picture !== source) return undefined;
      const silent = this.capture.stream.getAudioTracks().length === 0;
      if (silent && this.capture.microphoneId !== 'none' && !this.capture.problem) return this.capture.useMicrophone();
      return undefined;
    });
  }

  #heard(silent: boolean): void {
    this.#silent = silent;
    this.requestUpdate();
  }

  // --- on air

  #air() {
    const { publisher } = this;
    const state = publisher?.state ?? 'off';
    const nothingToSend = this.capture.stream.getTracks().length === 0;
    return html`<div class="air ${state}">
      ${state === 'off'
        ? html`<button class="button live go" ?disabled=${!publisher || nothingToSend} @click=${() => void publisher?.start()}>Go on air</button>`
        : html`<button class="button go" @click=${() => void publisher?.stop()}>Stop</button>`}
      <div class="state">
        <p role="status"><b>${STATES[state]}</b></p>
        ${publisher?.upstream ? figures(publisher.upstream, publisher.limitedFor > LIMITED_S) : html`<p class="dim">${HINTS[state]}</p>`}
      </div>
    </div>`;
  }

  #problems() {
    const { publisher, capture } = this;
    const refused = publisher?.problem;
    return html`
      ${capture.problem ? html`<p class="notice bad" role="alert">${capture.problem}</p>` : nothing}
      ${this.#problem ? html`<p class="notice bad" role="alert">${this.#problem}</p>` : nothing}
      ${refused ? html`<div class="notice bad refused" role="alert"><span>${refused.message}</span>
        ${refused.status === 409 && publisher.state === 'off' ? html`<button class="button small" @click=${() => void publisher.start(true)}>Take over</button>` : nothing}</div>` : nothing}
    `;
  }

  // --- links, and the end

  #links({ id }: Broadcast) {
    return html`<section class="links">
      <h2>For your students</h2>
      <lectern-copy-field label="Watch page" .value=${`${location.origin}/watch/${id}`}></lectern-copy-field>
      <p><a href="/watch/${id}" target="_blank" rel="noopener">Open the watch page</a></p>
      <details>
        <summary>Publish with OBS instead</summary>
        <p class="dim">Settings → Stream → Service: WHIP</p>
        <lectern-copy-field label="Server" .value=${`${location.origin}/whip/${id}`}></lectern-copy-field>
        <lectern-copy-field label="Bearer token" secret .value=${this.token ?? ''}></lectern-copy-field>
      </details>
      <button class="button end" ?disabled=${!this.token} @click=${() => this.#dialog?.showModal()}>End the lecture…</button>
    </section>`;
  }

  #endDialog() {
    return html`<dialog aria-labelledby="end-title">
      <h2 id="end-title">End the lecture?</h2>
      <p>The broadcast ends for everybody and becomes a recording. It cannot go on air again.</p>
      <form method="dialog">
        <button class="button" value="no" autofocus>Keep it running</button>
        <button class="button live" value="yes" ?disabled=${this.#ending} @click=${(event: Event) => void this.#end(event)}>End the lecture</button>
      </form>
    </dialog>`;
  }

  get #dialog(): HTMLDialogElement | null {
    return this.renderRoot.querySelector('dialog');
  }

  async #end(event: Event): Promise<void> {
    event.preventDefault();
    if (!this.broadcast || !this.token || this.#ending) return;
    this.#ending = true;
    this.requestUpdate();
    try {
      await endBroadcast(this.broadcast.id, this.token);
      this.capture.release();
      await this.publisher?.stop();
      this.#problem = '';
      this.dispatchEvent(new Event('ended'));
    } catch (error) {
      this.#problem = `The lecture could not be ended. ${error instanceof Error ? error.message : ''}`;
    }
    this.#ending = false;
    this.#dialog?.close();
    this.requestUpdate();
  }

  #over({ id }: Broadcast) {
    return html`<div class="over"><h2>The lecture has ended</h2>
      <p class="dim">The recording is ready at the same address.</p>
      <a class="button primary" href="/watch/${id}">${icons.play} Watch the recording</a></div>`;
  }
}

const STATES = { off: 'Off air', connecting: 'Going on air…', on: 'On air', reconnecting: 'Reconnecting…' };
const HINTS = {
  off: 'Nobody sees or hears you yet.',
  connecting: 'Waiting for the server.',
  on: 'Students see and hear you.',
  reconnecting: 'The connection was lost. Your students see the last picture; it goes on by itself.',
};

/** A browser begins low and takes its time to find out what the path carries. */
const LIMITED_S = 20;

/** What goes out, in one line. */
function figures({ kbps, fps, width, height, roundTripMs, lossPercent, limitedBy }: Upstream, limited: boolean): TemplateResult {
  const parts = [
    bitrate(kbps),
    width && height ? `${width} × ${height}` : null,
    fps === null ? null : `${Math.round(fps)} fps`,
    roundTripMs === null ? null : `${Math.round(roundTripMs)} ms`,
    lossPercent >= 1 ? `${lossPercent.toFixed(0)} % lost` : null,
  ].filter((part) => part !== null);
  const limit = { bandwidth: 'Your upload is too slow for the full quality.', cpu: 'This computer is too busy for the full quality.' };
  return html`<p class="figures">${parts.join(' · ')}</p>${limited && limitedBy ? html`<p class="dim">${limit[limitedBy]}</p>` : nothing}`;
}

function select(chosen: string, devices: readonly MediaDeviceInfo[], more: readonly [string, string][], choose: (id: string) => void, disabled: boolean): TemplateResult {
  return html`<select class="field" ?disabled=${disabled} @change=${(event: Event) => choose((event.target as HTMLSelectElement).value)}>
    <option value="" ?selected=${chosen === ''}>Default</option>
    ${devices.filter(({ deviceId }) => deviceId !== 'default').map(({ deviceId, label }) => html`<option value=${deviceId} ?selected=${deviceId === chosen}>${label}</option>`)}
    ${more.map(([value, words]) => html`<option value=${value} ?selected=${value === chosen}>${words}</option>`)}
  </select>`;
}

function sameTracks(a: MediaProvider | null, b: MediaStream): boolean {
  if (!(a instanceof MediaStream)) return false;
  const ids = (stream: MediaStream) => stream.getTracks().map(({ id }) => id).sort().join();
  return ids(a) === ids(b);
}

customElements.define('lectern-studio', LecternStudio);

declare global {
  interface HTMLElementTagNameMap {
    'lectern-studio': LecternStudio;
  }
}
