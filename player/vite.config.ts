import { readFile, writeFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { promisify } from 'node:util';
import { constants, gzip } from 'node:zlib';
import { defineConfig } from 'vite';

/** Where `vite dev` finds a running server: `lectern serve --demo`, or `npm run mock`. */
const server = process.env.LECTERN_URL ?? 'http://localhost:8080';
const page = (name: string) => resolve(import.meta.dirname, `${name}.html`);

const compress = async (file: string): Promise<void> =>
  writeFile(`${file}.gz`, await promisify(gzip)(await readFile(file), { level: constants.Z_BEST_COMPRESSION }));

export default defineConfig({
  appType: 'mpa',
  build: {
    target: 'es2022',
    // Everything is a file with its hash in its name: nothing inline for a policy to forbid.
    assetsInlineLimit: 0,
    rollupOptions: { input: { index: page('index'), watch: page('watch'), studio: page('studio') } },
    // hls.js alone is 600 kB; it is loaded by the watch page only.
    chunkSizeWarningLimit: 900,
  },
  plugins: [
    {
      // Beside each asset its gzip, made once, as small as can be: the server sends it to whoever takes it.
      name: 'gzip',
      async writeBundle({ dir }, bundle) {
        const files = Object.keys(bundle).filter((name) => /^assets\/.*\.(js|css|svg)$/.test(name));
        await Promise.all(files.map((name) => compress(resolve(dir ?? '', name))));
      },
    },
    {
      // The same addresses in development as the server gives the pages.
      name: 'page-addresses',
      configureServer(dev) {
        dev.middlewares.use((request, _response, next) => {
          request.url = request.url?.replace(/^\/(watch|studio)\/[\w-]+/, '/$1.html');
          next();
        });
      },
    },
  ],
  server: {
    proxy: Object.fromEntries(
      ['/api', '/broadcasts', '/rooms', '/whip'].map((path) => [path, { target: server, ws: path === '/rooms' }]),
    ),
  },
});
