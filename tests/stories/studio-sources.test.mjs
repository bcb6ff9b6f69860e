/**
 * A lecture with a camera, a screen and a co-host, from the studio: who is on air, how it is asked for, what the server
 * then says. (The picture that comes of it is another story's.) `SHOTS=folder` keeps what was seen.
 */
import assert from 'node:assert/strict';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { accessible } from '../harness/access.mjs';
import { launch } from '../harness/browser.mjs';
import { Lectern, SMALL_LADDER } from '../harness/lectern.mjs';
import { ProcessPublisher } from '../harness/publisher/process.mjs';
import { Studio } from '../harness/publisher/studio.mjs';
import { Relay } from '../harness/relay.mjs';
import { until } from '../harness/until.mjs';

const ID = 'geometry';
const ONE = { timeout: 120_000 };
const PHONE = { viewport: { width: 390, height: 844 }, deviceScaleFactor: 2, hasTouch: true, isMobile: true };
/** `[ingest]`: who falls silent is to stay, however long it takes to look at that. */
const PATIENT = 'silence_s = 120\n';
const { SHOTS } = process.env;

let browser, lectern, relay, token, /** @type {Studio} */ host, /** @type {Studio} */ ada;

before(async () => {
  if (SHOTS) mkdirSync(SHOTS, { recursive: true });
  [browser, relay] = await Promise.all([launch(), Relay.open()]);
  lectern = await Lectern.start({ story: 'studio-sources', config: `${PATIENT}${SMALL_LADDER}` });
  ({ token } = await lectern.create(ID, { title: 'Projective geometry' }));
  host = await Studio.open(browser, 'studio-sources-host', lectern.url, ID, token);
});

after(async () => {
  await browser?.close();
  relay?.close();
  await lectern?.discard();
});

const stage = async () => (await lectern.api('GET', `/broadcasts/${ID}/layout`, { token })).body;

/** What the server has of each source: `main h264+opus`, where both come. */
async function onAir() {
  const { on_air } = await stage();
  return on_air.map(({ source, video, audio }) => `${source} ${[video && 'picture', audio && 'sound'].filter(Boolean).join('+')}`.trim());
}

/** The server has exactly these. (Of two that come at once either may be the first.) */
const comes = (...sources) => until(`on air: ${sources.join(', ')}`, async () => {
  const now = (await onAir()).sort();
  return now.join() === sources.sort().join() || Promise.reject(new Error(now.join()));
});

/** The requests of a studio since the last look, without candidates. */
function asked(studio) {
  return studio.asked.splice(0).filter(({ method, path }) => method !== 'PATCH' && /^\/(whip|api)\//.test(path));
}

const whips = (studio) => asked(studio).filter(({ path }) => path.startsWith('/whip/')).map(({ method, path }) => `${method} ${path.replace(/\/[0-9a-f]{32}$/, '/…')}`);

const seen = (studio, which) => until(`there is a preview of the ${which}`, () => studio.page.evaluate((css) => document.querySelector('lectern-studio').renderRoot.querySelector(css).videoWidth > 0, `.${which} video`));

/** The host's page tells the figures of so many sources. */
const sends = (count) => until(`${count} sources are sent`, async () => (await host.page.locator('lectern-studio .sent').getByText(/bit\/s/).count()) === count);

/** Colours that change, change slowly: until they have. */
const settles = (page) =>
  page.evaluate(async () => {
    await new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn)));
    const changing = document.getAnimations().filter((animation) => animation instanceof CSSTransition);
    await Promise.allSettled(changing.map((transition) => transition.finished));
  });

async function look(studio, name) {
  await settles(studio.page);
  if (SHOTS) await studio.page.screenshot({ path: join(SHOTS, `${name}.png`), fullPage: true });
  // The player's controls fade in and out; they are not what this is about.
  await accessible(studio.page, name, ['lectern-player']);
}

