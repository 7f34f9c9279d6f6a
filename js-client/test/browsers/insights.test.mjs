// `make insights`: a page that a restaurant reads on a phone, in the light and in the dark, with a screen reader, on paper; and that refreshes itself.
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { pathToFileURL } from 'node:url';
import { visits } from '../../demo/guests.mjs';
import { launch, missing } from '../support/browsers.mjs';
import { Gateway, ROOT } from '../support/gateway.mjs';
import { isForEverybody, look, measured } from '../support/pages.mjs';
import { skipFor } from '../support/required.mjs';
import { until } from '../support/until.mjs';

const BINARY = resolve(ROOT, process.env.LAKEGATE_BIN ?? 'target/debug/lakegate');
const PYTHON = [process.env.LAKEGATE_PYTHON, 'target/insights-venv/bin/python', '.venv/bin/python'].filter(Boolean).map((path) => resolve(ROOT, path)).find(existsSync);
const noPython = PYTHON ? undefined : 'there is no Python with DuckDB: `make target/insights-venv/installed`';
const GUESTS = 300;

describe('insights', { skip: skipFor(missing('chromium') ?? noPython), concurrency: false }, () => {
  const folder = mkdtempSync(join(tmpdir(), 'lakegate-insights-'));
  let gateway, browser, last;
  const insights = (...more) => [join(ROOT, 'queries/insights.py'), '--binary', BINARY, '--lake', join(gateway.folder, 'data/lake'), ...more];

  async function send(events) {
    for (let first = 0; first < events.length; first += 500) {
      const answer = await fetch(gateway.url, {
        method: 'POST', headers: { 'x-api-key': 'dev', 'content-type': 'application/json' }, body: JSON.stringify(events.slice(first, first + 500)),
      });
      assert.equal(answer.status, 202);
    }
  }

  function page(name, ...more) {
    const out = join(folder, `${name}.html`);
    const { status, stderr } = spawnSync(PYTHON, insights('--out', out, ...more), { encoding: 'utf8' });
    return { url: pathToFileURL(out).href, status, stderr };
  }

  before(async () => {
    gateway = await new Gateway({ plaintext: true }).start();
    const events = visits(GUESTS, Math.floor(Date.now() / 1000));
    last = Math.max(...events.filter(({ event_name }) => event_name === 'menu:page:opened').map(({ created_at }) => created_at));
    await send(events);
    await until('the lake', async () => (await gateway.lake()).length === events.length, 60);
    browser = await launch('chromium');
  });
  after(async () => {
    await browser?.close();
    await gateway?.stop();
    gateway?.remove();
    rmSync(folder, { recursive: true, force: true });
  });

  test('the page is for everybody, on a phone and on a screen, light and dark', async () => {
    const { url, status, stderr } = page('insights', '--language', 'en');
    assert.equal(status, 0, stderr);
    const tab = await browser.tab(url);
    assert.equal(await tab.run(() => document.querySelectorAll('script, link, img[src]').length), 0, 'one file, without scripts');
    const colour = () => tab.run(() => getComputedStyle(document.body).backgroundColor);
    const colours = new Map();
    await isForEverybody(tab, 'insights', async (width, scheme) => colours.set(scheme, await colour()));
    assert.notEqual(colours.get('light'), colours.get('dark'));

    // In Portuguese, as most of these visits read: its words are longer. The tables too, which are closed at first.
    await tab.goto(page('portuguese').url);
    assert.equal(await tab.run(() => document.documentElement.lang), 'pt');
    await tab.run(() => document.querySelectorAll('.period:first-of-type details').forEach((details) => (details.open = true)));
    await isForEverybody(tab, 'tables', async () => {
      const shown = await tab.run(() => [...document.querySelectorAll('table')].some((table) => table.checkVisibility()));
      assert.ok(shown);
    });
    await tab.close();
  });

  test('a choice of the period shows its days, and only these', async () => {
    const tab = await browser.tab(page('periods').url);
    const shown = () => tab.run(() => [...document.querySelectorAll('.period')].filter((part) => part.checkVisibility()).map((part) => part.className));
    assert.deepEqual(await shown(), ['period p0']);
    const visits = () => tab.run(() => Number([...document.querySelectorAll('.figures b')].find((figure) => figure.checkVisibility()).textContent));
    const ofAWeek = await visits();
    await tab.run(() => document.querySelector('#period-1').click());
    assert.deepEqual(await shown(), ['period p1']);
    assert.ok((await visits()) > ofAWeek);
    // Charts have a name for who cannot see them, all 24 hours, and their numbers as a table.
    const { unnamed, hours, tables, charts } = await tab.run(() => {
      const part = document.querySelector('.period.p1');
      return {
        unnamed: [...part.querySelectorAll('[role=img]')].filter((chart) => !/\d/.test(chart.getAttribute('aria-label'))).length,
        hours: [...part.querySelectorAll('article')].map((article) => article.querySelectorAll('.column').length).filter((count) => count === 24).length,
        tables: part.querySelectorAll('article details table').length, charts: part.querySelectorAll('article').length,
      };
    });
    assert.deepEqual({ unnamed, hours, tables }, { unnamed: 0, hours: 1, tables: charts });
    await tab.close();
  });

  test('an empty page says what to do, and is for everybody too', async () => {
    const { url, status, stderr } = page('empty', '--restaurant', 'nobody', '--language', 'pt');
    assert.equal(status, 1);
    assert.match(stderr, /make demo GUESTS=500/);
    const tab = await browser.tab(url);
    assert.match(await tab.run(() => document.body.innerText), /make demo GUESTS=500/);
    await isForEverybody(tab, 'empty');
    await tab.close();
  });

  test('on paper the chosen period fits the width', async () => {
    const tab = await browser.tab(page('print').url);
    await look(tab, 1440, 'dark');
    await tab.page.emulateMediaType('print');
    assert.equal(await tab.run(() => getComputedStyle(document.body).backgroundColor), 'rgb(255, 255, 255)', 'no dark paper');
    assert.equal(await tab.run(() => document.querySelector('fieldset').checkVisibility()), false);
    await tab.page.setViewport({ width: 718, height: 1000 });
    assert.equal((await measured(tab)).wider, 0);
    await tab.close();
  });

  test('with WATCH=1 a new visit appears by itself, and what the reader chose stays', async (t) => {
    const watch = spawn(PYTHON, insights('--out', join(folder, 'watched.html'), '--watch', '--port', '0'), { stdio: ['ignore', 'pipe', 'inherit'] });
    const ended = new Promise((done) => watch.once('exit', done));
    t.after(async () => {
      watch.kill('SIGTERM');
      await ended;
    });
    let said = '';
    watch.stdout.on('data', (text) => (said += text));
    const [, url] = await until('the address', () => /open (http:\/\/localhost:\d+)/.exec(said), 30);
    const tab = await browser.tab(`${url}/`);
    const visits = () => tab.run(() => Number(document.querySelector('.period.p1 .figures b').textContent));
    const already = await visits();
    await tab.run(() => {
      document.querySelector('#period-1').click();
      document.querySelector('.period.p1 details').open = true;
      window.isTheSame = true;
    });
    await send(oneMore(last));
    await until('the visit', async () => (await visits()) === already + 1, 30);
    assert.deepEqual(await tab.run(() => [window.isTheSame, document.querySelector('#period-1').checked, document.querySelector('.period.p1 details').open]), [true, true, true]);
    await tab.close();
  });
});

/** A visit that begins at this time. */
const oneMore = (time) => {
  const events = visits(1, Math.floor(Date.now() / 1000), 99);
  const begin = Math.min(...events.map(({ created_at }) => created_at));
  return events.map((event) => ({ ...event, created_at: event.created_at - begin + time }));
};
