/** Keeps what the server says of the sources on air, of the layout and of who is invited, and asks it for something else. */
import { Problem, arrange, readStage, withdrawCohost } from '../api';
import { Backoff } from '../core/backoff';
import type { Layout, Stage } from '../core/stage';

const POLL_MS = 2_000;
/** A host's first publish makes the broadcast. */
const UNKNOWN_MS = 5_000;

/** Tells `change`. */
export class StageFollower extends EventTarget {
  /** Null before the first answer. */
  stage: Stage | null = null;
  problem: Problem | null = null;
  /** Something was asked for, and is not answered yet. */
  asking = false;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #backoff = new Backoff(1_000, 15_000);
  /** How often something was asked for: what was read before an answer does not know of it. */
  #asked = 0;
  #stopped = false;

  constructor(
    private readonly id: string,
    private readonly token: string,
  ) {
    super();
  }

  async follow(): Promise<void> {
    const waitMs = await this.#read();
    clearTimeout(this.#timer);
    if (!this.#stopped && waitMs !== null) this.#timer = setTimeout(() => void this.follow(), waitMs);
    this.#changed();
  }

  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#timer);
  }

  async arrange(layout: Layout): Promise<void> {
    return this.#ask(() => arrange(this.id, layout, this.token));
  }

  /** This co-host goes off air, and their link is void. */
  async withdraw(source: string): Promise<void> {
    return this.#ask(() => withdrawCohost(this.id, source, this.token));
  }

  async #ask(another: () => Promise<Stage>): Promise<void> {
    this.#asked += 1;
    const request = this.#asked;
    this.asking = true;
    this.#changed();
    try {
      const stage = await another();
      // Of two that were asked for at once the last one holds.
      if (request === this.#asked) [this.stage, this.problem] = [stage, null];
    } catch (error) {
      if (request === this.#asked) this.problem = Problem.of(error);
    }
    if (request === this.#asked) this.asking = false;
    this.#changed();
  }

  /** How long to wait before the next reading; null: for ever. */
  async #read(): Promise<number | null> {
    const asked = this.#asked;
    try {
      const stage = await readStage(this.id, this.token);
      if (asked === this.#asked && !this.asking) [this.stage, this.problem] = [stage, null];
      this.#backoff.succeeded();
      return POLL_MS;
    } catch (error) {
      const problem = Problem.of(error);
      if (problem.status === 404) return UNKNOWN_MS;
      this.problem = problem;
      return problem.status === 401 || problem.status === 403 ? null : this.#backoff.next();
    }
  }

  #changed(): void {
    this.dispatchEvent(new Event('change'));
  }
}