describe('a camera and a screen', () => {
  test('nothing goes out before the button is pressed; then each by a session of its own', ONE, async () => {
    await host.goThrough(relay, 'screen');
    await host.button('Camera').first().click();
    await seen(host, 'camera');
    await host.button('Share screen').first().click();
    await seen(host, 'screen');
    assert.deepEqual(asked(host), []);
    await host.button('Go on air').click();
    await host.says('On air');
    await comes('main picture+sound', 'screen picture+sound');
    assert.deepEqual(whips(host).sort(), [`POST /whip/${ID}`, `POST /whip/${ID}?source=screen`]);
    await until('the page lists both', async () => (await host.listed()).join() === 'Host (you),Host (you)');
  });

  test('looks and reads well', ONE, async () => {
    await sends(2);
    await look(host, 'host');
    for (const [name, width, height] of [['host-phone', 390, 844], ['host-tablet', 820, 1180]]) {
      await host.page.setViewportSize({ width, height });
      await look(host, name);
    }
    await host.page.setViewportSize({ width: 1280, height: 800 });
    await host.page.emulateMedia({ colorScheme: 'dark' });
    await look(host, 'host-dark');
    await host.page.emulateMedia({ colorScheme: 'light' });
  });

  test('the screen reconnects by itself; the camera hears nothing of it', ONE, async () => {
    relay.cut = true;
    await host.page.locator('lectern-studio').getByText('reconnecting…').waitFor({ timeout: 60_000 });
    await host.says('On air');
    relay.cut = false;
    await sends(2);
    await comes('main picture+sound', 'screen picture+sound');
    const again = whips(host);
    assert.ok(again.length > 0 && again.every((path) => /^POST .*source=screen&takeover=[0-9a-f]{32}$/.test(path)), again.join('\n'));
  });

  test('the microphone is muted without a word to the server', ONE, async () => {
    const enabled = () => host.page.evaluate(() => document.querySelector('lectern-studio').capture.stream.getAudioTracks()[0].enabled);
    await host.button('Mute').click();
    await host.button('Unmute').waitFor();
    assert.equal(await enabled(), false);
    await host.button('Unmute').click();
    await host.button('Mute').waitFor();
    assert.equal(await enabled(), true);
    assert.deepEqual(asked(host), []);
  });

  test('sharing stops, and begins again', ONE, async () => {
    await host.button('Stop sharing').click();
    await comes('main picture+sound');
    await host.says('On air');
    await until('the page lists the camera alone', async () => (await host.listed()).length === 1);
    await host.button('Share screen').first().click();
    await comes('main picture+sound', 'screen picture+sound');
    assert.deepEqual(whips(host), [`DELETE /whip/${ID}/…`, `POST /whip/${ID}?source=screen`]);
  });

  test('what the browser stops sharing by itself is off air', ONE, async () => {
    await host.page.evaluate(() => document.querySelector('lectern-studio').screen.stream.getVideoTracks()[0].dispatchEvent(new Event('ended')));
    await comes('main picture+sound');
    await host.button('Share screen').first().click();
    await comes('main picture+sound', 'screen picture+sound');
  });
});

describe('a source that falls silent', () => {
  const list = () => host.page.locator('lectern-on-air-list');
  const marks = () => list().locator('.silent').allTextContents();
  let desk;

  test('is marked, in words, while its session goes on', ONE, async () => {
    desk = ProcessPublisher.lectern('studio-sources-desk', { url: `${lectern.url}/whip/${ID}`, token: await lectern.token(ID, 'cohost', { name: 'Desk', source: 'desk' }), args: ['--size', '320x180'] });
    await comes('main picture+sound', 'screen picture+sound', 'desk picture+sound');
    desk.process.kill('SIGSTOP');
    await list().getByRole('status').getByText('Desk, camera: no picture and no sound arrive.').waitFor({ state: 'attached' });
    assert.deepEqual((await marks()).map((words) => words.trim()), ['no picture and no sound arrive']);
    assert.deepEqual((await stage()).on_air.filter(({ silent }) => silent).map(({ source }) => source), ['desk']);
    await host.page.setViewportSize(PHONE.viewport);
    await look(host, 'host-silent-phone');
    await host.page.setViewportSize({ width: 1280, height: 800 });
  });

  test('is not, as soon as it is heard again', ONE, async () => {
    desk.process.kill('SIGCONT');
    await until('nobody is marked', async () => (await marks()).length === 0);
    assert.equal(await list().getByRole('status').textContent(), '');
    await lectern.api('DELETE', `/broadcasts/${ID}/cohosts/desk`, { token });
    await desk.kill9();
    await comes('main picture+sound', 'screen picture+sound');
  });
});

