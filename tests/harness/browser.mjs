/** Real Chromium, headless. */
import { createServer } from 'node:http';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { appendFileSync, mkdirSync } from 'node:fs';
import { extname, join } from 'node:path';
import { chromium } from 'playwright-core';
import { OUT } from './lectern.mjs';

const PAGES = join(import.meta.dirname, 'page');
const TYPES = { '.html': 'text/html', '.mjs': 'text/javascript' };
const FLAGS = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  '--autoplay-policy=no-user-gesture-required',
  '--use-fake-ui-for-media-stream',
  '--use-fake-device-for-media-stream',
  // Several windows of one machine: none of them is "in the background".
  '--disable-renderer-backgrounding',
  '--disable-backgrounding-occluded-windows',
  '--disable-background-timer-throttling',
];

/** @returns {Promise<import('playwright-core').Browser>} */
export const launch = () => chromium.launch({ executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', headless: true, args: FLAGS });

/**
 * A window of its own (own storage, own permissions), whose console goes to `out/{name}.console.log`.
 * @param {import('playwright-core').Browser} browser @param {string} name
 * @param {import('playwright-core').BrowserContextOptions} [options]
 */
export async function newWindow(browser, name, options = {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, ...options });
  const page = await context.newPage();
  mkdirSync(OUT, { recursive: true });
  const note = (line) => appendFileSync(join(OUT, `${name}.console.log`), `${new Date().toISOString()} ${line}\n`);
  page.on('console', (message) => note(`${message.type()}: ${message.text()}`));
  page.errors = [];
  page.on('pageerror', (error) => {
    note(`error: ${error.stack}`);
    page.errors.push(error.message);
  });
  return page;
}

/** Serves the pages of `page/` (a lecturer's own site, on another origin than the server's). */
export async function servePages() {
  const server = createServer(async (request, response) => {
    const name = new URL(request.url, 'http://page').pathname.slice(1);
    const body = /^[\w-]+\.\w+$/.test(name) ? await readFile(join(PAGES, name)).catch(() => null) : null;
    response.writeHead(body ? 200 : 404, { 'Content-Type': TYPES[extname(name)] ?? 'text/plain' }).end(body);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = /** @type {import('node:net').AddressInfo} */ (server.address());
  return { url: `http://127.0.0.1:${port}`, close: () => server.close() };
}

/** A module of `page/` as a script that a page can run before its own: its exports become `globalThis[name]`. */
export async function asInitScript(file, name) {
  const source = await readFile(join(PAGES, file), 'utf8');
  const names = [...source.matchAll(/^export (?:async )?(?:function|const|class) (\w+)/gm)].map(([, exported]) => exported);
  return `globalThis.${name} = (() => {\n${source.replace(/^export /gm, '')}\nreturn { ${names.join(', ')} };\n})();`;
}
