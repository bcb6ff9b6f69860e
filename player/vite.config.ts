import { resolve } from 'node:path';
import { defineConfig } from 'vite';

/** Where `vite dev` finds a running server: `lectern serve --demo`, or `npm run mock`. */
const server = process.env.LECTERN_URL ?? 'http://localhost:8080';
const page = (name: string) => resolve(import.meta.dirname, `${name}.html`);

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
