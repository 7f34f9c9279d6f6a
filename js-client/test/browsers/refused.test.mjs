// A gateway that refuses, and what stands in its place, take no event from a visitor: they wait in the browser, and come when it is over.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { fields } from '../support/events.mjs';
import { BROWSERS, keyed, setUp, tearDown } from '../support/stage.mjs';
import { until } from '../support/until.mjs';

/** In the page: a client that tells its outcomes, and what the console is warned of. */
const begin = (options) => {
  window.outcomes = [];
  window.warnings = [];
  console.warn = (...words) => warnings.push(words.join(' '));
  // No pause lasts.
  Math.random = () => 0.01;
  // Requests that ended, readable or not.
  window.tries = 0;
  const { fetch } = window;
  window.fetch = (...how) => fetch(...how).finally(() => tries++);
  window.client = lakegate.createClient({ flushMs: 50, debug: false, ...options, on: ({ event_uuid, status }) => outcomes.push([event_uuid, status]) });
};
const track = (fields, count) =>
  Array.from({ length: count }, (_, index) => client.track('menu:section:reached', { ...fields, section_index: index }));
const stored = () => Object.keys(localStorage).filter((key) => key.startsWith('lakegate:')).length;

for (const { name, skip } of BROWSERS) {
  describe(name, { skip, concurrency: false }, () => {
    let gateway, site, browser, direct, through;
    before(async () => {
      ({ gateway, site, browser, direct, through } = await setUp(name));
    });
    after(() => tearDown({ gateway, site, browser }));
    const lab = () => browser.tab(`${site.origin}/lab`);
    /** The same, without what earlier tests left in the browser. */
    const clean = async () => {
      const tab = await lab();
      await tab.run(() => localStorage.clear());
      return tab;
    };
    const tries = (tab) => tab.run(() => tries);
    /** All is answered: a page that rests is told that the network is back, again and again, since a try may fail meanwhile. */
    const answered = (tab) => until('an answer to all', async () => {
      await tab.run(() => void dispatchEvent(new Event('online')));
      return (await tab.run(stored)) === 0;
    }, 40, 500);

    test('the key is wrong for a while: pages that stay, that are closed and that come keep all, and all is delivered', async () => {
      const right = gateway.config;
      const stays = await lab();
      await stays.run(begin, direct);
      const ids = await stays.run(track, fields(), 20);
      await gateway.delivered(ids);
      await gateway.stop();
      gateway.config = keyed('another-key', site.port);
      await gateway.start();
      for (let burst = 0; burst < 3; burst++) {
        ids.push(...(await stays.run(track, fields(), 20)));
        // The gateway itself refuses, readable across origins.
        await until('a refusal', () => stays.run(() => warnings.length > 0));
      }
      const goes = await lab();
      await goes.run(begin, direct);
      ids.push(...(await goes.run(track, fields(), 20)));
      await until('a refusal', () => goes.run(() => warnings.length > 0));
      await goes.close();
      assert.ok((await stays.run(stored)) >= 80);
      const [warning, ...more] = await stays.run(() => warnings);
      assert.match(warning, /^lakegate: refused 401 .+unknown_key/);
      assert.deepEqual(more, [], 'told once');
      await gateway.stop();
      gateway.config = right;
      await gateway.start();
      const comes = await lab();
      await comes.run(begin, direct);
      ids.push(...(await comes.run(track, fields(), 20)));
      await gateway.delivered(ids);
      await until('nothing is stored', async () => (await comes.run(stored)) === 0);
      const outcomes = await stays.run(() => outcomes);
      assert.ok(outcomes.every(([, status]) => status === 'accepted' || status === 'duplicate'), JSON.stringify(outcomes));
      await stays.close();
      await comes.close();
    });

    test('a page whose origin the key does not allow keeps its events until it does', async (t) => {
      const right = gateway.config;
      t.after(() => (gateway.config = right));
      await gateway.stop();
      gateway.config = keyed(direct.key, site.port + 1);
      await gateway.start();
      const tab = await clean();
      await tab.run(begin, direct);
      const ids = await tab.run(track, fields(), 20);
      // The refusal is not for this page to read: to it the network is away.
      await until('two tries', async () => (await tries(tab)) >= 2);
      assert.equal(await tab.run(stored), 20);
      await gateway.stop();
      gateway.config = right;
      await gateway.start();
      await answered(tab);
      await gateway.delivered(ids);
      await tab.close();
    });

    for (const fault of ['login', 'drop']) {
      test(`${fault} of something before the gateway ends nothing`, async () => {
        const tab = await clean();
        await tab.run(begin, through);
        site.fault = fault;
        const before = site.seen.length;
        const ids = await tab.run(track, fields(), 20);
        await until('three refusals', () => site.seen.length - before >= 3);
        assert.deepEqual([await tab.run(stored), await tab.run(() => outcomes.length)], [20, 0]);
        site.fault = 'pass';
        await answered(tab);
        await gateway.delivered(ids);
        await tab.close();
      });
    }

    test('an answer that the page may not read ends nothing', async () => {
      const tab = await clean();
      // There the gateway says nothing of other origins.
      await tab.run(begin, { ...direct, url: `${gateway.origin}/healthz` });
      const ids = await tab.run(track, fields(), 20);
      await until('two tries', async () => (await tries(tab)) >= 2);
      assert.deepEqual([await tab.run(stored), await tab.run(() => outcomes.length)], [20, 0]);
      await tab.run(begin, direct);
      await gateway.delivered(ids);
      await tab.close();
    });
  });
}
