/**
 * Glass to glass, and where the time goes: a lecture with the picture clock, watched by Chromium.
 *
 *   node bench/latency.mjs [--minutes 10] [--profiles standard,interactive] [--ladder small] [--line-delay 100]
 *   node bench/latency.mjs --url https://other.example/live/index.m3u8 [--minutes 10]
 *
 * Without `--url` it starts Lectern and `lectern publish`, once for each latency profile, and watches by the watch page.
 * With it, any LL-HLS playlist whose pictures carry the picture clock of this machine, by a page with nothing but hls.js.
 */
import { readFileSync } from 'node:fs';
import { availableParallelism, loadavg } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { asInitScript, launch, newWindow } from '../harness/browser.mjs';
import { Lectern, SMALL_LADDER } from '../harness/lectern.mjs';
import { summary } from '../harness/measure.mjs';
import { quantile } from '../harness/probe.mjs';
import { ProcessPublisher } from '../harness/publisher/process.mjs';
import { until } from '../harness/until.mjs';
import { Viewer } from '../harness/viewer.mjs';

const ID = 'latency';
const SAMPLE_MS = 500;
/** A player that has just begun finds its place first. */
const SETTLING_MS = 10_000;
/** On the server, in the order that a picture passes them; docs/latency.md tells what each is. */
const STAGES = ['network', 'jitter_buffer', 'decode', 'grid', 'encode', 'encode_sound', 'part', 'publish', 'server'];
const MISSED = ['late_pictures', 'late_sound_samples', 'sound_gaps'];
const START = ['connected', 'packet', 'picture', 'listed'];

const { values: options } = parseArgs({
  options: {
    url: { type: 'string' },
    minutes: { type: 'string', default: process.env.MINUTES ?? '10' },
    profiles: { type: 'string', default: 'standard,interactive' },
    ladder: { type: 'string', default: 'default' },
    'line-delay': { type: 'string' },
  },
});
const MINUTES = Number(options.minutes);

const browser = await launch();
try {
  if (options.url) await foreign(options.url);
  else for (const profile of options.profiles.split(',')) await ours(profile);
  console.log(`load of the machine: ${loadavg().map((load) => load.toFixed(1)).join(' ')} on ${availableParallelism()} cores`);
} finally {
  await browser.close();
}

/** @param {string} profile `standard` is what a broadcast is without being asked */
async function ours(profile) {
  console.log(`\n# ${profile}`);
  const lectern = await Lectern.start({ story: `bench-latency-${profile}`, config: config() });
  let publisher;
  try {
    const token = await create(lectern, profile);
    if (!token) return;
    const viewer = await Viewer.open(browser, 'bench-latency', lectern.url, ID);
    publisher = ProcessPublisher.lectern('bench-latency', { url: `${lectern.url}/whip/${ID}`, token });
    const began = await viewer.plays(1);
    await tellStart(lectern, began[0].wall);
    await tellOpening(lectern);
    await watch(viewer.page, `${lectern.url}/broadcasts/${ID}/index.m3u8`, lectern);
    await viewer.close();
  } finally {
    await publisher?.stop();
    await lectern.discard();
  }
}

/** The ladder that was asked for, with the line delay that was asked for or the default. */
function config() {
  const ladder = options.ladder === 'small' ? SMALL_LADDER.replace(/line_delay_ms.*\n/, '') : '[transcoder]\n';
  return ladder + (options['line-delay'] ? `line_delay_ms = ${options['line-delay']}\n` : '');
}

/** @returns {Promise<string | null>} a host's token; null where the server knows no such profile */
async function create(lectern, profile) {
  if (profile === 'standard') return (await lectern.create(ID)).token;
  const operator = await lectern.token(null, 'operator');
  const { status, body } = await lectern.api('POST', '/broadcasts', { token: operator, body: { id: ID, title: ID, latency: profile } });
  if (status === 201) return body.token;
  console.log(`not measured: ${status} ${JSON.stringify(body)}`);
  return null;
}

