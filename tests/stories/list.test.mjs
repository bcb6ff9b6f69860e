/**
 * The list of messages as its reader meets it: it follows, it holds still, it keeps the place and the focus, whatever
 * comes and goes. In a real browser, on the page of the list alone.
 */
import assert from 'node:assert/strict';
import { after, before, beforeEach, describe, test } from 'node:test';
import { accessible } from '../harness/access.mjs';
import { launch, newWindow } from '../harness/browser.mjs';
import { serveListPage } from '../harness/list-page.mjs';
import { until } from '../harness/until.mjs';

const PHONE = { width: 390, height: 700 };
const ME = { id: 'me', name: 'Me', role: 'participant' };
const HOST = { id: 'host', name: 'Prof. Okafor', role: 'host' };
/** Fractions of pixels, and a line's rounding. */
const STILL_PX = 2;

let browser, site, page;

before(async () => {
  browser = await launch();
  site = await serveListPage();
});

after(async () => {
  await browser?.close();
  await site?.close();
});

beforeEach(async () => {
  await page?.context().close();
  page = await newWindow(browser, 'list', { viewport: PHONE });
  await page.goto(site.url);
  await page.waitForFunction(() => globalThis.bench);
});

/** A list of `count` messages for `you`, at its end. */
async function open(count, you = HOST) {
  await page.evaluate(([many, who]) => bench.open(who.role === 'participant' ? 'window, participant' : 'window, staff', many, who), [count, you]);
  await atEnd(count);
}

/** So many more messages at once. */
const say = (count, more = {}) => page.evaluate(([many, fields]) => bench.say(Array.from({ length: many }, () => bench.text(bench.skip(1) - 1, fields))), [count, more]);
/** Something else happens. */
const happens = (event) => page.evaluate((fields) => bench.say([{ seq: bench.skip(1) - 1, at: 0, sent: Date.now(), author: bench.people[7], ...fields }]), event);

/** What can be seen: messages by seq, and how far below the list's top. */
const seen = () =>
  page.evaluate(() => {
    const scroller = bench.list().shadowRoot.querySelector('.scroller');
    const box = scroller.getBoundingClientRect();
    return [...scroller.querySelectorAll('li[data-seq]')]
      .map((row) => ({ seq: Number(row.dataset.seq), top: row.getBoundingClientRect().top - box.top, bottom: row.getBoundingClientRect().bottom - box.top }))
      .filter(({ top, bottom }) => bottom > 1 && top < box.height - 1);
  });

const atEnd = (seq) => until(`message ${seq} stands at the end`, async () => (await seen()).at(-1)?.seq === seq);
const focused = () => page.evaluate(() => bench.list().shadowRoot.activeElement?.closest('li')?.dataset.seq ?? bench.list().shadowRoot.activeElement?.className ?? null);
const button = (name) => page.getByRole('button', { name });

/** Two frames: whatever would move has moved. */
const settled = () => page.evaluate(() => new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(resolve, 50)))));

async function scrollUp(pixels) {
  await page.mouse.move(200, 350);
  await page.mouse.wheel(0, -pixels);
  await until('the list has moved', async () => page.evaluate(() => {
    const scroller = bench.list().shadowRoot.querySelector('.scroller');
    return scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight > 100;
  }));
  await page.mouse.move(200, 5);
  await settled();
}

/** The messages that are seen before and after do not move while `act` happens. */
async function assertStill(act) {
  await settled();
  const before = await seen();
  await act();
  await settled();
  const now = await seen();
  const common = before.filter(({ seq }) => now.some((one) => one.seq === seq));
  assert.ok(common.length >= before.length / 2, `${common.length} of ${before.length} messages are still to be seen`);
  for (const { seq, top } of common) {
    const moved = now.find((one) => one.seq === seq).top - top;
    assert.ok(Math.abs(moved) <= STILL_PX, `message ${seq} moved by ${moved} px`);
  }
}

describe('a reader at the end', () => {
  test('sees each new message, in few elements', async () => {
    await open(10_000);
    for (let i = 1; i <= 5; i++) {
      await say(20);
      await atEnd(10_000 + 20 * i);
    }
    const rows = await page.evaluate(() => bench.list().shadowRoot.querySelectorAll('li').length);
    assert.ok(rows < 80, `${rows} rows in the page`);
  });

  test('leaves nothing behind of what went by', async () => {
    await open(500);
    const nodes = () => page.evaluate(() => {
      const walker = document.createTreeWalker(bench.list().shadowRoot.querySelector('ol'), NodeFilter.SHOW_ALL);
      let count = 0;
      while (walker.nextNode()) count += 1;
      return count;
    });
    const before = await nodes();
    for (let i = 1; i <= 20; i++) {
      await say(25);
      await atEnd(500 + 25 * i);
    }
    const after = await nodes();
    assert.ok(after < before * 1.5, `${before} nodes, then ${after}`);
  });

  test('is not moved from it by a smaller window', async () => {
    await open(300);
    await page.setViewportSize({ width: 390, height: 400 });
    await atEnd(300);
    await page.setViewportSize({ width: 360, height: 600 });
    await atEnd(300);
  });
});

