/**
 * The soak: the demo, watched by Chromium for some minutes. No stall, and memory that does not grow.
 * Usage: node soak.mjs [MINUTES] (10 without; or SOAK_MINUTES)
 */
import assert from 'node:assert/strict';
import { availableParallelism, loadavg } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { launch } from './harness/browser.mjs';
import { Lectern } from './harness/lectern.mjs';
import { summary } from './harness/measure.mjs';
import { until } from './harness/until.mjs';
import { Viewer } from './harness/viewer.mjs';

const MINUTES = Number(process.argv[2] ?? process.env.SOAK_MINUTES ?? 10);
const SAMPLE_MS = 5_000;
/** Buffers fill and caches warm before memory is compared; of a short soak, its first half. */
const WARM_UP_MS = Math.min(60_000, MINUTES * 30_000);
/** The live window, the archive's write buffers and the allocator's own play; a leak of one part a second is past it in two minutes. */
const PLAY_MIB = 24;

const browser = await launch();
const lectern = await Lectern.start({ story: 'soak', config: '', args: ['--demo'] });
let failed = false;
try {
  await soak();
} catch (error) {
  failed = true;
  console.error(error);
} finally {
  await browser.close();
  await lectern.discard();
}
process.exit(failed ? 1 : 0);

async function soak() {
  const { id } = await until('the demo is live', async () => (await lectern.api('GET', '/broadcasts')).body.broadcasts.find(({ state }) => state === 'live'));
  const viewer = await Viewer.open(browser, 'soak', lectern.url, id);
  await viewer.plays();
  const [start, child] = [Date.now(), lectern.transcoderOf(id)];
  const samples = await watch(start, child);
  const { pictures, stalls } = await viewer.notes(start);
  const latency = pictures.filter(({ clock }) => clock !== null).map(({ wall, clock }) => wall - clock);
  const seconds = (Date.now() - start) / 1000;
  console.log(`${seconds.toFixed(0)} s watched: ${pictures.length} pictures, ${stalls.length} stalls`);
  console.log(`load of the machine: ${loadavg().map((load) => load.toFixed(1)).join(' ')} on ${availableParallelism()} cores`);
  console.log(`glass-to-glass latency: ${summary(latency)}`);
  const switches = pictures.filter(({ height }, i) => i > 0 && height !== pictures[i - 1].height);
  console.log(`switches of quality: ${switches.map(({ wall, height }) => `${height}p at ${moment(wall, start)}`).join(', ') || 'none'}`);
  for (const stall of stalls) console.log(`stalled at ${moment(stall.wall, start)}, ${stall.media.toFixed(2)} s of the lecture`);
  const growth = ['server', 'child'].map((who) => [who, tell(who, samples, seconds)]);
  assert.equal(lectern.transcoderOf(id), child, 'the transcoder did not live through it');
  for (const [who, mib] of growth) assert.ok(mib <= PLAY_MIB, `${who} grew by ${mib.toFixed(1)} MiB`);
  assert.equal(stalls.length, 0, 'the picture stalled');
}

function moment(wall, start) {
  return `${((wall - start) / 1000).toFixed(1)} s`;
}

/** @returns {Promise<{at: number, server: {mib: number, cpu: number}, child: {mib: number, cpu: number}}[]>} */
async function watch(start, child) {
  const samples = [];
  const look = (pid) => ({ mib: Lectern.memory(pid), cpu: Lectern.cpu(pid) });
  while (Date.now() < start + MINUTES * 60_000) {
    samples.push({ at: Date.now() - start, server: look(lectern.process.pid), child: look(child) });
    await sleep(SAMPLE_MS);
  }
  return samples;
}

/** Prints what a process has used. @returns {number} MiB by which it grew after the warm-up */
function tell(who, samples, seconds) {
  const [first, last] = [samples[0][who], samples.at(-1)[who]];
  const cpu = ((last.cpu - first.cpu) / seconds) * 100;
  const grew = growth(samples.filter(({ at }) => at >= WARM_UP_MS).map((sample) => sample[who].mib));
  console.log(`${who}: ${first.mib.toFixed(0)} → ${last.mib.toFixed(0)} MiB, ${grew.toFixed(1)} of them after the warm-up; ${cpu.toFixed(0)} % of a core`);
  return grew;
}

/** The last third against the first, by medians: single samples jump. */
function growth(values) {
  const third = Math.max(1, Math.floor(values.length / 3));
  const median = (some) => [...some].sort((a, b) => a - b)[Math.floor(some.length / 2)];
  return median(values.slice(-third)) - median(values.slice(0, third));
}
