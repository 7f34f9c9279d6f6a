// The console in three browsers: a bad event is seen, explained, patched, replayed and found; nothing that a client sends becomes markup;
// and it is for everybody, by mouse and by keyboard, at rest and under load.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { promisify } from 'node:util';
import { visits } from '../../demo/guests.mjs';
import { PROGRAMS, launch, missing } from '../support/browsers.mjs';
import { Gateway } from '../support/gateway.mjs';
import { faults, isForEverybody, look, measured } from '../support/pages.mjs';
import { skipFor } from '../support/required.mjs';
import { until } from '../support/until.mjs';

const run = promisify(execFile);
const CHANGES = '[admin]\nallow_changes = true\ntail_payloads = true\n';
const VIEWS = ['overview', 'live', 'rejections', 'schemas', 'find', 'ledger', 'keys', 'fleet'];

const section = (more = {}) => ({
  event_uuid: randomUUID(), event_name: 'menu:section:reached', created_at: Date.now() / 1000, session_id: randomUUID(), visit_id: randomUUID(),
  restaurant_id: 'quinta.norte', menu_id: 'wine-list', section_id: 'reds', section_index: 7, ...more,
});

const post = (gateway, events) =>
  fetch(gateway.url, { method: 'POST', headers: { 'x-api-key': 'dev', 'content-type': 'application/json' }, body: JSON.stringify(events) });

const text = (tab, selector = 'main') => tab.run((selector) => document.querySelector(selector)?.innerText ?? '', selector);
const shows = (tab, what, words, seconds) => until(what, async () => (await text(tab)).includes(words), seconds);
const go = async (tab, view) => {
  await tab.run((view) => void (location.hash = `#/${view}`), view);
  await until(`the view ${view}`, () => tab.run((view) => document.querySelector(`.view.${view.split('/')[0]}`) !== null, view));
};
const click = (tab, selector, words) => tab.run((selector, words) => {
  [...document.querySelectorAll(selector)].find((node) => node.textContent.includes(words)).click();
}, selector, words);

