// `lakegate/durable` and its script: events are in IndexedDB beside localStorage, with the visitor's consent only, until they have ended.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { fields } from '../support/events.mjs';
import { BROWSERS, setUp, tearDown } from '../support/stage.mjs';
import { until } from '../support/until.mjs';

/** In the page: a client with the storage, and its outcomes. */
const begin = async (options) => {
  const { durable } = await import('/dist/durable.js');
  window.outcomes = [];
  window.client = lakegate.createClient({ flushMs: 1e6, debug: false, ...options, storage: await durable(), on: ({ status }) => outcomes.push(status) });
};
const track = (fields, count) =>
  Array.from({ length: count }, (_, index) => client.track('menu:section:reached', { ...fields, section_index: index }));
/** What IndexedDB has; -1 where there is no database. */
const inDatabase = async () => {
  if (!(await indexedDB.databases()).some(({ name }) => name === 'lakegate')) return -1;
  const done = (request) => new Promise((resolve) => (request.onsuccess = () => resolve(request.result)));
  const database = await done(indexedDB.open('lakegate'));
  const count = await done(database.transaction('events').objectStore('events').count());
  database.close();
  return count;
};

for (const { name, skip } of BROWSERS) {
  describe(name, { skip, concurrency: false }, () => {
    let gateway, site, browser, direct;
    before(async () => {
      ({ gateway, site, browser, direct } = await setUp(name));
    });
    after(() => tearDown({ gateway, site, browser }));
    const lab = () => browser.tab(`${site.origin}/lab`);
    const has = (tab, count) => until(`${count} events in IndexedDB`, async () => (await tab.run(inDatabase)) === count);

    test('nothing is made before consent, granted stores, denied leaves nothing', async () => {
      const tab = await lab();
      await tab.run(begin, { ...direct, consent: 'pending' });
      await tab.run(track, fields(), 3);
      assert.equal(await tab.run(inDatabase), -1);
      await tab.run(() => client.consent('granted'));
      await has(tab, 3);
      await tab.run(() => client.consent('denied'));
      await has(tab, 0);
      assert.equal(await tab.run(() => Object.keys(localStorage).filter((key) => key.startsWith('lakegate:')).length), 0);
      await tab.close();
    });

    test('what localStorage has forgotten, as after a kill, is adopted from IndexedDB, delivered and removed; a denial purges it', async () => {
      const tab = await lab();
      await tab.run(begin, { ...direct, url: `${gateway.origin}/healthz` });
      const ids = await tab.run(track, fields(), 5);
      await has(tab, 5);
      await tab.run(() => localStorage.clear());
      const next = await lab();
      await next.run(begin, { ...direct, flushMs: 50 });
      await gateway.delivered(ids);
      await has(next, 0);
      assert.deepEqual(await next.run(() => outcomes), Array(5).fill('accepted'));
      await tab.run(track, fields(), 4);
      await has(next, 4);
      await next.run(() => localStorage.clear());
      const denied = await lab();
      await denied.run(begin, { ...direct, consent: 'denied' });
      await has(denied, 0);
      for (const each of [tab, next, denied]) await each.close();
    });

    test('the script tracks a menu', async () => {
      const tab = await browser.tab(`${site.origin}/menu?script=lakegate-durable`);
      await until('the client', () => tab.run(() => typeof window.lakegate?.track === 'function'));
      await until('the opening is in the lake', async () => (await gateway.lake()).some(({ event_name }) => event_name === 'menu:page:opened'), 15);
      const id = await tab.run((fields) => lakegate.track('menu:section:reached', fields), fields());
      await gateway.delivered([id]);
      await tab.close();
    });
  });
}
