/** The pages as people use them: a lecturer with a camera, a student with a keyboard. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { launch } from '../harness/browser.mjs';
import { Lectern } from '../harness/lectern.mjs';
import { mediaPlaylist, renditions } from '../harness/presentation.mjs';
import { Studio } from '../harness/publisher/studio.mjs';
import { Relay } from '../harness/relay.mjs';
import { until } from '../harness/until.mjs';
import { Viewer } from '../harness/viewer.mjs';

const ID = 'history';
const ONE = { timeout: 120_000 };

let browser, lectern, studio, viewer, relay, origin;

before(async () => {
  browser = await launch();
  lectern = await Lectern.start({ story: 'pages' });
  const { token } = await lectern.create(ID, { title: 'History of the chalkboard', guests: true });
  relay = await Relay.open();
  studio = await Studio.open(browser, 'pages', lectern.url, ID, token);
});

after(async () => {
  await browser?.close();
  relay?.close();
  await lectern?.discard();
});

const onAir = async () => (await lectern.broadcast(ID)).on_air;

/** Pictures follow each other on the student's screen. (Chromium's fake camera carries no picture clock.) */
async function moves() {
  const since = Date.now();
  await until('the picture moves', async () => {
    const { pictures } = await viewer.notes(since);
    return pictures.length > 30 && pictures.at(-1).media > pictures[0].media;
  });
}

describe('the studio', () => {
  test('goes on air with camera and microphone', ONE, async () => {
    await studio.goThrough(relay);
    await studio.button('Camera').first().click();
    await until('there is a preview', () => studio.page.evaluate(() => document.querySelector('lectern-studio').renderRoot.querySelector('video').videoWidth > 0));
    await studio.button('Go on air').click();
    await studio.says('On air');
    await until('the server knows', onAir);
    // The line opens with the first picture.
    origin = await until('the line is open', async () => (await lectern.broadcast(ID)).origin);
    viewer = await Viewer.open(browser, 'pages', lectern.url, ID);
    await moves();
  });

  test('reconnects by itself, on the same line', ONE, async () => {
    relay.cut = true;
    await studio.says('Reconnecting…');
    relay.cut = false;
    await studio.says('On air');
    await until('the server knows', onAir);
    assert.equal((await lectern.broadcast(ID)).origin, origin);
    await moves();
  });

  test('stops, and goes on air again', ONE, async () => {
    await studio.button('Stop').click();
    await studio.says('Off air');
    await until('the server knows', async () => !(await onAir()));
    assert.equal((await lectern.broadcast(ID)).state, 'live', 'the lecture is not over yet');
    await studio.button('Go on air').click();
    await studio.says('On air');
    assert.equal((await lectern.broadcast(ID)).origin, origin);
  });
});

describe('a student with nothing but a keyboard', () => {
  test('enters the room with a name, and is where one writes', ONE, async () => {
    await viewer.tabTo('Your name, to join the conversation');
    await viewer.type('Noor', 'Enter');
    await until('the message box has the focus', async () => (await viewer.focused()) === 'Message', { within: 15_000 });
  });

  test('writes', ONE, async () => {
    await viewer.tabTo('Message');
    await viewer.type('Who invented it?', 'Enter');
    await until('the lecturer reads it', () => studio.page.locator('lectern-room').getByText('Who invented it?').isVisible());
  });

  test('pauses, and goes on', ONE, async () => {
    await viewer.tabTo('pause');
    await viewer.type('', ' ');
    await until('it stands', () => viewer.page.evaluate(() => watching.video().paused));
    await until('the button says so', async () => (await viewer.focused()) === 'play');
    await viewer.type('', ' ');
    await until('it plays', () => viewer.page.evaluate(() => !watching.video().paused));
    await moves();
  });

  test('chooses the quality', ONE, async () => {
    await viewer.tabTo('settings');
    await enters('settings');
    await viewer.arrowTo('Quality');
    await enters('Quality');
    await viewer.arrowTo('180p');
    await viewer.type('', 'Enter');
    await until('the small picture', async () => (await viewer.shown()).height === 180);
  });
});

/** A menu opens, and takes the focus. */
async function enters(from) {
  await viewer.type('', 'Enter');
  await until(`the focus goes on from ${from}`, async () => !(await viewer.focused()).startsWith(from), { within: 15_000 });
}

describe('the lecturer', () => {
  test('deletes what a student wrote', ONE, async () => {
    const room = studio.page.locator('lectern-room');
    await room.getByRole('button', { name: 'More about this message of Noor' }).click();
    await room.getByRole('menuitem', { name: 'Delete' }).click();
    await room.getByRole('group', { name: 'Delete this message?' }).getByRole('button', { name: 'Delete' }).click();
    await until('the student does not see it any more', async () => !(await viewer.room()).includes('Who invented it?'));
  });

  test('ends the lecture; the student’s page becomes the replay', ONE, async () => {
    await studio.button('End the lecture…').click();
    await studio.page.getByRole('dialog').getByRole('button', { name: 'End the lecture', exact: true }).click();
    await studio.page.getByText('The lecture has ended').waitFor({ timeout: 60_000 });
    assert.equal((await lectern.broadcast(ID)).state, 'ended');
    const [video] = await renditions(`${lectern.url}/broadcasts/${ID}/index.m3u8`);
    assert.equal((await mediaPlaylist(video.url)).details.live, false);
    await viewer.page.locator('lectern-player').getByText('Replay', { exact: true }).waitFor({ timeout: 60_000 });
  });
});

test('the pages complain of nothing', async () => {
  const wrong = viewer.errors.concat(studio.errors);
  assert.deepEqual(wrong, []);
});