for (const name of Object.keys(PROGRAMS)) {
  describe(`the console in ${name}`, { skip: skipFor(missing(name)), concurrency: false }, () => {
    let gateway, browser;
    before(async () => {
      [gateway, browser] = await Promise.all([new Gateway({ plaintext: true, config: CHANGES }).start(), launch(name)]);
    });
    after(async () => {
      await browser?.close();
      await gateway?.stop();
      gateway?.remove();
    });

    test('its first page says that all is well, and its command sends a first event', async () => {
      const tab = await browser.tab(gateway.console);
      await shows(tab, 'the verdict', 'All is well');
      await until('the command', async () => (await text(tab, '.first pre')).includes('curl'));
      const { stdout } = await run('bash', ['-c', `${await text(tab, '.first pre')} -sS`]);
      assert.equal(JSON.parse(stdout).accepted, 1, stdout);
      await tab.close();
    });

    test('a bad event is seen within a second, explained, patched, replayed, and found in the lake', async () => {
      const tab = await browser.tab(`${gateway.console}#/live`);
      await until('the stream', async () => (await text(tab)).includes('Watching'));
      // The stream is open once an event of it is shown.
      await until('the stream is open', async () => (await post(gateway, section())).ok && (await tab.run(() => document.querySelectorAll('.events li').length > 0)), 10, 500);
      const bad = section({ section_index: '7' });
      assert.equal((await post(gateway, bad)).status, 422);
      const sent = Date.now();
      await until('the event', async () => (await text(tab, '.events')).includes('schema_violation at /section_index'));
      assert.ok(Date.now() - sent < 1000, `${Date.now() - sent} ms until it was seen`);

      await go(tab, 'rejections');
      await shows(tab, 'its cause', 'schema_violation at /section_index');
      await tab.run(() => document.querySelector('.groups summary').click());
      await until('the explanation', async () => (await text(tab, '.fault')) !== '');
      assert.match(await text(tab, '.fault'), /Where\s+\/section_index[^]*Expected\s+an integer[^]*Actual\s+the string "7"/);
      assert.equal(await text(tab, 'pre mark'), '"7"');
      assert.deepEqual(JSON.parse(await tab.run(() => document.querySelector('textarea').value)), [
        { op: 'test', path: '/section_index', value: '7' }, { op: 'replace', path: '/section_index', value: 7 },
      ]);
      assert.ok(await tab.run(() => [...document.querySelectorAll('button')].find((button) => button.textContent === 'Replay').disabled), 'tried first');
      await click(tab, 'button', 'Dry run');
      await shows(tab, 'the dry run', '1 event: 1 would be accepted. Nothing was changed.');
      await click(tab, 'button', 'Replay');
      await shows(tab, 'the replay', '1 event: 1 accepted.');
      await click(tab, 'a', 'Where is the event now?');
      await until('it is in the lake', async () => {
        await click(tab, 'button', 'Find').catch(() => {});
        await pause(300);
        return /delivered[^]*\.parquet, row group \d+, row \d+/i.test(await text(tab));
      }, 20);
      assert.match(await text(tab), /Rejected[^]*It is repaired/);
      const [row] = await gateway.delivered([bad.event_uuid]);
      assert.equal(row.section_index, 7);
      await tab.close();
    });

    test('names, values, members and keys that look like markup are shown as they are, and do nothing', async () => {
      const attack = '<img src=x onerror="window.hacked=1"><script>window.hacked=2</script><svg onload=window.hacked=3>';
      const bad = [
        section({ event_name: attack }), section({ section_id: attack, section_index: attack }), section({ [attack]: attack }),
        section({ event_uuid: attack }), section({ section_id: { '</pre><script>window.hacked=4</script>': '"><a href="javascript:window.hacked=5">' } }),
      ];
      const tab = await browser.tab(`${gateway.console}#/live`);
      await until('the rows', async () => {
        await post(gateway, bad);
        await pause(500);
        return (await tab.run(() => document.querySelectorAll('.events details.rejected').length)) >= bad.length;
      }, 20);
      await tab.run(() => document.querySelectorAll('.events summary').forEach((summary) => summary.click()));
      await until('the payloads', async () => (await text(tab, '.events')).includes('onerror='));
      await go(tab, 'rejections');
      await until('the causes', async () => (await tab.run(() => document.querySelectorAll('.groups li').length)) >= 4);
      await tab.run(() => document.querySelectorAll('.groups summary').forEach((summary) => summary.click()));
      await until('the examples', () => tab.run(() => [...document.querySelectorAll('.groups details')].every((details) => details.querySelector('.fault'))), 20);
      assert.ok((await text(tab, '.groups')).includes('<img src=x onerror='), 'the name is shown as it is');
      const strange = async (where) => assert.deepEqual(await tab.run(() => ({
        hacked: window.hacked ?? null, scripts: document.scripts.length, images: document.images.length,
        handlers: document.querySelectorAll('[onerror], [onload], [onclick], iframe, object, a[href^="javascript:"]').length,
      })), { hacked: null, scripts: 1, images: 1, handlers: 0 }, where);
      await strange('rejections');
      for (const place of [`find/${encodeURIComponent(attack)}`, `schemas/${encodeURIComponent(attack)}`, 'ledger', 'keys', 'overview']) {
        await go(tab, place);
        await pause(300);
        await strange(place);
      }
      // Even a script in the page itself may do nothing that the policy does not allow.
      const forbidden = await tab.run(() => {
        const script = document.createElement('script');
        try {
          script.textContent = 'window.hacked = 6';
        } catch {
          // Trusted Types.
        }
        document.body.append(script);
        script.remove();
        return window.hacked === undefined;
      });
      assert.ok(forbidden, 'inline scripts do not run');
      await tab.close();
    });

    test('no other page reads it, changes anything, or has it in a frame', async () => {
      // A page of another port of this machine is as near as a page can be.
      const tab = await browser.tab(`${gateway.origin}/errors`);
      const found = await tab.run(async (admin) => {
        const tried = async (path, request) => fetch(admin + path, request).then((answer) => answer.type, () => 'refused');
        return [
          await tried('admin/overview', {}), await tried('admin/dead-letters', {}),
          await tried('admin/dead-letters/drop', { method: 'POST', headers: { 'content-type': 'application/json' }, body: '{"all":true}' }),
          await tried('admin/dead-letters/drop', { method: 'POST', mode: 'no-cors', body: '{"all":true}' }).then((type) => (type === 'opaque' ? 'refused' : type)),
        ];
      }, gateway.console);
      assert.deepEqual(found, ['refused', 'refused', 'refused', 'refused']);
      await tab.close();
      const letters = await (await fetch(`http://127.0.0.1:${gateway.adminPort}/admin/dead-letters`)).json();
      assert.ok(letters.letters > 0, 'they are still there');
    });
  });
}

