/** A lecturer and two students in one room, with nothing but its buttons: modes, questions, polls, hands, moderation. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { accessible } from '../harness/access.mjs';
import { launch, newWindow } from '../harness/browser.mjs';
import { Lectern } from '../harness/lectern.mjs';
import { until } from '../harness/until.mjs';

const ID = 'logic';
const ONE = { timeout: 120_000 };

let browser, lectern, host, ana, bo;

/** Somebody on the watch page, and what they do in its room. */
class Visitor {
  static async enter(token, name, context) {
    const page = context ? await context.newPage() : await newWindow(browser, `room-${name}`);
    page.errors ??= [];
    page.setDefaultTimeout(20_000);
    await page.goto(`${lectern.url}/watch/${ID}#token=${token}`);
    const visitor = new Visitor(page);
    await until(`${name} is in the room`, () => page.evaluate(() => document.querySelector('lectern-room')?.connection?.room.status === 'joined'));
    return visitor;
  }

  constructor(page) {
    this.page = page;
    this.room = page.locator('lectern-room');
    this.messages = page.locator('lectern-messages');
    this.composer = page.locator('lectern-composer');
  }

  button(name, within = this.room) {
    return within.getByRole('button', { name });
  }

  async tab(name) {
    await this.room.getByRole('tab', { name }).click();
  }

  get box() {
    return this.composer.getByRole('textbox');
  }

  /** @param {string} text @param {string} [kind] `Question`, `To staff` */
  async say(text, kind) {
    await this.tab('Chat');
    if (kind) await this.composer.getByRole('radio', { name: kind }).check();
    await this.box.fill(text);
    await this.box.press('Enter');
  }

  /** In the list, as a message with its place. */
  message(text) {
    return this.messages.locator('[data-seq]', { hasText: text });
  }

  async sees(text, within = this.messages) {
    await within.getByText(text).first().waitFor();
  }

  async isTold(text) {
    await this.room.getByText(text).first().waitFor();
  }

  async choose(text, what) {
    await this.message(text).hover();
    await this.message(text).getByRole('button', { name: /^More about/ }).click();
    await this.room.getByRole('menuitem', { name: what }).click();
  }

  /** What no one sees takes the room's order to tell: after this everything before it has come. */
  async hasHeard(text) {
    await until(`"${text}" has come`, async () => (await this.message(text).count()) > 0);
  }

  /** Switches something in the settings, and waits until it holds here. */
  async set(label, value) {
    await this.button('Room settings').click();
    const dialog = this.room.getByRole('dialog', { name: 'Room settings' });
    if (value === undefined) await dialog.getByRole('radio', { name: label }).check();
    else await dialog.getByLabel(label).selectOption(value);
    await dialog.getByText('Saved.').waitFor();
    await this.page.keyboard.press('Escape');
    await dialog.waitFor({ state: 'hidden' });
  }
}

before(async () => {
  browser = await launch();
  lectern = await Lectern.start({ story: 'room' });
  const { token } = await lectern.create(ID, { title: 'Logic for everybody' });
  host = await Visitor.enter(token, 'host');
  ana = await Visitor.enter(await lectern.token(ID, 'participant', { name: 'Ana' }), 'ana');
  bo = await Visitor.enter(await lectern.token(ID, 'participant', { name: 'Bo' }), 'bo');
});

after(async () => {
  await browser?.close();
  await lectern?.discard();
});

describe('a room that is moderated', () => {
  test('shows what was written once somebody has approved it', ONE, async () => {
    await host.set('Moderated');
    await ana.isTold('What you write appears once the teaching team has approved it.');
    await ana.say('Is every tautology true?');
    await ana.isTold('It appears once the teaching team has approved it.');
    await host.say('Welcome!');
    await bo.hasHeard('Welcome!');
    assert.equal(await bo.message('Is every tautology true?').count(), 0);
    await host.tab('Review');
    await host.button('Approve', host.room.getByRole('group', { name: /^This message of Ana/ })).click();
    await bo.sees('Is every tautology true?');
    await until('it is there once for its writer', async () => (await ana.message('Is every tautology true?').count()) === 1);
  });

  test('and what was discarded to nobody', ONE, async () => {
    await bo.say('Buy my notes');
    await host.tab('Review');
    await host.button('Discard', host.room.getByRole('group', { name: /^This message of Bo/ })).click();
    await until('its writer sees that it is gone', async () => (await bo.message('Buy my notes').count()) === 0);
    await host.set('Open');
    await ana.say('Open again');
    await bo.sees('Open again');
    assert.equal(await ana.message('Buy my notes').count(), 0);
  });
});

