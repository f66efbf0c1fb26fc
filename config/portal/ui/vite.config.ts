import react from '@vitejs/plugin-react';
import { defineConfig } from 'vitest/config';

// The control role serves what is built here below /portal/, out of ../static/app, which go:embed takes in.
export default defineConfig({
  base: '/portal/',
  plugins: [react()],
  build: { outDir: '../static/app', emptyOutDir: true, sourcemap: false, assetsInlineLimit: 0, modulePreload: { polyfill: false }, target: 'es2022' },
  server: { port: 5173, proxy: { '/api': 'http://127.0.0.1:9080', '/portal/try': 'http://127.0.0.1:9080' } },
  test: { environment: 'happy-dom', include: ['src/**/*.test.{ts,tsx}'], testTimeout: 60_000 },
});