describe('the console for everybody', { skip: skipFor(missing('chromium')), concurrency: false }, () => {
  let gateway, other, browser, load;
  const sent = () => gateway.console;
  before(async () => {
    other = await new Gateway({ plaintext: true }).start();
    gateway = await new Gateway({ plaintext: true, config: `[admin]\ntail_payloads = true\nfleet = ["http://127.0.0.1:${other.adminPort}"]\n` }).start();
    browser = await launch('chromium');
    // A steady stream of guests, some of whose events are wrong.
    const events = visits(200, Math.floor(Date.now() / 1000));
    let at = 0;
    load = setInterval(() => {
      const some = Array.from({ length: 12 }, () => ({ ...events[at++ % events.length], event_uuid: randomUUID() }));
      if (at % 5 === 0) some.push({ ...events[at % events.length], event_uuid: randomUUID(), event_name: 'menu:item:veiwed' });
      if (at % 60 === 0) some.push(section({ section_indx: 3 }), section({ section_index: '7' }));
      post(gateway, some).catch(() => {});
    }, 100);
  });
  after(async () => {
    clearInterval(load);
    await browser?.close();
    await gateway?.stop();
    await other?.stop();
    gateway?.remove();
    other?.remove();
  });

  for (const view of VIEWS) {
    test(`${view}, on a phone and on a screen, light and dark`, async () => {
      const tab = await browser.tab(`${sent()}#/${view}`);
      await until('the figures', async () => /Ready|warning/.test(await text(tab, '#state')));
      // A picture has a history.
      if (view === 'overview') await pause(process.env.LAKEGATE_PICTURES ? 70_000 : 3_000);
      if (view === 'live') {
        await until('rows', async () => (await tab.run(() => document.querySelectorAll('.events li').length)) > 12, 20);
        await tab.run(() => document.querySelector('.events details.rejected, .events details').querySelector('summary').click());
      }
      if (view === 'rejections') {
        await until('causes', async () => (await tab.run(() => document.querySelectorAll('.groups li').length)) > 2, 20);
        await tab.run(() => [...document.querySelectorAll('.groups summary')].find((summary) => summary.textContent.includes('veiwed')).click());
        await until('the example', async () => (await text(tab)).includes('Dry run'));
        await shows(tab, 'what was meant', 'menu:item:viewed');
        await click(tab, 'button', 'Dry run');
        await shows(tab, 'the dry run', 'would be accepted');
        assert.ok((await text(tab)).includes('allow_changes = true'), 'who may not replay is told why');
      }
      if (view === 'schemas') await go(tab, 'schemas/menu%3Aitem%3Aviewed');
      if (view === 'schemas') await until('the sample', async () => /\d events? since/.test(await text(tab)), 20);
      if (view === 'find') {
        await go(tab, `find/${await someUuid(gateway)}`);
        await until('the story', async () => /delivered|spooled/i.test(await text(tab)), 20);
      }
      if (view === 'ledger') await shows(tab, 'the balance', 'It balances');
      if (view === 'keys') await shows(tab, 'the key', 'server');
      if (view === 'fleet') await shows(tab, 'the sum', '2 gateways ready');
      await isForEverybody(tab, view === 'overview' ? 'console' : `console-${view}`);
      await tab.close();
    });
  }

  test('its empty pages are for everybody too, and teach the first command', async () => {
    const empty = await new Gateway({ plaintext: true }).start();
    try {
      const tab = await browser.tab(empty.console);
      for (const view of ['overview', 'live', 'rejections', 'ledger', 'keys', 'fleet', 'find']) {
        await go(tab, view);
        await until(`the lesson of ${view}`, async () => /curl|fleet = |event_uuid from its sender/.test(await text(tab)));
        for (const scheme of ['light', 'dark']) {
          await look(tab, 390, scheme);
          assert.deepEqual(await measured(tab), { small: [], wider: 0 }, view);
          assert.deepEqual(await faults(tab), [], `${view}, ${scheme}`);
        }
      }
      await tab.close();
    } finally {
      await empty.stop();
      empty.remove();
    }
  });

  test('by keyboard alone a reader comes everywhere', async () => {
    const tab = await browser.tab(sent());
    await look(tab, 1440, 'light');
    const press = (...keys) => keys.reduce((before, key) => before.then(() => tab.page.keyboard.press(key)), Promise.resolve());
    const focused = () => tab.run(() => `${document.activeElement.tagName} ${document.activeElement.textContent.trim().slice(0, 40)}`);
    await press('Tab');
    assert.equal(await focused(), 'A Skip to the content');
    await press('Enter');
    assert.match(await focused(), /^MAIN/);
    await tab.goto(sent());
    await press('Tab', 'Tab', 'Tab', 'Tab');
    assert.equal(await focused(), 'A Rejections');
    const outline = await tab.run(() => getComputedStyle(document.activeElement).outlineStyle);
    assert.equal(outline, 'solid', 'who has no mouse sees where they are');
    await press('Enter');
    await until('the heading has the focus', async () => (await focused()) === 'H1 Rejections');
    await until('causes', async () => (await tab.run(() => document.querySelectorAll('.groups li').length)) > 0, 20);
    await press('Tab');
    assert.match(await focused(), /^SUMMARY/);
    await press('Enter');
    await shows(tab, 'the example', 'Dry run');
    const reached = new Set();
    for (let step = 0; step < 20; step += 1) {
      await press('Tab');
      reached.add(await tab.run(() => document.activeElement.tagName));
      if ((await focused()).startsWith('BUTTON Dry run')) break;
    }
    assert.ok(reached.has('TEXTAREA') && reached.has('BUTTON'), [...reached].join());
    await press('Enter');
    await until('the dry run', async () => /event(s)?: \d+/.test(await text(tab, '.result')));
    await tab.close();
  });
});

