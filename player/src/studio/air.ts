/** What this page sends: a camera with its microphone, and a screen. Each has a session of its own, which comes and goes by itself. */
import { screenOf } from '../core/stage';
import type { Capture } from './capture';
import { Publisher, type OnAir } from './publisher';
import type { ScreenShare } from './screen';

/** `empty`: whatever is chosen now goes on air at once. */
export type AirState = OnAir | 'empty';

/** A source of this page. */
export interface Sending {
  readonly kind: 'camera' | 'screen';
  readonly publisher: Publisher;
  readonly capture: Capture | ScreenShare;
}

/** Tells `change`. */
export class Air extends EventTarget {
  readonly camera: Sending;
  readonly screen: Sending;
  /** Somebody pressed the button. */
  #wanted = false;

  /** `source`: what the camera is called on air. */
  constructor(endpoint: string, token: string, source: string, camera: Capture, screen: ScreenShare) {
    super();
    this.camera = { kind: 'camera', publisher: new Publisher(endpoint, token), capture: camera };
    this.screen = { kind: 'screen', publisher: new Publisher(`${endpoint}?source=${screenOf(source)}`, token), capture: screen };
    for (const sending of this.all) {
      sending.publisher.addEventListener('change', () => this.#published());
      sending.capture.addEventListener('change', () => this.#captured(sending));
      sending.publisher.use(sending.capture.stream);
    }
  }

  get all(): readonly Sending[] {
    return [this.camera, this.screen];
  }

  get state(): AirState {
    if (!this.#wanted) return 'off';
    const states = this.all.map(({ publisher }) => publisher.state);
    const order: OnAir[] = ['on', 'reconnecting', 'connecting'];
    return order.find((state) => states.includes(state)) ?? 'empty';
  }

  /** `takeover`: also where somebody else sends the same. */
  async start(takeover = false): Promise<void> {
    this.#wanted = true;
    const starting = this.all.filter(({ publisher, capture }) => publisher.state === 'off' && hasTracks(capture));
    await Promise.all(starting.map(({ publisher }) => publisher.start(takeover)));
    this.#changed();
  }

  async stop(): Promise<void> {
    this.#wanted = false;
    await Promise.all(this.all.map(({ publisher }) => publisher.stop()));
    this.#changed();
  }

  #captured({ publisher, capture }: Sending): void {
    publisher.use(capture.stream);
    if (!hasTracks(capture)) {
      // Nothing is held open for what may never come back; and the next try is a new one.
      void publisher.stop();
    } else if (this.#wanted && publisher.state === 'off' && !publisher.problem) {
      void publisher.start();
    }
    this.#changed();
  }

  /** Where all that there is to send was refused, nobody is on air, and the button says so. */
  #published(): void {
    const sending = this.all.filter(({ capture }) => hasTracks(capture));
    if (sending.length > 0 && sending.every(({ publisher }) => publisher.state === 'off' && publisher.problem)) this.#wanted = false;
    this.#changed();
  }

  #changed(): void {
    this.dispatchEvent(new Event('change'));
  }
}

const hasTracks = ({ stream }: { stream: MediaStream }): boolean => stream.getTracks().length > 0;
