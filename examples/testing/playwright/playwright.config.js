import { defineConfig } from '@playwright/test';

const port = process.env.PORT ?? '5173';

export default defineConfig({
  testMatch: '*.spec.js',
  // All tests ask the same rig.
  workers: 1,
  use: {
    baseURL: `http://localhost:${port}`,
    launchOptions: { executablePath: process.env.CHROMIUM, args: ['--no-sandbox'] },
  },
  webServer: { command: 'node ../shop/serve.mjs', url: `http://localhost:${port}/`, env: { PORT: port } },
});