describe('a reader further up', () => {
  test('keeps the place while messages arrive, and comes back with one press', async () => {
    await open(1000);
    await scrollUp(3000);
    await assertStill(() => say(40));
    await assertStill(() => say(1));
    await button('41 new').click();
    await atEnd(1041);
    await say(1);
    await atEnd(1042);
  });

  test('keeps the place while messages above it, and at it, go', async () => {
    await open(1000);
    await scrollUp(3000);
    const [first, second] = await seen();
    await assertStill(() => happens({ kind: 'discard', target: first.seq - 30 }));
    await assertStill(() => happens({ kind: 'discard', target: first.seq }));
    await assertStill(() => happens({ kind: 'delete', target: second.seq - 40 }));
  });

  test('keeps the place while older history is put before it', async () => {
    await open(300);
    await page.evaluate(() => {
      // As of a room that has been going on for long: the first 200 are not here.
      bench.log.restart({ from: 201, to: 300 }, Array.from({ length: 100 }, (_, i) => bench.text(201 + i)));
      bench.set({ messages: bench.log.messages, earlier: true });
      bench.list().addEventListener('earlier', () => {
        const from = Math.max(1, bench.log.low - 50);
        const range = { from, to: bench.log.low - 1 };
        setTimeout(() => {
          bench.log.filled(range, range, Array.from({ length: range.to - from + 1 }, (_, i) => bench.text(from + i)));
          bench.set({ messages: bench.log.messages, earlier: from > 1 });
        }, 100);
      });
    });
    await settled();
    await scrollUp(100_000);
    const low = () => page.evaluate(() => bench.log.low);
    await until('older messages are there', async () => (await low()) < 201);
    await settled();
    const before = await seen();
    await assertStill(async () => {
      await page.evaluate(() => bench.list().dispatchEvent(new Event('earlier')));
      const was = await low();
      await until('more of them', async () => (await low()) < was);
    });
    assert.equal((await seen())[0].seq, before[0].seq);
  });

  test('goes to the first message and to the last by keys, and sees where they are', async () => {
    await open(2000);
    await page.keyboard.press('Tab');
    await page.evaluate(() => bench.list().focus());
    await page.keyboard.press('ArrowUp');
    assert.equal(await focused(), '2000');
    await page.keyboard.press('ArrowUp');
    assert.equal(await focused(), '1999');
    await page.keyboard.press('Home');
    await until('the first message', async () => (await focused()) === '1' && (await seen())[0].seq === 1);
    const [position, size] = await page.evaluate(() => ['aria-posinset', 'aria-setsize'].map((name) => bench.list().shadowRoot.activeElement.getAttribute(name)));
    assert.deepEqual([position, size], ['1', '2000']);
    await page.keyboard.press('PageDown');
    const below = Number(await focused());
    assert.ok(below > 3 && below < 40, `a page down is message ${below}`);
    await page.keyboard.press('End');
    await until('the last message', async () => (await focused()) === '2000' && (await seen()).at(-1).seq === 2000);
  });

  test('keeps the focus where its message is scrolled away, and where it goes', async () => {
    await open(500);
    await page.evaluate(() => bench.list().focus());
    for (let i = 0; i < 3; i++) await page.keyboard.press('ArrowUp');
    assert.equal(await focused(), '498');
    await say(100);
    await settled();
    assert.equal(await focused(), '498');
    await happens({ kind: 'discard', target: 498 });
    await until('the next message has it', async () => (await focused()) === '499');
    await scrollUp(6000);
    assert.equal(await focused(), '499');
    await happens({ kind: 'erase', person: await page.evaluate(() => bench.text(499).author.id) });
    await settled();
    assert.match(await focused(), /^\d+$/);
  });

  test('finds what a reply is to', async () => {
    await open(3000);
    await say(1, { reply_to: 40 });
    await atEnd(3001);
    await button(/In reply to/).click();
    await until('the message is there', async () => (await focused()) === '40');
    assert.ok((await seen()).some(({ seq }) => seq === 40));
  });
});

