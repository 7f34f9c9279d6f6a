// `make demo`: who scrolls the menu sees in the page beside it what arrives in the lake, and what is rejected.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { launch, missing } from '../support/browsers.mjs';
import { ROOT } from '../support/gateway.mjs';
import { isForEverybody, look } from '../support/pages.mjs';
import { skipFor } from '../support/required.mjs';
import { until } from '../support/until.mjs';

/** What the page shows, in its order: kind, text, time and its JSON if it is open. */
const rows = (tab) => tab.run(() => [...document.querySelectorAll('#events > li:not(.none)')].map((row) => ({
  kind: row.querySelector('.kind').textContent, says: row.querySelector('.says').textContent, rejected: row.className === 'rejected',
  received: row.querySelector('time').dateTime, time: row.querySelector('time').textContent,
  isCut: row.querySelector('time').scrollWidth > row.querySelector('time').clientWidth,
})));

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
  const shown = async (kind) => (await rows(tab)).filter((row) => row.kind === kind && !row.rejected).map(({ says }) => says);
  await until('the opening', async () => (await shown('page:opened')).some((text) => text.startsWith('pt')));
  await tab.run(() => frames[0].document.querySelector('[data-menu-item=polvo]').scrollIntoView({ block: 'center', behavior: 'instant' }));
  await until('the dish', async () => (await shown('item:viewed')).includes('Polvo à lagareiro'));
  await tab.run(() => frames[0].document.querySelector('[data-menu-item=polvo] button').click());
  await until('the order', async () => (await shown('item:ordered')).includes('Polvo à lagareiro · order'));
  await tab.run(() => frames[0].document.querySelector('.language').click());
  await until('the menu in English', async () => (await shown('page:opened')).some((text) => text.startsWith('en')));
  await until('the end of the first visit', async () => (await shown('visit:progress')).length === 1);

  await t.test('a rejected event says why, at the place of the fault', async () => {
    const faults = [/\/price_minor: /, /"item_id" is missing/, /item:orderd/];
    for (const [number, fault] of faults.entries()) {
      await tab.run(() => document.querySelector('#bad').click());
      await until(`the rejection ${number}`, async () => (await rows(tab)).filter(({ rejected }) => rejected).length === number + 1);
      const [newest] = (await rows(tab)).filter(({ rejected }) => rejected);
      assert.match(newest.says + newest.kind, fault);
    }
    assert.match(await tab.run(() => document.querySelector('#sent').textContent), /a name that nobody registered\. The gateway answered 422/);
  });

  await t.test('the key dev works, as with make run', async () => {
    const address = await tab.run(() => /curl (\S+)/.exec(document.querySelector('#own').textContent)[1]);
    const event = { event_uuid: randomUUID(), event_name: 'client:events:dropped', created_at: Date.now() / 1000, client: 'node', too_old: 1 };
    const answer = await fetch(address, { method: 'POST', headers: { 'x-api-key': 'dev', 'content-type': 'application/json' }, body: JSON.stringify(event) });
    assert.equal(answer.status, 202);
    await until('the own event', async () => (await shown('client:events:dropped'))[0] === 'from dev');
  });

  await t.test('rows have their whole time, open to their JSON, and stay in the order of receipt', async () => {
    const found = await rows(tab);
    for (const { time, isCut } of found) {
      assert.match(time, /^\d\d:\d\d:\d\d\.\d\d\d$/);
      assert.ok(!isCut, time);
    }
    const received = found.map((row) => row.received);
    assert.deepEqual(received, [...received].sort().reverse());
    const opened = async (selector) => {
      await tab.run((selector) => document.querySelector(`${selector} summary`).click(), selector);
      return until(`the JSON of ${selector}`, () => tab.run((selector) => {
        const row = document.querySelector(selector);
        return row.querySelector('pre') && { json: row.querySelector('pre').textContent, reasons: row.querySelector('.reasons')?.textContent };
      }, selector));
    };
    const accepted = await opened('#events > li:not(.rejected)');
    assert.equal(JSON.parse(accepted.json).source, 'dev');
    const rejected = await opened('#events > li.rejected');
    assert.equal(JSON.parse(rejected.json).event_name, 'menu:item:orderd');
    assert.match(rejected.reasons, /unknown_event/);
    // A page that is opened again shows the same rows in the same order.
    const again = await browser.tab(url);
    await until('the same rows', async () => {
      const ids = (list) => list.map(({ received, kind, says }) => `${received} ${kind} ${says}`);
      const [one, other] = [ids(await rows(tab)), ids(await rows(again))];
      return one.length === other.length && one.every((row, place) => row === other[place]);
    });
    await again.close();
  });

  await t.test('it is for everybody, on a phone and on a screen', async () => {
    await isForEverybody(tab, 'demo');
    await look(tab, 390, 'light');
    assert.ok((await rows(tab)).every(({ isCut }) => !isCut));
  });
});
