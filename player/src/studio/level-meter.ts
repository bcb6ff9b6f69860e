/** `<lectern-level-meter>`: how loud what is sent is. */
import { LitElement, html } from 'lit';
import { sheet } from '../style/shared';

/** The meter's range: from a quiet room to full scale. */
const FLOOR_DB = -60;
/** Ten steps a second are smooth enough for a bar. */
const READ_MS = 100;
/** Below this for so long, and somebody forgot the microphone's switch. */
const SILENT_DB = -55;
const SILENT_MS = 5_000;

/** Tells `silence` (detail: whether nothing is heard). */
export class LecternLevelMeter extends LitElement {
  static override styles = sheet(`
    :host { display: block; height: 8px; border-radius: 4px; overflow: hidden; background: var(--sunken); border: 1px solid var(--line) }
    div { height: 100%; background: linear-gradient(to right, #1b8a5a 70%, #c98a00 88%, #c0392b) }`);
  #context: AudioContext | null = null;
  #source: MediaStreamAudioSourceNode | null = null;
  #analyser: AnalyserNode | null = null;
  #samples = new Float32Array(1024);
  #reading: ReturnType<typeof setInterval> | undefined;
  #levelDb = FLOOR_DB;
  #heardAt = 0;
  #silent = false;

  /** The track to listen to. */
  listen(track: MediaStreamTrack | null): void {
    this.#source?.disconnect();
    this.#source = null;
    clearInterval(this.#reading);
    this.#levelDb = FLOOR_DB;
    this.#heardAt = performance.now();
    this.#tell(false);
    if (track) this.#connect(track);
    this.requestUpdate();
  }

  override disconnectedCallback(): void {
    super.disconnectedCallback();
    clearInterval(this.#reading);
    void this.#context?.close();
  }

  override render() {
    const part = 1 - this.#levelDb / FLOOR_DB;
    return html`<div role="meter" aria-label="Sound level" aria-valuemin=${FLOOR_DB} aria-valuemax="0" aria-valuenow=${Math.round(this.#levelDb)}
      aria-valuetext="${Math.round(this.#levelDb)} decibels" .style=${`clip-path: inset(0 ${(100 - 100 * Math.max(0, Math.min(1, part))).toFixed(1)}% 0 0)`}></div>`;
  }

  #connect(track: MediaStreamTrack): void {
    this.#context ??= new AudioContext();
    void this.#context.resume();
    this.#analyser ??= new AnalyserNode(this.#context, { fftSize: 1024 });
    this.#source = this.#context.createMediaStreamSource(new MediaStream([track]));
    this.#source.connect(this.#analyser);
    this.#reading = setInterval(() => this.#read(), READ_MS);
  }

  #read(): void {
    // A context that waits for a gesture hears nothing: that is not silence.
    if (!this.#analyser || this.#context?.state !== 'running') return;
    this.#analyser.getFloatTimeDomainData(this.#samples);
    const power = this.#samples.reduce((sum, sample) => sum + sample * sample, 0) / this.#samples.length;
    const db = Math.max(FLOOR_DB, 10 * Math.log10(power + 1e-12));
    this.#levelDb = Math.max(db, this.#levelDb - 3);
    const now = performance.now();
    if (db > SILENT_DB) this.#heardAt = now;
    this.#tell(now - this.#heardAt > SILENT_MS);
    this.requestUpdate();
  }

  #tell(silent: boolean): void {
    if (silent === this.#silent) return;
    this.#silent = silent;
    this.dispatchEvent(new CustomEvent('silence', { detail: silent }));
  }
}

customElements.define('lectern-level-meter', LecternLevelMeter);

declare global {
  interface HTMLElementTagNameMap {
    'lectern-level-meter': LecternLevelMeter;
  }
}
