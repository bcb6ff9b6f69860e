/** Files that are on their way into a message. */
import { bytes } from '../core/format';
import type { Attached } from '../core/wire';

/** `progress`: the part that is sent, 0 to 1. */
export type Upload = (file: File, progress: (part: number) => void, signal: AbortSignal) => Promise<Attached>;

export interface Attachment {
  readonly name: string;
  readonly size: string;
  part: number;
  /** Once it is there. */
  attached: Attached | null;
  problem: string;
  remove(): void;
}

/** More is a folder, not a message. */
const MOST = 5;

export class Attachments {
  list: Attachment[] = [];
  #changed: () => void;

  constructor(changed: () => void) {
    this.#changed = changed;
  }

  get busy(): boolean {
    return this.list.some(({ attached, problem }) => attached === null && problem === '');
  }

  get ready(): Attached[] {
    return this.list.flatMap(({ attached }) => attached ?? []);
  }

  /** False where these are more than one message holds. */
  add(files: readonly File[], upload: Upload): boolean {
    const fitting = files.slice(0, MOST - this.list.length);
    for (const file of fitting) void this.#send(file, upload);
    this.#changed();
    return fitting.length === files.length;
  }

  /** Those of a message that came back. */
  restore(files: readonly Attached[]): void {
    for (const attached of files) this.list.push({ name: attached.name, size: bytes(attached.size), part: 1, attached, problem: '', remove: () => undefined });
    for (const one of this.list) one.remove = () => this.#drop(one);
  }

  /** They are the message's now. */
  clear(): void {
    this.list = [];
  }

  async #send(file: File, upload: Upload): Promise<void> {
    const abort = new AbortController();
    const one: Attachment = { name: file.name, size: bytes(file.size), part: 0, attached: null, problem: '', remove: () => this.#drop(one, abort) };
    this.list.push(one);
    const progress = (part: number) => {
      one.part = part;
      this.#changed();
    };
    try {
      one.attached = await upload(file, progress, abort.signal);
    } catch (error) {
      one.problem = error instanceof Error && error.message !== '' ? error.message : 'The file could not be sent.';
    }
    this.#changed();
  }

  #drop(one: Attachment, abort?: AbortController): void {
    abort?.abort();
    this.list = this.list.filter((other) => other !== one);
    this.#changed();
  }
}
