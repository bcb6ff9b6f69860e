/** What a page's accessibility can be told by a machine: axe-core's rules for WCAG 2.2 A and AA, through every shadow. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';

const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const STANDARDS = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'];

/** @param {import('playwright-core').Page} page @param {string} what @param {string[]} [but] what is not looked at */
export async function accessible(page, what, but = []) {
  await page.evaluate(AXE);
  const { violations } = await page.evaluate(({ values, exclude }) => globalThis.axe.run({ exclude }, { runOnly: { type: 'tag', values }, resultTypes: ['violations'] }), { values: STANDARDS, exclude: but });
  const found = violations.flatMap(({ id, help, nodes }) => nodes.map(({ target, failureSummary }) => `${id}: ${help}\n  ${target.flat().join(' >> ')}\n  ${failureSummary.replaceAll('\n', ' ')}`));
  assert.equal(found.join('\n'), '', `${what} is not accessible`);
}
