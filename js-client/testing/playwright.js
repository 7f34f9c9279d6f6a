// A fixture for Playwright: `lakegate`, empty at the beginning of each test.
import { test as base } from '@playwright/test';
import { rig } from './index.js';

export { expect } from '@playwright/test';

export const test = base.extend({
  lakegate: async ({}, use) => {
    const lakegate = rig();
    await lakegate.reset();
    await use(lakegate);
    // Faults end with the test that asked for them.
    await lakegate.reset();
  },
});
