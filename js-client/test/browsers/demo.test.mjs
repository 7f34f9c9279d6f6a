// `make demo`: who scrolls the menu sees in the page beside it what arrives in the lake.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { launch, missing } from '../support/browsers.mjs';
import { ROOT } from '../support/gateway.mjs';
import { skipFor } from '../support/required.mjs';
import { until } from '../support/until.mjs';

test('the demo', { skip: skipFor(missing('chromium')) }, async (t) => {
  const data = mkdtempSync(join(tmpdir(), 'lakegate-demo-data-'));
  const demo = spawn(process.execPath, [join(ROOT, 'js-client/demo/serve.mjs'), '--port', '0', '--gateway', '0', '--guests', '3', '--data-dir', data], {
    cwd: ROOT, env: { ...process.env, LAKEGATE_BIN: process.env.LAKEGATE_BIN ?? 'target/debug/lakegate' }, stdio: ['ignore', 'pipe', 'inherit'],
  });
  const ended = new Promise((done) => demo.once('exit', done));
  let said = '';
  demo.stdout.on('data', (text) => (said += text));
  const browser = await launch('chromium');
  t.after(async () => {
    await browser.close();
    demo.kill('SIGTERM');
    await ended;
    rmSync(data, { recursive: true, force: true });
  });
  const [, url] = await until('the demo', () => /(http:\/\/localhost:\d+)/.exec(said));
  assert.match(said, /3 guests came: \d+ events/);
  const tab = await browser.tab(url);
  const shown = (kind) => tab.run((kind) => [...document.querySelectorAll('#events li')].filter((row) => row.children[1]?.textContent === kind).map((row) => row.children[2].textContent), kind);
  await until('the opening', async () => (await shown('page:opened')).some((text) => text.startsWith('pt')));
  await tab.run(() => frames[0].document.querySelector('[data-menu-item=polvo]').scrollIntoView({ block: 'center', behavior: 'instant' }));
  await until('the dish', async () => (await shown('item:viewed')).includes('Polvo à lagareiro'));
  await tab.run(() => frames[0].document.querySelector('[data-menu-item=polvo] button').click());
  await until('the order', async () => (await shown('item:ordered')).includes('Polvo à lagareiro · order'));
  await tab.run(() => frames[0].document.querySelector('.language').click());
  await until('the menu in English', async () => (await shown('page:opened')).some((text) => text.startsWith('en')));
  await until('the end of the first visit', async () => (await shown('visit:progress')).length === 1);
});