/** An accepted event, from the stream that the console reads. */
async function someUuid(gateway) {
  const answer = await fetch(`http://127.0.0.1:${gateway.adminPort}/admin/tail?outcome=accepted`);
  let seen = '';
  for await (const piece of answer.body) {
    seen += Buffer.from(piece).toString();
    const [, uuid] = /"event_uuid":"([^"]+)"/.exec(seen) ?? [];
    if (uuid) return uuid;
  }
  throw new Error(seen);
}

describe('the console under load', { skip: skipFor(missing('chromium')), concurrency: false }, () => {
  const SECONDS = Number(process.env.LAKEGATE_CONSOLE_SECONDS ?? 4);
  const cpu = (pid) => {
    const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1].split(' ');
    return (Number(fields[11]) + Number(fields[12])) / 100;
  };

  test('nothing flickers, and the page does not grow', async (t) => {
    const gateway = await new Gateway({ plaintext: true, config: '[rate_limit]\nevents_per_second = 1000000\n' }).start();
    const browser = await launch('chromium');
    t.after(async () => {
      await browser.close();
      await gateway.stop();
      gateway.remove();
    });
    let goes = true;
    let accepted = 0;
    const sender = async () => {
      while (goes) {
        const events = Array.from({ length: 500 }, (_, index) => section({ section_index: index }));
        accepted += (await (await post(gateway, events)).json()).accepted;
      }
    };
    const senders = [sender(), sender()];
    const tab = await browser.tab(gateway.console);
    await shows(tab, 'the figures', 'events a second come in');
    await pause(2500);
    await tab.run(() => {
      window.shifts = 0;
      new PerformanceObserver((list) => list.getEntries().forEach((entry) => (window.shifts += entry.value))).observe({ type: 'layout-shift' });
    });
    const before = accepted;
    await pause(SECONDS * 1000);
    t.diagnostic(`${Math.round((accepted - before) / SECONDS)} events a second`);
    const shifts = await tab.run(() => window.shifts);
    assert.ok(shifts < 0.01, `the overview moves by ${shifts}`);
    await go(tab, 'live');
    await pause(1500);
    await tab.run(() => {
      window.rows = 0;
      new MutationObserver((changes) => changes.forEach(({ addedNodes }) => (window.rows += addedNodes.length))).observe(document.querySelector('.events'), { childList: true });
    });
    await pause(SECONDS * 1000);
    const { rows, there, note } = await tab.run(() => ({ rows: window.rows, there: document.querySelectorAll('.events li').length, note: document.querySelector('.note').innerText }));
    assert.ok(rows <= 15 * SECONDS && there <= 100, `${rows} rows came in ${SECONDS} s, ${there} are there`);
    assert.match(note, /A fair sample: .* of .* events a second are shown/);
    goes = false;
    await Promise.all(senders);
    await tab.close();
  });
  // At full load a processor has a second of work in each second. A debug build takes some 10 ms of it, which is a hundredth, and an optimised one a fraction.
  test('an open page costs the gateway next to nothing', async (t) => {
    const gateway = await new Gateway({ plaintext: true }).start();
    const browser = await launch('chromium');
    t.after(async () => {
      await browser.close();
      await gateway.stop();
      gateway.remove();
    });
    const tab = await browser.tab('about:blank');
    // The system counts in hundredths of a second.
    const seconds = Math.max(2, SECONDS / 2);
    const msEachSecond = async () => {
      const began = cpu(gateway.pid);
      await pause(seconds * 1000);
      return ((cpu(gateway.pid) - began) * 1000) / seconds;
    };
    const alone = await msEachSecond();
    for (const view of ['overview', 'live', 'rejections', 'keys']) {
      await tab.goto(`${gateway.console}#/${view}`);
      await tab.page.reload();
      await until(`the view ${view}`, () => tab.run((view) => document.querySelector(`.view.${view}`) !== null, view));
      await pause(1000);
      const more = (await msEachSecond()) - alone;
      t.diagnostic(`${view}: ${more.toFixed(1)} ms more a second`);
      assert.ok(more < 40, `${view} costs ${more} ms a second`);
    }
  });
});