describe('holding still', () => {
  test('the chat is paused and goes on where it is', async () => {
    await open(200);
    await button('Pause chat').click();
    await assertStill(() => say(15));
    assert.equal((await seen()).at(-1).seq, 200);
    await happens({ kind: 'delete', target: 200 });
    await until('what is deleted goes all the same', () => page.getByText('Message deleted').isVisible());
    await button('Resume chat').click();
    await atEnd(215);
  });

  test('the pointer over it holds it, and lets it go', async () => {
    await open(200);
    await page.mouse.move(200, 300);
    await page.mouse.move(200, 310);
    await assertStill(() => say(5));
    await page.mouse.move(200, 5);
    await atEnd(205);
  });

  test('a message that has the focus holds it', async () => {
    await open(200);
    await page.evaluate(() => bench.list().focus());
    await page.keyboard.press('ArrowUp');
    await assertStill(() => say(5));
    await page.keyboard.press('Escape');
    await atEnd(205);
  });
});

test('who presses beside the list keeps the focus there', async () => {
  await open(200);
  await page.evaluate(() => {
    const main = document.querySelector('main');
    main.style.display = 'flex';
    main.append(Object.assign(document.createElement('p'), { textContent: 'Beside' }));
    bench.list().style.flex = '1';
  });
  await page.evaluate(() => bench.list().focus());
  await page.keyboard.press('ArrowUp');
  await page.getByText('Beside').click();
  await say(5);
  await atEnd(205);
  assert.equal(await focused(), null);
});

describe('a rate that nobody can read', () => {
  test('is thinned for participants, with a note that shows all', async () => {
    await open(50, ME);
    await say(40);
    await until('the note', () => page.getByText('30 messages not shown').isVisible());
    await say(1, { author: HOST, body: 'From the host' });
    await until('the host is seen', () => page.getByText('From the host').isVisible());
    await button('Show all').click();
    await until('all of them', async () => page.evaluate(() => !bench.list().shadowRoot.querySelector('.note') && Number(bench.list().shadowRoot.activeElement?.dataset.seq) === 61));
  });

  test('is whole for staff', async () => {
    await open(50);
    await say(40);
    await atEnd(90);
    assert.equal(await page.getByText('not shown').count(), 0);
  });
});

describe('what one does with a message', () => {
  const acts = () => page.evaluate(() => bench.acts);
  const listen = () => page.evaluate(() => {
    bench.acts = [];
    bench.list().addEventListener('act', ({ detail }) => bench.acts.push([detail.what, detail.message.seq]));
  });

  test('is in a menu that keys reach, and the focus comes back', async () => {
    await open(100);
    await listen();
    await page.evaluate(() => bench.list().focus());
    await page.keyboard.press('ArrowUp');
    await page.keyboard.press('Enter');
    await until('the menu', () => page.getByRole('menu').isVisible());
    await page.keyboard.press('Escape');
    await until('the focus is back', async () => (await focused()) === '100');
    await page.keyboard.press('Enter');
    await until('the menu again', () => page.getByRole('menu').isVisible());
    while ((await page.evaluate(() => bench.list().shadowRoot.activeElement?.textContent)) !== 'Pin') await page.keyboard.press('ArrowDown');
    await page.keyboard.press('Enter');
    assert.deepEqual(await acts(), [['pin', 100]]);
    await until('the focus is back again', async () => (await focused()) === '100');
  });

  test('to delete is asked first', async () => {
    await open(100);
    await listen();
    await page.evaluate(() => bench.list().focus());
    await page.keyboard.press('ArrowUp');
    await page.keyboard.press('Enter');
    await page.getByRole('menuitem', { name: 'Delete' }).press('Enter');
    await until('the question has the focus', async () => page.evaluate(() => bench.list().shadowRoot.activeElement?.textContent === 'Delete'));
    assert.deepEqual(await acts(), []);
    await page.keyboard.press('Enter');
    assert.deepEqual(await acts(), [['delete', 100]]);
    await until('the message has it', async () => (await focused()) === '100');
  });
});