/** From the publisher's POST to the first picture of a viewer who waited. @param {number} shown Unix ms */
async function tellStart(lectern, shown) {
  const posted = Date.parse(/^(\S+)\s.*\bpublishing$/m.exec(readFileSync(lectern.log, 'utf8').split('\n').findLast((line) => line.endsWith('publishing')) ?? '')?.[1] ?? '');
  const text = await (await lectern.get('/metrics')).text();
  const stages = START.map((stage) => `${stage} ${ms(gauge(text, 'lectern_start_seconds', stage) * 1000)}`);
  console.log(`time to first picture, from WHIP POST: ${ms(shown - posted)} (each after the one before: ${stages.join(', ')})`);
}

/** From opening the watch page of a lecture that is live to its first picture. */
async function tellOpening(lectern) {
  const viewer = await Viewer.open(browser, 'bench-latency-second', lectern.url, ID);
  const [first] = await viewer.plays(1);
  const opened = await viewer.page.evaluate(() => performance.timeOrigin);
  console.log(`time to first picture, from opening the watch page: ${ms(first.wall - opened)}`);
  await viewer.close();
}

/** Any LL-HLS: a page with hls.js and no more. */
async function foreign(url) {
  console.log(`\n# ${url}`);
  const page = await newWindow(browser, 'bench-latency-foreign', { ignoreHTTPSErrors: true });
  await page.addInitScript(await asInitScript('picture-clock.mjs', 'pictureClock'));
  await page.addInitScript(`${await asInitScript('watching.mjs', 'watching')}\nwatching.start();`);
  const library = readFileSync(join(import.meta.dirname, '../node_modules/hls.js/dist/hls.min.js'), 'utf8');
  // Of the measured server's own origin, so that it need not allow another one.
  const address = new URL('/bench-latency.html', url).href;
  await page.route(address, (route) => route.fulfill({ contentType: 'text/html', body: `<video muted autoplay playsinline></video><script>${library}</script>` }));
  const opened = Date.now();
  await page.goto(address);
  await page.evaluate((source) => {
    globalThis.hls = new globalThis.Hls({ lowLatencyMode: true });
    globalThis.hls.loadSource(source);
    globalThis.hls.attachMedia(document.querySelector('video'));
  }, url);
  await until('a picture with a clock', () => page.evaluate(() => watching.notes().pictures.some(({ clock }) => clock !== null)));
  const first = await page.evaluate(() => watching.notes().pictures.find(({ clock }) => clock !== null));
  console.log(`time to first picture, from opening the page: ${ms(first.wall - opened)}`);
  await watch(page, url, null);
  await page.context().close();
}

/** Watches and prints. @param {import('playwright-core').Page} page @param {string} url @param {Lectern | null} lectern where it is ours */
async function watch(page, url, lectern) {
  await sleep(SETTLING_MS);
  const since = Date.now();
  const before = lectern && (await (await lectern.get('/metrics')).text());
  const samples = [];
  while (Date.now() < since + MINUTES * 60_000) {
    samples.push(await page.evaluate(playerStages));
    await sleep(SAMPLE_MS);
  }
  const after = lectern && (await (await lectern.get('/metrics')).text());
  const { pictures, stalls } = await page.evaluate((from) => watching.notes(from), since);
  const glass = pictures.filter(({ clock }) => clock !== null).map(({ wall, clock }) => wall - clock);
  console.log(`glass to glass over ${((Date.now() - since) / 60_000).toFixed(1)} min: ${summary(glass)}; ${stalls.length} stalls, ${pictures.length - glass.length} pictures unreadable`);
  const holdBack = await partHoldBack(url);
  if (holdBack !== null && glass.length) console.log(`p50 − PART-HOLD-BACK (${ms(holdBack)}): ${ms(quantile(glass, 0.5) - holdBack)}`);
  if (lectern) tellStages(before, after, glass, samples);
  else tellPlayer(samples);
}

