/** The page of the list of messages alone (player/dev/list.html), built and served. */
import { execFile } from 'node:child_process';
import { createServer } from 'node:http';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { extname, join } from 'node:path';
import { promisify } from 'node:util';

const PLAYER = join(import.meta.dirname, '../../player');
const TYPES = { '.html': 'text/html', '.js': 'text/javascript', '.css': 'text/css' };

export async function serveListPage() {
  const folder = await mkdtemp(join(tmpdir(), 'lectern-list-'));
  await promisify(execFile)('npx', ['vite', 'build', '--config', 'dev/list.config.ts', '--outDir', folder], { cwd: PLAYER });
  const server = createServer(async (request, response) => {
    const path = new URL(request.url, 'http://page').pathname;
    const body = await readFile(join(folder, path)).catch(() => null);
    response.writeHead(body ? 200 : 404, { 'Content-Type': TYPES[extname(path)] ?? 'text/plain' }).end(body);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = /** @type {import('node:net').AddressInfo} */ (server.address());
  const close = async () => {
    server.close();
    await rm(folder, { recursive: true });
  };
  return { url: `http://127.0.0.1:${port}/list.html`, close };
}
