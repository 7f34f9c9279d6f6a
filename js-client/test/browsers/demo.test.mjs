// `make demo`: who scrolls the menu sees in the console beside it what arrives, and what is rejected.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { launch, missing } from '../support/browsers.mjs';
import { ROOT } from '../support/gateway.mjs';
import { isForEverybody } from '../support/pages.mjs';
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
  const [, url] = await until('the demo', () => /what arrives: (http:\/\/localhost:\d+)/.exec(said));
  assert.match(said, /3 guests came: \d+ events/);
  const tab = await browser.tab(url);
  await tab.page.setViewport({ width: 1440, height: 900 });
  const consoleOf = (tab) => until('the console', () => tab.page.frames().find((frame) => frame.url().includes('#/live')));
  const console = await consoleOf(tab);
  const rows = () => console.evaluate(() => [...document.querySelectorAll('.events > li')].map((row) => row.innerText.replace(/\s+/g, ' ')));
  const shown = (what, words) => until(what, async () => (await rows()).some((row) => words.every((word) => row.includes(word))));
  // What opens a visit came before the console watched: the next visit is seen.
  await until('the console watches', async () => (await console.evaluate(() => document.body.innerText)).includes('Watching'));
  await tab.run(() => frames[0].document.querySelector('.language').click());
  await shown('the menu in English', ['accepted', 'menu:page:opened', 'dev-browser']);
  await tab.run(() => frames[0].document.querySelector('[data-menu-item=polvo]').scrollIntoView({ block: 'center', behavior: 'instant' }));
  await shown('the dish', ['accepted', 'menu:item:viewed']);
  await tab.run(() => frames[0].document.querySelector('[data-menu-item=polvo] button').click());
  await shown('the order', ['accepted', 'menu:item:ordered']);

  await t.test('a rejected event says why, at the place of the fault, here and where the demo was started', async () => {
    const faults = [['schema_violation at /price_minor'], ['schema_violation', 'menu:item:ordered'], ['unknown_event', 'menu:item:orderd']];
    for (const [number, fault] of faults.entries()) {
      await tab.run(() => document.querySelector('#bad').click());
      await until(`the rejection ${number}`, async () => (await rows()).filter((row) => row.includes('rejected')).length === number + 1);
      await shown(`the reason of ${number}`, ['rejected', ...fault]);
    }
    assert.match(await tab.run(() => document.querySelector('#sent').textContent), /a name that nobody registered\. The gateway answered 422/);
    await until('it was printed', () => /rejected {2}menu:item:orderd {2}key dev-browser {2}unknown_event/.test(said));
  });

  await t.test('it is for everybody, on a phone and on a screen', () => isForEverybody(tab, 'demo'));

  await t.test('a row opens to its JSON, and leads to the event in the lake', async () => {
    await console.evaluate(() => [...document.querySelectorAll('.events summary')].find((row) => row.textContent.includes('menu:item:ordered') && row.textContent.includes('accepted')).click());
    await until('its JSON', () => console.evaluate(() => document.querySelector('.events [open]')?.innerText.includes('"polvo"')));
    await console.evaluate(() => [...document.querySelectorAll('.events [open] a')].find((link) => link.textContent.includes('Where is this event?')).click());
    await until('where it is', () => console.evaluate(() => document.body.innerText.includes('.parquet')), 30);
    await console.evaluate(() => void (location.hash = '#/live'));
  });
});