describe('a question', () => {
  test('is asked, voted for, and answered', ONE, async () => {
    await ana.say('Why is material implication so odd?', 'Question');
    await bo.tab('Questions');
    const vote = bo.button(/^I want to know this too: Why is material implication/);
    await vote.click();
    await until('the vote is mine', async () => (await vote.getAttribute('aria-pressed')) === 'true');
    await host.tab('Questions');
    await host.room.getByRole('img', { name: '1 vote' }).waitFor();
    await host.button('Answered').click();
    await bo.sees('Answered', bo.page.locator('lectern-questions'));
  });

  test('is pinned for everybody', ONE, async () => {
    await host.button('Pin', host.page.locator('lectern-questions')).click();
    await ana.room.getByRole('region', { name: 'Pinned question' }).getByText('Why is material implication so odd?').waitFor();
    await host.room.getByRole('region', { name: 'Pinned question' }).getByRole('button', { name: 'Unpin' }).click();
    await ana.room.getByRole('region', { name: 'Pinned question' }).waitFor({ state: 'detached' });
  });
});

describe('a quiz', () => {
  test('keeps its results until its time is over, and tells what was right', ONE, async () => {
    await host.tab('Polls');
    await host.button('New poll').click();
    const dialog = host.room.getByRole('dialog', { name: /New (poll|quiz)/ });
    await dialog.getByRole('radio', { name: 'Quiz, with right answers' }).check();
    await dialog.getByRole('textbox', { name: 'Question' }).fill('Which follows from A and B?');
    await dialog.getByRole('textbox', { name: 'Answer 1' }).fill('A');
    await dialog.getByRole('textbox', { name: 'Answer 2' }).fill('Not A');
    await dialog.getByRole('checkbox', { name: 'Answer 1 is right' }).check();
    await dialog.getByRole('combobox', { name: /^Open/ }).selectOption('30 seconds');
    await dialog.getByLabel('Participants see the results').selectOption('when it closes');
    await dialog.getByRole('button', { name: 'Open the quiz' }).click();

    for (const [visitor, answer] of [[ana, 'A'], [bo, 'Not A']]) {
      await visitor.room.getByRole('region', { name: 'Quiz' }).getByRole('button', { name: 'Vote' }).click();
      await visitor.room.getByRole('radio', { name: answer, exact: true }).check();
      await visitor.button('Vote', visitor.page.locator('lectern-polls')).click();
      await visitor.sees('Your vote is in.', visitor.page.locator('lectern-polls'));
    }
    await ana.room.getByRole('timer').waitFor();
    assert.equal(await ana.page.locator('lectern-polls .part').count(), 0, 'no results yet');
    await host.sees('2 people voted', host.page.locator('lectern-polls'));
    await ana.sees('Right', ana.page.locator('lectern-polls'));
    assert.deepEqual(await ana.page.locator('lectern-polls .result').allInnerTexts().then((texts) => texts.map((text) => text.replaceAll('\n', ' ').trim())), ['A Right Your vote 50 %, 1 vote', 'Not A 50 %, 1 vote']);
    await accessible(ana.page, 'a closed quiz', ['lectern-player']);
  });
});

