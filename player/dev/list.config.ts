/** Builds the page of the list alone: `npx vite build --config dev/list.config.ts --outDir …`. */
import { resolve } from 'node:path';
import { defineConfig } from 'vite';

export default defineConfig({
  root: import.meta.dirname,
  base: './',
  build: { target: 'es2022', emptyOutDir: true, assetsInlineLimit: 0, rollupOptions: { input: resolve(import.meta.dirname, 'list.html') } },
});
