/** The server's clock, as seen from here: answers tell its time, round trips tell how well. */
import type { WallMs } from './time';

/** Enough to ride out a burst of slow round trips, few enough to follow a clock that is being slewed. */
const SAMPLES = 8;

interface Sample {
  offsetMs: number;
  roundTripMs: number;
}

export class ServerClock {
  #samples: Sample[] = [];

  /** `sent` and `received` are local, `server` is what the answer says; the best sample is the quickest one. */
  observe(sent: WallMs, received: WallMs, server: WallMs): void {
    const roundTripMs = received - sent;
    if (roundTripMs < 0) return; // The local clock was set back meanwhile.
    this.#samples.push({ offsetMs: server - (sent + received) / 2, roundTripMs });
    if (this.#samples.length > SAMPLES) this.#samples.shift();
  }

  /** Server time minus local time; 0 while nothing is known. */
  get offsetMs(): number {
    let best: Sample | undefined;
    for (const sample of this.#samples) {
      if (!best || sample.roundTripMs <= best.roundTripMs) best = sample;
    }
    return best?.offsetMs ?? 0;
  }

  at(local: WallMs): WallMs {
    return local + this.offsetMs;
  }
}
