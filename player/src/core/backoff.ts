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
    const step = Math.min(this.longestMs, this.firstMs * 2 ** this.#attempts);
    this.#attempts += 1;
    return step * (0.5 + this.random() / 2);
  }

  succeeded(): void {
    this.#attempts = 0;
  }
}
