/** Waiting for what a story expects, with a limit and a name for what did not come. */
import { setTimeout as sleep } from 'node:timers/promises';

/** Generous: the machine is shared, and a limit here only says that something never happens. */
const DEFAULT_WITHIN_MS = 60_000;

/** It will not come any more: waiting on is no use. */
export class Final extends Error {}

/**
 * Asks again and again until the answer is truthy, and gives it.
 * @template T @param {string} what in the words of the story @param {() => T | Promise<T>} ask
 * @param {{within?: number, every?: number}} [limits] milliseconds
 * @returns {Promise<T>}
 */
export async function until(what, ask, { within = DEFAULT_WITHIN_MS, every = 100 } = {}) {
  const deadline = Date.now() + within;
  let last;
  for (;;) {
    try {
      last = await ask();
      if (last) return last;
    } catch (error) {
      if (error instanceof Final) throw error;
      last = error;
    }
    if (Date.now() > deadline) throw new Error(`waited ${within / 1000} s in vain: ${what} (last: ${describe(last)})`);
    await sleep(every);
  }
}

/** A promise, but not for ever. @template T @param {string} what @param {Promise<T>} promise @returns {Promise<T>} */
export async function soon(what, promise, within = DEFAULT_WITHIN_MS) {
  const late = new AbortController();
  const timeout = sleep(within, null, { signal: late.signal }).then(() => {
    throw new Error(`waited ${within / 1000} s in vain for ${what}`);
  });
  try {
    return await Promise.race([promise, timeout]);
  } finally {
    late.abort();
    timeout.catch(() => {});
  }
}

const describe = (value) => (value instanceof Error ? value.message : JSON.stringify(value));
