// Every event of a page reaches the lake, once, whatever becomes of the page: in real browsers, against the real gateway,
// over HTTPS, from another origin. `LAKEGATE_BROWSERS=firefox` runs one of them, `LAKEGATE_ROUNDS=5` all of it five times.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { fields } from '../support/events.mjs';
import { BROWSERS, setUp, tearDown } from '../support/stage.mjs';
import { until } from '../support/until.mjs';

/** In the page: a client that only sends when it must, and `count` events in one go. Gives their event_uuids. */
const track = (options, fields, count) => {
  window.client ??= lakegate.createClient({ flushMs: 1e6, maxBatch: 1e6, ...options });
  return Array.from({ length: count }, (_, index) => client.track('menu:section:reached', { ...fields, section_index: index }));
};
const open = (options) => void (window.client = lakegate.createClient({ flushMs: 50, ...options }));
const stored = () => Object.keys(localStorage).filter((key) => key.startsWith('lakegate:')).length;

// The same once more shows what comes only now and then.
const ROUNDS = Array.from({ length: Number(process.env.LAKEGATE_ROUNDS ?? 1) }, (_, index) => index + 1);

for (const { name, skip, round } of BROWSERS.flatMap((browser) => ROUNDS.map((round) => ({ ...browser, round })))) {
  describe(`${name}, round ${round}`, { skip, concurrency: false }, () => {
    let gateway, site, browser, direct, through;

    before(async () => {
      ({ gateway, site, browser, direct, through } = await setUp(name));
    });
    after(() => tearDown({ gateway, site, browser }));
    const lab = () => browser.tab(`${site.origin}/lab`);

    /**
     * Closed with events on board: they are in the lake without any help. But for Firefox, which loses the last request of some
     * tabs that close (one in ten in front, one in two behind another), beacon or not: there they may come with the next visit.
     */
    const closed = async (t, tab, ids) => {
      await tab.close();
      if (name !== 'firefox') return gateway.delivered(ids);
      const lost = await gateway.delivered(ids, 3).catch((error) => error);
      if (!(lost instanceof Error)) return;
      t.diagnostic(`${lost.message}; they come with the next visit`);
      const next = await lab();
      await next.run(open, direct);
      await gateway.delivered(ids);
      await next.close();
    };

    test('navigate away', async () => {
      const tab = await lab();
      const ids = await tab.run(track, direct, fields(), 20);
      await tab.leave(`${site.origin}/next`);
      await gateway.delivered(ids);
      await tab.close();
    });

    test('close the tab', async (t) => {
      const tab = await lab();
      await closed(t, tab, await tab.run(track, direct, fields(), 20));
    });

    test('switch the tab: answered behind the other, and forgotten', async () => {
      const tab = await lab();
      // Twice 50 KB: where the first answer's body were not read, the quota would refuse the second request.
      for (const count of [20, 150, 150]) {
        const ids = await tab.run(track, direct, fields(), count);
        await tab.hide();
        await until('it is hidden', () => tab.run(() => document.hidden));
        await gateway.delivered(ids);
        await until('nothing is stored', async () => (await tab.run(stored)) === 0);
        await tab.show();
        await until('it is seen again', () => tab.run(() => !document.hidden));
      }
      await tab.close();
    });

    test('400 events, then leave: one request within the quota, the rest with the next page', async () => {
      const tab = await lab();
      const ids = await tab.run(track, through, fields(), 400);
      const before = site.seen.length;
      await tab.leave(`${site.origin}/next`);
      await until('the exit request', () => site.seen.length > before);
      assert.equal(site.seen.length, before + 1);
      const { bytes } = site.seen.at(-1);
      assert.ok(bytes > 60_000 && bytes <= 65_536, `${bytes} bytes`);
      await tab.goto(`${site.origin}/lab`);
      await tab.run(open, through);
      await gateway.delivered(ids);
      await until('nothing is stored', async () => (await tab.run(stored)) === 0);
      await tab.close();
    });

    test('the gateway is down, the page is closed and opened again', async () => {
      await gateway.stop();
      const tab = await lab();
      // What earlier tests left in the browser, answered or not.
      await tab.run(() => localStorage.clear());
      const ids = await tab.run(track, direct, fields(), 20);
      await tab.close();
      await gateway.start();
      const again = await lab();
      assert.equal(await again.run(stored), 20);
      await again.run(open, direct);
      await gateway.delivered(ids);
      await until('nothing is stored', async () => (await again.run(stored)) === 0);
      await again.close();
    });

    test('503 for four seconds', async () => {
      const tab = await lab();
      site.fault = 503;
      const ids = await tab.run(track, { ...through, flushMs: 50 }, fields(), 20);
      const [since, before] = [Date.now(), site.seen.length];
      await until('four seconds of refusals', () => Date.now() - since > 4000 && site.seen.length - before >= 2);
      site.fault = 'pass';
      await gateway.delivered(ids);
      await tab.close();
    });

    test('two tabs at once', async (t) => {
      const [one, two] = [await lab(), await lab()];
      const ids = await one.run(track, { ...direct, flushMs: 100, maxBatch: 10 }, fields(), 60);
      ids.push(...(await two.run(track, { ...direct, flushMs: 100, maxBatch: 10 }, fields(), 60)));
      ids.push(...(await one.run(track, direct, fields(), 20)));
      await two.close();
      await closed(t, one, ids);
    });

    test('back/forward cache', async () => {
      const tab = await lab();
      await tab.run(() => void addEventListener('pageshow', (event) => (window.restored = event.persisted)));
      const ids = await tab.run(track, direct, fields(), 20);
      await tab.leave(`${site.origin}/next`);
      await gateway.delivered(ids);
      await tab.back();
      // A page that is loaded anew never says so.
      await until('the page says that it comes from the back/forward cache; does the client keep it out?', () =>
        tab.run(() => location.pathname === '/lab' && window.restored === true).catch(() => false));
      ids.push(...(await tab.run(track, direct, fields(), 20)));
      await tab.leave(`${site.origin}/next`);
      await gateway.delivered(ids);
      await tab.close();
    });
  });
}
