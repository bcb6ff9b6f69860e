/** How long to wait before the next attempt: doubling, with jitter so that a room does not return all at once. */
export class Backoff {
  #attempts = 0;

  constructor(
    private readonly firstMs: number,
    private readonly longestMs: number,
    private readonly random: () => number = Math.random,
  ) {}

  /** Between half and all of the step. */
  next(): number {
    return this.#step(0) * (0.5 + this.random() / 2);
  }

  /** Any time up to the step, for many who come at once. It takes `servedMs` to serve them: no step is shorter. */
  anyTime(servedMs: number): number {
    return this.#step(servedMs) * this.random();
  }

  #step(leastMs: number): number {
    const step = Math.min(this.longestMs, Math.max(leastMs, this.firstMs * 2 ** this.#attempts));
    this.#attempts += 1;
    return step;
  }

  succeeded(): void {
    this.#attempts = 0;
  }
}