describe('the layout', () => {
  const bar = (name) => host.page.locator('lectern-layout-bar').getByRole('button', { name, exact: true });

  test('is what the server says, and not before', ONE, async () => {
    assert.deepEqual(await host.marked(), ['Auto']);
    asked(host);
    let answer;
    await host.page.route('**/layout', async (route) => {
      if (route.request().method() !== 'PUT') return route.continue();
      await new Promise((resolve) => (answer = resolve));
      await route.continue();
    });
    await bar('Corner').click();
    await until('it is asked for', () => answer);
    assert.deepEqual(await host.marked(), ['Auto']);
    assert.equal((await stage()).layout.arrangement, 'auto');
    answer();
    await until('it is marked', async () => (await host.marked()).join() === 'Corner');
    await host.page.unroute('**/layout');
    assert.deepEqual((await stage()).layout, { arrangement: 'picture-in-picture', sources: ['screen', 'main'] });
    const [put] = asked(host).filter(({ method }) => method === 'PUT');
    assert.deepEqual([put.path, JSON.parse(put.body)], [`/api/v1/broadcasts/${ID}/layout`, (await stage()).layout]);
  });

  test('pictures swap', ONE, async () => {
    await bar('Swap').click();
    await until('they are swapped', async () => (await stage()).layout.sources.join() === 'main,screen');
    assert.deepEqual(await host.marked(), ['Corner']);
  });

  test('is chosen with nothing but a keyboard', ONE, async () => {
    await bar('Auto').focus();
    for (const _ of ['Camera only', 'Screen only', 'Corner', 'Side by side']) await host.page.keyboard.press('Tab');
    await host.page.keyboard.press('Enter');
    await until('it is marked', async () => (await host.marked()).join() === 'Side by side');
    assert.deepEqual((await stage()).layout, { arrangement: 'side-by-side', sources: [] });
  });

  test('another studio of the host sees it', ONE, async () => {
    const second = await Studio.open(browser, 'studio-sources-second', lectern.url, ID, token);
    await until('it is marked there', async () => (await second.marked()).join() === 'Side by side');
    await bar('Screen only').click();
    await until('and there, too', async () => (await second.marked()).join() === 'Screen only');
    assert.deepEqual(second.errors, []);
    await second.close();
  });

  test('of no sense is refused, and nothing changes', ONE, async () => {
    const { layout } = await stage();
    const put = (body, as = token) => lectern.api('PUT', `/broadcasts/${ID}/layout`, { token: as, body });
    assert.equal((await put({ arrangement: 'mosaic' })).status, 422);
    assert.equal((await put({ arrangement: 'side-by-side', sources: ['a', 'b', 'c', 'd', 'e'] })).status, 400);
    assert.equal((await put(layout, 'garbage')).status, 401);
    assert.equal((await put(layout, await lectern.token(ID, 'moderator'))).status, 403);
    assert.deepEqual((await stage()).layout, layout);
  });
});

