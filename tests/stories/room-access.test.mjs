/**
 * The room for everybody: each of its modes, panels and dialogs, on a phone and on a desk, in light and in dark, by
 * axe-core. `SHOTS=folder` keeps what was seen.
 */
import assert from 'node:assert/strict';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { accessible } from '../harness/access.mjs';
import { launch, newWindow } from '../harness/browser.mjs';
import { openMock } from '../harness/mock.mjs';
import { until } from '../harness/until.mjs';

const ONE = { timeout: 120_000 };
const { SHOTS } = process.env;
const SIZES = {
  phone: { viewport: { width: 390, height: 844 }, deviceScaleFactor: 2, hasTouch: true, isMobile: true },
  desk: { viewport: { width: 1440, height: 900 } },
};

let browser, mock;

before(async () => {
  if (SHOTS) mkdirSync(SHOTS, { recursive: true });
  [browser, mock] = await Promise.all([launch(), openMock()]);
});

after(async () => {
  await browser?.close();
  mock?.close();
});

/** A page on which the room is there. @returns {Promise<import('playwright-core').Page>} */
async function enter(path, size, more = {}) {
  const page = await newWindow(browser, 'room-access', { ...SIZES[size], ...more });
  await page.goto(`${mock.url}${path}`);
  await until('the room is joined', () => page.evaluate(() => document.querySelector('lectern-room')?.connection?.room.status === 'joined'));
  return page;
}

const student = (room, size, more) => enter(`/watch/${room}#token=participant.Noor`, size, more);
const staff = (room, size, more) => enter(`/watch/${room}#token=host.Prof. Okafor`, size, more);
const room = (page) => page.locator('lectern-room');

async function look(page, name) {
  if (SHOTS) await page.screenshot({ path: join(SHOTS, `${name}.png`) });
  // The player's controls fade in and out; they are not what this is about.
  await accessible(page, name, ['lectern-player']);
  assert.deepEqual(page.errors, []);
}

const VIEWS = {
  chat: (size) => student('linear-algebra', size),
  guest: (size) => enter('/watch/linear-algebra', size),
  questions: async (size) => tab(await student('linear-algebra', size), 'Questions'),
  polls: async (size) => tab(await student('linear-algebra', size), 'Polls'),
  moderated: (size) => student('moderated', size),
  'questions-only': (size) => student('questions', size),
  'reactions-only': (size) => student('reactions', size),
  'read-only': (size) => student('silent', size),
  slow: async (size) => {
    const page = await student('slow', size);
    await room(page).getByRole('textbox', { name: 'Message' }).fill('Could you repeat that?');
    await page.keyboard.press('Enter');
    await room(page).getByText('Could you repeat that?').first().waitFor();
    await room(page).getByRole('textbox', { name: 'Message' }).fill('And one more thing');
    return page;
  },
  private: async (size) => {
    const page = await student('linear-algebra', size);
    await room(page).getByRole('radio', { name: 'To staff' }).check();
    await room(page).getByRole('textbox').last().fill('I cannot hear you at the back.');
    return page;
  },
  emoji: async (size) => {
    const page = await student('linear-algebra', size);
    await room(page).getByRole('button', { name: 'Emoji' }).click();
    return page;
  },
  dark: (size) => student('linear-algebra', size, { colorScheme: 'dark' }),
  'dark-polls': async (size) => tab(await student('linear-algebra', size, { colorScheme: 'dark' }), 'Polls'),
  staff: (size) => staff('linear-algebra', size),
  'staff-questions': async (size) => tab(await staff('linear-algebra', size), 'Questions'),
  'staff-polls': async (size) => tab(await staff('linear-algebra', size), 'Polls'),
  'staff-people': async (size) => tab(await staff('linear-algebra', size), 'People'),
  'staff-review': async (size) => tab(await staff('linear-algebra', size), 'Review'),
  'dark-review': async (size) => tab(await staff('linear-algebra', size, { colorScheme: 'dark' }), 'Review'),
  settings: async (size) => {
    const page = await staff('linear-algebra', size);
    await room(page).getByRole('button', { name: 'Room settings' }).click();
    await room(page).getByRole('dialog', { name: 'Room settings' }).waitFor();
    return page;
  },
  'new-poll': async (size) => {
    const page = await tab(await staff('linear-algebra', size), 'Polls');
    await room(page).getByRole('button', { name: 'New poll' }).click();
    await room(page).getByRole('radio', { name: 'Quiz, with right answers' }).check();
    return page;
  },
  person: async (size) => {
    const page = await tab(await staff('linear-algebra', size), 'Review');
    await room(page).getByRole('button', { name: 'Bo Lindqvist' }).first().click();
    await room(page).getByRole('dialog').waitFor();
    return page;
  },
  replay: async (size) => {
    const page = await enter0('/watch/optics', size);
    await page.evaluate(() => document.querySelector('lectern-player').seekTo(31 * 90_000));
    await until('the room of then', () => room(page).getByText('Thank you!').isVisible());
    return page;
  },
  'replay-polls': async (size) => tab(await VIEWS.replay(size), 'Polls'),
  studio: (size) => enter('/studio/linear-algebra#token=host.Prof. Okafor', size),
};

/** What is over is read from files: nobody joins. */
async function enter0(path, size) {
  const page = await newWindow(browser, 'room-access', SIZES[size]);
  await page.goto(`${mock.url}${path}`);
  await until('it can be played', () => page.evaluate(() => document.querySelector('lectern-player')?.playingDate != null));
  return page;
}

async function tab(page, name) {
  await room(page).getByRole('tab', { name }).click();
  return page;
}

for (const size of Object.keys(SIZES)) {
  describe(`the room on a ${size}`, () => {
    for (const [name, open] of Object.entries(VIEWS)) {
      if (process.env.ONLY && !process.env.ONLY.split(',').includes(name)) continue;
      test(name, ONE, async () => {
        const page = await open(size);
        await look(page, `${name}-${size}`);
        await page.context().close();
      });
    }
  });
}
