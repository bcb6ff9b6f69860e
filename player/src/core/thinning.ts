/**
 * Rates above what a human can read, thinned: about five messages a second are shown, the others are counted and a
 * note stands in their place that shows them all. Only how a page shows them: the log has every one.
 *
 * A bucket of tokens. What must be seen (`mustShow`: staff's, one's own, what is for oneself …) is always shown, and
 * counts. What was decided stays decided, so that nothing flickers.
 */

/** People read some 4 words a second; chats that go faster are skimmed. Sendbird's large rooms show as many. */
const PER_SECOND = 5;
/** So many at once are still read: everybody says "thank you". */
const BURST = 10;
/** One note stands for what was left out in so long. */
const RUN_MS = 30_000;
/** So long without anything left out, and the next note is another. */
const CALM_MS = 5_000;

/** What one note stands for. */
export interface Run {
  /** Its first message, by which it is known. */
  first: number;
  /** Its last one so far, behind which the note stands. */
  last: number;
  count: number;
  /** Somebody asked for them. */
  shown: boolean;
}

interface Arrived {
  seq: number;
}

export class Thinning {
  #runs: (Run & { beganMs: number; lastMs: number })[] = [];
  #hidden = new Map<number, Run>();
  #tokens = BURST;
  #atMs: number | null = null;

  /** Oldest first. */
  get runs(): readonly Run[] {
    return this.#runs;
  }

  /** Messages that came just now, in order; called once for each. */
  arrived<T extends Arrived>(messages: readonly T[], nowMs: number, mustShow: (message: T) => boolean): void {
    this.#refill(nowMs);
    for (const message of messages) {
      if (this.#tokens < 1 && !mustShow(message)) this.#hide(message.seq, nowMs);
      else this.#tokens = Math.max(0, this.#tokens - 1);
    }
  }

  hides(seq: number): boolean {
    return this.#hidden.get(seq)?.shown === false;
  }

  /** The run that holds a message, where it was left out once. */
  runOf(seq: number): Run | undefined {
    return this.#hidden.get(seq);
  }

  show(run: Run): void {
    run.shown = true;
  }

  /** Messages before this are kept no longer. */
  forget(before: number): void {
    if ((this.#runs[0]?.first ?? Infinity) >= before) return;
    for (const seq of this.#hidden.keys()) if (seq < before) this.#hidden.delete(seq);
    this.#runs = this.#runs.filter(({ last }) => last >= before);
  }

  #refill(nowMs: number): void {
    const elapsedMs = Math.max(0, nowMs - (this.#atMs ?? nowMs));
    this.#tokens = Math.min(BURST, this.#tokens + (elapsedMs / 1000) * PER_SECOND);
    this.#atMs = nowMs;
  }

  #hide(seq: number, nowMs: number): void {
    const run = this.#run(seq, nowMs);
    this.#hidden.set(seq, run);
    [run.last, run.lastMs] = [seq, nowMs];
    run.count += 1;
  }

  /** Who asked for all of a run sees the rest of it too. */
  #run(seq: number, nowMs: number) {
    const current = this.#runs.at(-1);
    if (current && nowMs - current.beganMs < RUN_MS && nowMs - current.lastMs < CALM_MS) return current;
    const run = { first: seq, last: seq, count: 0, shown: false, beganMs: nowMs, lastMs: nowMs };
    this.#runs.push(run);
    return run;
  }
}
