/** The player's stand-in for the server (`player/dev/mock.mjs`): rooms of every kind at once, without a lecture. */
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { join } from 'node:path';
import { freePort } from './port.mjs';

const PLAYER = join(import.meta.dirname, '../../player');

/** @returns {Promise<{url: string, close: () => void}>} */
export async function openMock() {
  const port = await freePort();
  const process_ = spawn('node', ['dev/mock.mjs'], { cwd: PLAYER, env: { ...process.env, PORT: String(port), EVERY: '0' }, stdio: ['ignore', 'pipe', 'inherit'] });
  for await (const line of createInterface({ input: process_.stdout })) if (line.includes('http://')) break;
  return { url: `http://127.0.0.1:${port}`, close: () => process_.kill() };
}
