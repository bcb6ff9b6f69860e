/** What a room promises: a message stands at the picture that its writer saw, and re-appears with it. */
import assert from 'node:assert/strict';
import { FRAME_MS, FRAME_TOLERANCE_MS } from './measure.mjs';

const ATTEMPTS = 5;

/**
 * What was written, and the picture's clock at that moment, Unix ms; `at`: its stamp, ticks.
 * @typedef {{body: string, clock: number, at: number}} Written
 */

/**
 * The watcher writes, and the message is stamped with what the picture showed.
 * The stamp is the playhead that was sent, each time. Where the browser was late to show the picture of its own playhead, on a machine that
 * does other things too, the picture says nothing about the stamp, and the watcher writes again.
 * @param {import('node:test').TestContext} t
 * @param {{viewer: import('./viewer.mjs').Viewer, reader: import('./room.mjs').RoomClient, origin: number}} where
 * @param {string} text @returns {Promise<Written>}
 */
export async function write(t, { viewer, reader, origin }, text) {
  for (let attempt = 1; attempt <= ATTEMPTS; attempt++) {
    const body = attempt === 1 ? text : `${text} (${attempt})`;
    const { clock, playing } = await viewer.say(body);
    const { at } = await reader.event((event) => event.body === body, body);
    const error = origin + at / 90 - clock;
    t.diagnostic(`"${body}": stamp − picture = ${error.toFixed(1)} ms (playhead sent − picture = ${(playing - clock).toFixed(1)} ms), ${((Date.now() - clock) / 1000).toFixed(1)} s behind live`);
    assert.ok(Math.abs(origin + at / 90 - playing) <= FRAME_MS, 'the stamp is the playhead');
    if (isRight(error)) return { body, clock, at };
  }
  return assert.fail(`${ATTEMPTS} times not stamped with what the picture showed`);
}

/**
 * Played from before its moment, each message appears where it was written.
 * @param {import('node:test').TestContext} t @param {import('./viewer.mjs').Viewer} viewer @param {Written[]} messages in the order of the line
 */
export async function assertReappear(t, viewer, messages) {
  let errors = [];
  // A page that stands still for a moment, on a machine that does other things too, is late once; a wrong place is wrong each time.
  for (let attempt = 1; attempt <= ATTEMPTS; attempt++) {
    await viewer.goTo(messages[0].clock - 1500);
    const appeared = await viewer.appearances(...messages.map(({ body }) => body));
    errors = appeared.map(({ clock }, i) => clock - messages[i].clock);
    t.diagnostic(`messages re-appear after the picture they were written at: ${errors.map((error, i) => `${error.toFixed(1)} ms ("${messages[i].body}")`).join(', ')}`);
    if (errors.every(isRight)) return;
  }
  assert.fail(`${ATTEMPTS} times not where they were written: ${errors} ms`);
}

const isRight = (error) => Math.abs(error) <= FRAME_TOLERANCE_MS;