describe('people', () => {
  test('raise their hands, and are called upon in turn', ONE, async () => {
    await bo.button('Raise hand').click();
    await bo.isTold('Your hand is up. You are next.');
    await ana.button('Raise hand').click();
    await ana.isTold('number 2');
    await host.tab('People');
    await host.button('Lower the hand of Bo').click();
    await bo.button('Raise hand').waitFor();
    await ana.isTold('you are next');
    await ana.button(/^Hand up/).click();
    await host.sees('Nobody has a hand up.', host.room);
  });

  test('react, and see each other’s', ONE, async () => {
    await ana.page.evaluate(() => {
      const reactions = document.querySelector('lectern-room').renderRoot.querySelector('lectern-reactions');
      globalThis.floated = [];
      new MutationObserver(() => globalThis.floated.push(...[...reactions.renderRoot.querySelectorAll('.floating')].map(({ textContent }) => textContent))).observe(reactions.renderRoot, { childList: true, subtree: true });
    });
    await bo.button('Clapping').click();
    await until('it floats by', () => ana.page.evaluate(() => globalThis.floated.some((text) => text.includes('👏'))));
  });

  test('write to the teaching team alone', ONE, async () => {
    await ana.say('I cannot see the blackboard.', 'To staff');
    await host.tab('Chat');
    await host.sees('I cannot see the blackboard.');
    await host.say('Moving the camera.');
    await bo.hasHeard('Moving the camera.');
    assert.equal(await bo.message('I cannot see the blackboard.').count(), 0);
    await ana.composer.getByRole('radio', { name: 'Message' }).check();
  });

  test('with two windows are one person', ONE, async () => {
    const second = await Visitor.enter(await ana.page.evaluate(() => new URLSearchParams(location.hash.slice(1)).get('token')), 'ana-2', ana.page.context());
    await second.say('From the other window');
    await ana.tab('Chat');
    await ana.sees('From the other window');
    await bo.say('And who proves the axioms?', 'Question');
    await ana.tab('Questions');
    await second.tab('Questions');
    const vote = (visitor) => visitor.button(/^I want to know this too: And who proves/);
    await vote(ana).click();
    await until('the other window knows', async () => (await vote(second).getAttribute('aria-pressed')) === 'true');
    await vote(second).click();
    await until('and back', async () => (await vote(ana).getAttribute('aria-pressed')) === 'false');
    await second.page.close();
    await bo.composer.getByRole('radio', { name: 'Message' }).check();
  });
});

describe('order', () => {
  test('slow mode counts down, keeps the text and the focus', ONE, async () => {
    await host.set('Slow mode', '5000');
    await bo.say('One');
    await bo.sees('One');
    await until('it counts', async () => (await bo.composer.locator('.wait').count()) === 1);
    await bo.box.fill('Two');
    await bo.box.press('Enter');
    assert.equal(await bo.box.inputValue(), 'Two');
    assert.ok(await bo.box.evaluate((box) => box.matches(':focus')), 'the focus stays');
    await until('one can send again', async () => (await bo.button('Send').getAttribute('aria-disabled')) === 'false');
    await bo.box.press('Enter');
    await ana.tab('Chat');
    await ana.sees('Two');
    await host.set('Slow mode', '0');
  });

  test('one’s own message can be changed', ONE, async () => {
    await ana.say('Modus pones');
    await ana.choose('Modus pones', 'Edit');
    await until('it is in the box', async () => (await ana.box.inputValue()) === 'Modus pones');
    await ana.box.fill('Modus ponens');
    await ana.box.press('Enter');
    await bo.tab('Chat');
    await bo.sees('Modus ponens');
    await until('the box is for new ones again', async () => (await ana.box.inputValue()) === '');
  });

  test('staff delete what should not stand there', ONE, async () => {
    await bo.say('Something rude');
    await host.tab('Chat');
    await host.choose('Something rude', 'Delete');
    await host.room.getByRole('group', { name: 'Delete this message?' }).getByRole('button', { name: 'Delete' }).click();
    await until('nobody reads it', async () => (await ana.message('Something rude').count()) === 0);
  });

  test('and mute its writer, for a while', ONE, async () => {
    await host.tab('People');
    await host.button('Bo', host.page.locator('lectern-people')).click();
    const dialog = host.room.getByRole('dialog', { name: 'Bo' });
    await dialog.getByRole('button', { name: 'Mute' }).click();
    await bo.isTold('The teaching team has muted you: you can read, not write.');
    assert.equal(await bo.box.count(), 0);
    await dialog.getByRole('button', { name: 'Lift' }).click();
    await bo.isTold('You can write again.');
    await host.page.keyboard.press('Escape');
    await bo.say('Sorry.');
    await ana.sees('Sorry.');
  });

  test('a refused message comes back with the reason', ONE, async () => {
    await host.button('Room settings').click();
    const dialog = host.room.getByRole('dialog', { name: 'Room settings' });
    await dialog.getByLabel('Words that are refused').fill('pineapple');
    await dialog.getByRole('button', { name: 'Save words' }).click();
    await dialog.getByText('Saved.').waitFor();
    await host.page.keyboard.press('Escape');
    await bo.say('I like pineapple');
    await bo.composer.getByRole('alert').waitFor();
    assert.equal(await bo.box.inputValue(), 'I like pineapple');
    await bo.box.fill('');
  });
});

test('the pages complain of nothing', () => {
  assert.deepEqual([host, ana, bo].flatMap(({ page }) => page.errors), []);
});
