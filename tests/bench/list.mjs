/**
 * The list of messages in Chromium: 10,000 messages, then 200 a second. Four lists take the same feed one after the
 * other: the window (as staff, who see all, and as a participant, for whom it is thinned), the last 200 messages without a
 * window, and all of them with `content-visibility`.
 *
 *     node bench/list.mjs [seconds]
 */
import { launch } from '../harness/browser.mjs';
import { serveListPage } from '../harness/list-page.mjs';
import { quantile } from '../harness/probe.mjs';

const MESSAGES = 10_000;
const PER_SECOND = 200;
const SECONDS = Number(process.argv[2] ?? 60);
const KINDS = ['window, staff', 'window, participant', 'last 200', 'content-visibility'];

const { url, close } = await serveListPage();
const browser = await launch();
const rows = [];
for (const kind of KINDS) rows.push(await measure(kind));
await browser.close();
await close();

console.log(`${MESSAGES} messages, then ${PER_SECOND}/s for ${SECONDS} s`);
console.table(Object.fromEntries(rows));

async function measure(kind) {
  const page = await browser.newPage({ viewport: { width: 390, height: 844 } });
  await page.goto(url);
  await page.waitForFunction(() => globalThis.bench);
  const opened = await page.evaluate(async ([name, count]) => {
    const began = performance.now();
    bench.open(name, count);
    await new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve)));
    return performance.now() - began;
  }, [kind, MESSAGES]);
  const session = await page.context().newCDPSession(page);
  // Processor time of the page's thread, which others on the machine do not lengthen.
  await session.send('Performance.enable', { timeDomain: 'threadTicks' });
  const before = await metrics(session);
  const { frames, longTasks, nodes, shown } = await page.evaluate(([rate, seconds]) => bench.feed(rate, seconds), [PER_SECOND, SECONDS]);
  const after = await metrics(session);
  await session.send('HeapProfiler.collectGarbage');
  const { JSHeapUsedSize } = await metrics(session);
  await page.close();
  return [kind, {
    'opened, ms': Math.round(opened),
    'frame p50, ms': quantile(frames, 0.5).toFixed(1),
    'p95': quantile(frames, 0.95).toFixed(1),
    'max': Math.max(...frames).toFixed(0),
    'long tasks': longTasks.length,
    'of ms': Math.round(longTasks.reduce((sum, ms) => sum + ms, 0)),
    'CPU of its thread, %': ((100 * (after.TaskDuration - before.TaskDuration)) / SECONDS).toFixed(0),
    'nodes': nodes,
    'heap, MB': (JSHeapUsedSize / 1e6).toFixed(1),
    'at the end': shown,
  }];
}

async function metrics(session) {
  const { metrics: all } = await session.send('Performance.getMetrics');
  return Object.fromEntries(all.map(({ name, value }) => [name, value]));
}
