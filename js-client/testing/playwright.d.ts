import { test as base } from '@playwright/test';
import type { Rig } from './index.js';

export { expect } from '@playwright/test';

/** Playwright's `test` with the fixture `lakegate`. One rig serves one worker: run with `workers: 1`, or start a rig for each. */
export const test: ReturnType<typeof base.extend<{ lakegate: Rig }>>;