describe('a co-host', () => {
  let link;

  test('is invited by a link', ONE, async () => {
    await host.page.locator('lectern-studio').getByText('Invite a co-host').click();
    await host.page.locator('lectern-invite').getByLabel('Name of a co-host').fill('Ada Lovelace');
    await host.page.keyboard.press('Enter');
    const field = host.page.locator('lectern-invite').getByLabel('Link for Ada Lovelace', { exact: true });
    await field.waitFor();
    assert.equal(await field.getAttribute('type'), 'password', 'the studio may be on a projector');
    link = await field.inputValue();
    assert.match(link, new RegExp(`^${lectern.url}/studio/${ID}#token=`));
  });

  test('has a studio without what is the host’s to do', ONE, async () => {
    ada = await Studio.at(browser, 'studio-sources-cohost', link);
    await until('they see who is on air', async () => (await ada.listed()).join() === 'Host,Host');
    const has = async (locator) => (await locator.count()) > 0;
    assert.equal(await has(ada.page.locator('lectern-layout-bar')), false);
    assert.equal(await has(ada.page.locator('lectern-invite')), false);
    assert.equal(await has(ada.button('End the lecture…')), false);
    assert.equal(await has(ada.page.getByText('For your students')), false);
    await ada.page.locator('lectern-monitor lectern-player').waitFor();
    await until('the lecture is shown, without sound', () => ada.page.evaluate(() => document.querySelector('lectern-studio').renderRoot.querySelector('lectern-monitor').renderRoot.querySelector('lectern-player')?.video?.muted));
  });

  test('goes on air under their own name', ONE, async () => {
    await ada.button('Camera').first().click();
    await seen(ada, 'camera');
    await ada.button('Go on air').click();
    await ada.says('On air');
    await comes('main picture+sound', 'screen picture+sound', 'ada-lovelace picture+sound');
    await until('the host sees them', async () => (await host.listed()).join() === 'Host (you),Host (you),Ada Lovelace');
    await until('they see themselves', async () => (await ada.listed()).at(-1) === 'Ada Lovelace (you)');
    await look(ada, 'cohost');
  });

  test('shares a screen beside it', ONE, async () => {
    asked(ada);
    await ada.button('Share screen').first().click();
    await comes('main picture+sound', 'screen picture+sound', 'ada-lovelace picture+sound', 'ada-lovelace-screen picture+sound');
    assert.deepEqual(whips(ada), [`POST /whip/${ID}?source=ada-lovelace-screen`]);
    await ada.button('Stop sharing').click();
    await comes('main picture+sound', 'screen picture+sound', 'ada-lovelace picture+sound');
  });

  test('is seen as the host likes', ONE, async () => {
    await host.page.getByRole('button', { name: 'In the corner: Ada Lovelace, camera' }).click();
    await until('in the corner', async () => (await stage()).layout.sources.join() === 'screen,ada-lovelace');
    await host.page.getByRole('button', { name: 'Alone: Ada Lovelace, camera' }).click();
    await until('alone', async () => (await stage()).layout.sources.join() === 'ada-lovelace');
    assert.equal((await stage()).layout.arrangement, 'solo');
    await until('no other is marked', async () => (await host.marked()).length === 0);
  });

  test('does only what they may', ONE, async () => {
    const theirs = new URLSearchParams(new URL(link).hash.slice(1)).get('token');
    const may = async (method, path, body) => (await lectern.api(method, `/broadcasts/${ID}${path}`, { token: theirs, body })).status;
    assert.equal(await may('GET', '/layout'), 200);
    assert.equal(await may('PUT', '/layout', { arrangement: 'auto' }), 403);
    assert.equal(await may('POST', '/cohosts', { name: 'Eve' }), 403);
    assert.equal(await may('POST', '/end'), 403);
    for (const source of ['main', 'screen', 'bo']) {
      const headers = { 'Content-Type': 'application/sdp', Authorization: `Bearer ${theirs}` };
      assert.equal((await lectern.get(`/whip/${ID}?source=${source}`, { method: 'POST', headers, body: 'no offer' })).status, 403, source);
    }
  });

  test('speaks in the room as a participant', ONE, async () => {
    const room = ada.page.locator('lectern-room');
    await room.getByRole('textbox', { name: 'Message' }).fill('Can you hear me?');
    await ada.page.keyboard.press('Enter');
    await host.page.locator('lectern-room').getByText('Can you hear me?').first().waitFor();
    assert.equal(await ada.page.evaluate(() => document.querySelector('lectern-room').connection.room.you.role), 'participant');
  });

  test('by the command line has the source that it names', ONE, async () => {
    const bo = await lectern.token(ID, 'cohost', { name: 'Bo', source: 'bo' });
    const post = async (query) => {
      const headers = { 'Content-Type': 'application/sdp', Authorization: `Bearer ${bo}` };
      return (await lectern.get(`/whip/${ID}${query}`, { method: 'POST', headers, body: 'no offer: who may not publish is told so first' })).status;
    };
    for (const theirs of ['', '?source=bo', '?source=bo-screen']) assert.equal(await post(theirs), 400, theirs);
    for (const others of ['main', 'screen', 'ada-lovelace']) assert.equal(await post(`?source=${others}`), 403, others);
    await assert.rejects(lectern.token(ID, 'cohost', { name: 'Bo', source: 'main' }));
  });

  test('whose invitation is withdrawn is off air at once, and their link opens nothing', ONE, async () => {
    await host.page.getByRole('button', { name: 'Withdraw the invitation of Ada Lovelace' }).click();
    const sure = host.page.getByRole('group', { name: 'Withdraw the invitation of Ada Lovelace' });
    await sure.getByText('Ada Lovelace goes off air at once').waitFor();
    await until('who has no mouse can go on', () => sure.getByRole('button', { name: 'Keep' }).evaluate((button) => button.matches(':focus')));
    await look(host, 'host-withdraw');
    await host.page.setViewportSize(PHONE.viewport);
    await look(host, 'host-withdraw-phone');
    await host.page.setViewportSize({ width: 1280, height: 800 });
    await sure.getByRole('button', { name: 'Withdraw', exact: true }).click();
    await comes('main picture+sound', 'screen picture+sound');
    assert.deepEqual((await stage()).cohosts, []);
    await until('the page shows no link of theirs', async () => (await host.page.locator('lectern-cohosts li').count()) === 0);
    await ada.page.locator('lectern-studio').getByRole('alert').getByText('this invitation was withdrawn').waitFor({ timeout: 60_000 });
    await ada.says('Off air');
    const headers = { 'Content-Type': 'application/sdp', Authorization: `Bearer ${new URL(link).hash.split('token=')[1]}` };
    const refused = await lectern.get(`/whip/${ID}`, { method: 'POST', headers, body: 'no offer' });
    assert.equal(refused.status, 403);
    assert.match((await refused.json()).detail, /withdrawn/);
    await ada.close();
  });

  test('who is invited anew is on air again, by another link', ONE, async () => {
    await host.page.locator('lectern-invite').getByLabel('Name of a co-host').fill('Ada Lovelace');
    await host.page.keyboard.press('Enter');
    const field = host.page.locator('lectern-invite').getByLabel('Link for Ada Lovelace', { exact: true });
    await field.waitFor();
    assert.notEqual(await field.inputValue(), link);
    ada = await Studio.at(browser, 'studio-sources-cohost-again', await field.inputValue());
    await ada.button('Camera').first().click();
    await seen(ada, 'camera');
    await ada.button('Go on air').click();
    await comes('main picture+sound', 'screen picture+sound', 'ada-lovelace picture+sound');
  });

  test('leaves; the lecture goes on', ONE, async () => {
    await ada.button('Stop').click();
    await ada.says('Off air');
    await comes('main picture+sound', 'screen picture+sound');
    assert.equal((await lectern.broadcast(ID)).on_air, true);
  });
});