function tellStages(before, after, glass, samples) {
  console.log('| stage | p5 | p50 | p95 | mean |\n|---|---|---|---|---|');
  const server = STAGES.map((stage) => ({ stage, ...histogram(after, stage, histogram(before, stage)) }));
  for (const { stage, p5, p50, p95, mean } of server.map(read)) console.log(`| ${stage} | ${[p5, p50, p95, mean].map(ms).join(' | ')} |`);
  const whole = read(server.at(-1)).p50;
  console.log(`| fetch, buffer and display (glass to glass − server) | | ${ms(quantile(glass, 0.5) - whole)} | | |`);
  tellPlayer(samples);
  const counted = (metrics, name) => metrics.split('\n').filter((line) => line.startsWith(`${name}{`)).reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' '))), 0);
  const missed = MISSED.map((name) => `${name.replace(/_/g, ' ')} ${counted(after, `lectern_transcoder_${name}_total`) - counted(before, `lectern_transcoder_${name}_total`)}`);
  console.log(`came too late for D: ${missed.join(', ')}`);
}

/** What the player says of itself. */
function tellPlayer(samples) {
  for (const name of new Set(samples.flatMap(Object.keys))) {
    const values = samples.map((sample) => sample[name]).filter((value) => typeof value === 'number');
    if (values.length) console.log(`| player: ${name} | | ${quantile(values, 0.5).toFixed(name === 'rate' ? 3 : 0)} | ${quantile(values, 0.95).toFixed(name === 'rate' ? 3 : 0)} | |`);
  }
}

/** Runs in the page. */
function playerStages() {
  const video = watching.video();
  const end = video.buffered.length ? video.buffered.end(video.buffered.length - 1) : video.currentTime;
  const { hls } = globalThis;
  const plain = { bufferMs: (end - video.currentTime) * 1000, rate: video.playbackRate, ...(hls && { latencyMs: hls.latency * 1000, targetMs: hls.targetLatency * 1000 }) };
  return watching.player()?.latencyStages ?? plain;
}

/** PART-HOLD-BACK of the first variant, ms. */
async function partHoldBack(url) {
  const text = async (at) => (await fetch(at)).text();
  const multivariant = await text(url);
  const variant = multivariant.split('\n').find((line) => line && !line.startsWith('#'));
  const media = multivariant.includes('#EXT-X-STREAM-INF') ? await text(new URL(variant.trim(), url)) : multivariant;
  const found = /PART-HOLD-BACK=([\d.]+)/.exec(media);
  return found ? Number(found[1]) * 1000 : null;
}

/** A stage's buckets, less those of another time. */
function histogram(metrics, stage, less = { buckets: [], sum: 0, count: 0 }) {
  const of = (suffix) => metrics.split('\n').filter((line) => line.startsWith(`lectern_latency_seconds_${suffix}{`) && line.includes(`stage="${stage}"`));
  const value = (line) => Number(line.slice(line.lastIndexOf(' ')));
  const total = (suffix) => of(suffix).reduce((sum, line) => sum + value(line), 0);
  const buckets = of('bucket').map((line, i) => ({ le: Number(/le="([^"]+)"/.exec(line)[1].replace('+Inf', 'Infinity')), count: value(line) - (less.buckets[i]?.all ?? 0), all: value(line) }));
  return { buckets, sum: total('sum') - less.sum, count: total('count') - less.count };
}

/** @returns {{stage: string, p5: number, p50: number, p95: number, mean: number}} ms, linear within a bucket */
function read({ stage, buckets, sum, count }) {
  const at = (share) => {
    const i = buckets.findIndex((bucket) => bucket.count >= share * count);
    if (i < 0 || count === 0) return NaN;
    const [low, below] = i ? [buckets[i - 1].le, buckets[i - 1].count] : [0, 0];
    const { le, count: upTo } = buckets[i];
    return 1000 * (le === Infinity ? low : low + ((le - low) * (share * count - below)) / Math.max(1, upTo - below));
  };
  return { stage, p5: at(0.05), p50: at(0.5), p95: at(0.95), mean: (1000 * sum) / count };
}

function gauge(metrics, name, stage) {
  const line = metrics.split('\n').find((text) => text.startsWith(`${name}{`) && text.includes(`stage="${stage}"`));
  return line ? Number(line.slice(line.lastIndexOf(' '))) : NaN;
}

function ms(value) {
  return Number.isFinite(value) ? `${value.toFixed(value < 10 ? 1 : 0)} ms` : '–';
}
