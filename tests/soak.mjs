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
  const [start, child] = [Date.now(), lectern.children()[0]];
  const samples = await watch(start, child);
  const { pictures, stalls } = await viewer.notes(start);
  const latency = pictures.filter(({ clock }) => clock !== null).map(({ wall, clock }) => wall - clock);
  const seconds = (Date.now() - start) / 1000;
  console.log(`${seconds.toFixed(0)} s watched: ${pictures.length} pictures, ${stalls.length} stalls`);
  console.log(`load of the machine: ${loadavg().map((load) => load.toFixed(1)).join(' ')} on ${availableParallelism()} cores`);
  console.log(`glass-to-glass latency: ${summary(latency)}`);
  for (const who of ['server', 'child']) report(who, samples, seconds);
  assert.deepEqual(stalls, [], 'the picture stalled');
  assert.deepEqual(lectern.children(), [child], 'the transcoder did not live through it');
  for (const who of ['server', 'child']) assertFlat(who, samples.map((sample) => ({ at: sample.at, mib: sample[who].mib })));
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

function report(who, samples, seconds) {
  const [first, last] = [samples[0][who], samples.at(-1)[who]];
  const cpu = ((last.cpu - first.cpu) / seconds) * 100;
  console.log(`${who}: ${first.mib.toFixed(0)} → ${last.mib.toFixed(0)} MiB, ${cpu.toFixed(0)} % of a core`);
}

/** The end is compared with the time after the warm-up, by medians: single samples jump. */
function assertFlat(who, samples) {
  const warm = samples.filter(({ at }) => at >= WARM_UP_MS);
  const third = Math.max(1, Math.floor(warm.length / 3));
  const median = (some) => some.map(({ mib }) => mib).sort((a, b) => a - b)[Math.floor(some.length / 2)];
  const growth = median(warm.slice(-third)) - median(warm.slice(0, third));
  console.log(`${who}: grew by ${growth.toFixed(1)} MiB after the warm-up`);
  assert.ok(growth <= PLAY_MIB, `${who} grew by ${growth.toFixed(1)} MiB`);
}