test('a phone without screens to share offers none', ONE, async () => {
  const context = await browser.newContext(PHONE);
  const page = await context.newPage();
  await page.addInitScript(() => delete MediaDevices.prototype.getDisplayMedia);
  await page.goto(`${lectern.url}/studio/${ID}#token=${token}`);
  await page.locator('lectern-layout-bar').waitFor();
  assert.equal(await page.getByRole('button', { name: 'Share screen' }).count(), 0);
  if (SHOTS) await page.screenshot({ path: join(SHOTS, 'phone.png'), fullPage: true });
  await accessible(page, 'a phone', ['lectern-player']);
  await context.close();
});

test('the end ends all of it', ONE, async () => {
  await host.button('End the lecture…').click();
  await host.page.getByRole('dialog').getByRole('button', { name: 'End the lecture', exact: true }).click();
  await host.page.getByText('The lecture has ended').waitFor({ timeout: 60_000 });
  await ada.page.getByText('The lecture has ended').waitFor({ timeout: 60_000 });
  assert.equal(await host.page.evaluate(() => document.querySelector('lectern-studio').screen.shared), false, 'nobody’s screen is read any more');
  assert.equal((await lectern.api('PUT', `/broadcasts/${ID}/layout`, { token, body: { arrangement: 'auto' } })).status, 409);
  assert.deepEqual(host.errors.concat(ada.errors), []);
});