describe('what is written in messages', () => {
  const said = async (...bodies) => {
    await open(1, ME);
    for (const body of bodies) await say(1, { body, author: HOST });
    await settled();
  };
  const inList = (ask) => page.evaluate(`(() => { const root = bench.list().shadowRoot; return (${ask})(root); })()`);

  test('formulas are set, and what is none stays as it was written', async () => {
    await said('$\\frac{a}{b}$ and $$\\sum_{i=1}^n i$$', '$\\frac{$ here', '$\\def\\a{b}\\a$ there');
    await until('two formulas', () => inList("(root) => root.querySelectorAll('lectern-math math').length === 2"));
    assert.deepEqual(await inList("(root) => [...root.querySelectorAll('lectern-math.source')].map((one) => one.textContent)"), ['$\\frac{$', '$\\def\\a{b}\\a$']);
  });

  test('no formula reaches out of its place, links, or hangs', async () => {
    const nasty = ['\\rule{1000em}{1000em}', 'x\\kern-200em y', '\\hspace{-90em}x', '\\raisebox{90em}{x}', '\\href{javascript:alert(1)}{x}', '\\ref{b}', '\\text{<img src=x onerror=alert(1)>}', '\\style{position:fixed}{x}',
      '\\textcolor{red;position:fixed}{x}', `${'{'.repeat(190)}${'}'.repeat(190)}`, '\\sqrt{'.repeat(50) + 'x' + '}'.repeat(50), '\\def\\a#1{\\a{#1#1}}\\a x', '\\smash{\\rule{9em}{99em}}', '\\Huge '.repeat(40) + 'x'];
    await said(...nasty.map((one) => `$${one}$`), 'after all of it');
    await until('the last of them', () => page.getByText('after all of it').isVisible());
    await until('some are set', () => inList("(root) => root.querySelectorAll('lectern-math math').length > 4"));
    assert.deepEqual(await inList("(root) => [...root.querySelectorAll('lectern-math *')].filter((one) => one.namespaceURI !== 'http://www.w3.org/1998/Math/MathML' || one.hasAttribute('href')).map((one) => one.outerHTML)"), []);
    const out = await inList(`(root) => [...root.querySelectorAll('lectern-math:not(.source)')].filter((one) => {
      const [inner, outer] = [one.getBoundingClientRect(), one.closest('li').getBoundingClientRect()];
      return getComputedStyle(one).overflowX === 'visible' || inner.right > outer.right || inner.left < outer.left || inner.height > 200;
    }).map((one) => one.textContent)`);
    assert.deepEqual(out, []);
    assert.deepEqual(page.errors, []);
  });

  test('what looks like a page is text', async () => {
    await said('<img src=x onerror="document.title=1"> <script>document.title=2</script> javascript:alert(1) **<b>x</b>**');
    await until('it is there', () => page.getByText('<script>').isVisible());
    assert.equal(await inList("(root) => root.querySelectorAll('.body img, .body script, .body b, .body a').length"), 0);
    assert.equal(await page.title(), 'The list alone');
  });
});

describe('for everybody', () => {
  const status = () => page.getByRole('status').textContent();

  test('what arrives is summed up for a screen reader, as much of it as its reader wants', async () => {
    await open(20, ME);
    await say(3);
    await until('a summary', async () => /^3 new messages\. .+: .+/.test(await status()));
    await until('it is gone again', async () => (await status()) === '');
    await button('Options').click();
    await page.getByRole('radio', { name: 'Mentions, answers and staff' }).check();
    await page.keyboard.press('Escape');
    await say(1, { author: HOST, body: 'Said by staff' });
    await until('staff is read out', async () => (await status()) === 'Prof. Okafor: Said by staff');
    await say(2, { author: { id: 'x', name: 'X', role: 'participant' }, body: 'Said by X' });
    await say(1, { author: HOST, body: 'Said after it' });
    await until('and only staff', async () => (await status()) === 'Prof. Okafor: Said after it');
    await page.reload();
    await page.waitForFunction(() => globalThis.bench);
    await open(20, ME);
    await button('Options').click();
    assert.ok(await page.getByRole('radio', { name: 'Mentions, answers and staff' }).isChecked(), 'the choice is kept');
  });

  test('what is urgent is said at once', async () => {
    await open(20, ME);
    await page.evaluate(() => bench.list().alert('You were muted.'));
    assert.equal(await page.getByRole('alert').textContent(), 'You were muted.');
  });

  for (const [who, you] of Object.entries({ participant: ME, host: HOST })) {
    for (const colorScheme of ['light', 'dark']) {
      test(`every kind of message, as a ${who} has it, ${colorScheme}`, async () => {
        await page.emulateMedia({ colorScheme });
        await page.evaluate((one) => {
          bench.open(one.role === 'host' ? 'window, staff' : 'window, participant', 2, one);
          bench.furnish(one);
        }, you);
        await until('its last one', () => page.getByText('On its way').isVisible());
        await accessible(page, `messages-${who}-${colorScheme}`);
        await button('Options').click();
        await accessible(page, `options-${who}-${colorScheme}`);
        await page.keyboard.press('Escape');
        await page.evaluate(() => bench.list().focus());
        for (let i = 0; i < 3; i++) await page.keyboard.press('ArrowUp');
        await page.keyboard.press('Enter');
        await until('the menu', () => page.getByRole('menu').isVisible());
        await accessible(page, `menu-${who}-${colorScheme}`);
        await page.keyboard.press('Escape');
        await button('Pause chat').click();
        await say(30);
        await accessible(page, `paused-${who}-${colorScheme}`);
      });
    }
  }
});
