// What a visitor does with a menu becomes events, by data attributes and the plain script alone, under a strict CSP.
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { fields } from '../support/events.mjs';
import { BROWSERS, setUp, tearDown } from '../support/stage.mjs';
import { until } from '../support/until.mjs';

const UUID7 = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;
const stored = () => Object.keys(localStorage).filter((key) => key.startsWith('lakegate:'));

for (const { name, skip } of BROWSERS) {
  describe(name, { skip, concurrency: false }, () => {
    let gateway, site, browser, through;
    before(async () => {
      ({ gateway, site, browser, through } = await setUp(name));
    });
    after(() => tearDown({ gateway, site, browser }));

    /** Waits until the lake has rows for which `what` says yes. */
    const rows = async (what, count = 1) => {
      let found;
      await until(() => `${count} rows, but ${found.length}: ${what}`, async () => {
        found = (await gateway.lake()).filter(what);
        return found.length >= count;
      }, 15);
      return found.sort((a, b) => (a.event_uuid < b.event_uuid ? -1 : 1));
    };

    test('a visit, from the opening to the leaving', async () => {
      const tab = await browser.tab(`${site.origin}/menu?entry=qr-table-7`);
      const [opened] = await rows(({ event_name }) => event_name === 'menu:page:opened');
      assert.match(opened.event_uuid, UUID7);
      const { visit_id, session_id } = opened;
      const mine = (event_name, more = () => true) => (row) => row.visit_id === visit_id && row.event_name === event_name && more(row);
      const [width_px, height_px] = await tab.run(() => [innerWidth, innerHeight]);
      assert.deepEqual(
        [opened.restaurant_id, opened.menu_id, opened.page_path, opened.locale, opened.viewport, opened.section_count, opened.item_count, opened.entry, opened.navigation],
        ['tasca-do-lago', 'dinner', '/menu', 'pt-PT', { width_px, height_px }, 4, 12, 'qr-table-7', 'navigate'],
      );

      const [first] = await rows(mine('menu:item:viewed', (row) => row.item_id === 'appetizers-0'));
      assert.ok(first.dwell_ms >= 1000 && first.dwell_ms < 2500, `${first.dwell_ms} ms`);
      assert.deepEqual(
        [first.section_id, first.section_index, first.section_name, first.item_index, first.item_name, first.price_minor, first.currency, first.view_number],
        ['appetizers', 0, 'Section appetizers', 0, 'Dish 0 & more', 900, 'EUR', 1],
      );
      // Past the mains in less than a second, to the end.
      await tab.run(() => document.querySelector('[data-menu-section=mains]').scrollIntoView());
      await rows(mine('menu:section:reached', (row) => row.section_id === 'mains'));
      await tab.run(() => document.querySelector('[data-menu-item=desserts-2]').scrollIntoView());
      
      await rows(mine('menu:item:viewed', (row) => row.item_id === 'desserts-2'));
      const [reached] = await rows(mine('menu:section:reached', (row) => row.section_id === 'desserts'));
      assert.deepEqual([reached.section_index, reached.depth_percent], [3, 100]);

      await tab.run(() => document.querySelector('[data-menu-item=desserts-1] button').click());
      const [ordered] = await rows(mine('menu:item:ordered'));
      assert.deepEqual([ordered.item_id, ordered.item_index, ordered.action, ordered.price_minor], ['desserts-1', 1, 'order', 1201]);

      // A dish that the page shows only now.
      await tab.run(() => {
        const late = document.querySelector('[data-menu-item=desserts-2]').cloneNode(true);
        late.dataset.menuItem = 'late';
        document.querySelector('[data-menu-section=desserts]').append(late);
        late.scrollIntoView();
      });
      const [late] = await rows(mine('menu:item:viewed', (row) => row.item_id === 'late'));
      assert.equal(late.item_index, 3);

      assert.equal(await tab.run(() => document.cookie), '');
      await tab.leave(`${site.origin}/next`);
      const [progress] = await rows(mine('menu:visit:progress'));
      assert.deepEqual(
        [progress.progress_index, progress.depth_percent, progress.deepest_section_id, progress.deepest_section_index, progress.section_count, progress.item_count],
        [0, 100, 'desserts', 3, 4, 13],
      );
      assert.ok(['hidden', 'pagehide'].includes(progress.reason));
      const dwell = Object.fromEntries(progress.items.map((item) => [item.item_id, item]));
      assert.ok(dwell['appetizers-0'].dwell_ms >= 1000 && dwell['appetizers-0'].dwell_ms <= progress.active_ms);
      assert.deepEqual([dwell['appetizers-0'].view_count, dwell['appetizers-0'].section_id, dwell.late.view_count], [1, 'appetizers', 1]);

      // The tab's session goes on, the visit does not; and the way back is a visit of its own.
      await tab.back();
      const [again] = await rows((row) => row.event_name === 'menu:page:opened' && row.visit_id !== visit_id);
      assert.equal(again.session_id, session_id);
      assert.equal(again.navigation, 'back_forward');
      const both = (await gateway.lake()).filter((row) => row.event_name === 'menu:section:reached' && row.visit_id === visit_id);
      assert.equal(new Set(both.map((row) => row.section_id)).size, both.length, 'a section is reached once in a visit');
      await tab.close();
      assert.ok(!existsSync(join(gateway.folder, 'data/dead-letters/menu')), 'nothing was rejected');
    });

    test('one key per event in localStorage before it is sent, adopted by another tab, gone when answered', async () => {
      const tab = await browser.tab(`${site.origin}/lab`);
      const ids = await tab.run((options, fields) => {
        localStorage.clear();
        window.client = lakegate.createClient({ flushMs: 1e6, ...options });
        return [0, 1, 2].map((index) => client.track('menu:section:reached', { ...fields, section_index: index }));
      }, through, fields());
      assert.deepEqual((await tab.run(stored)).sort(), ids.map((id) => `lakegate:${through.key}:${id}`));
      for (const id of ids) assert.match(id, UUID7);
      const other = await browser.tab(`${site.origin}/lab`);
      await other.run((options) => void lakegate.createClient({ flushMs: 20, ...options }), through);
      await gateway.delivered(ids);
      await until('nothing is stored', async () => (await other.run(stored)).length === 0);
      assert.ok(site.seen.every(({ headers }) => !headers.cookie), 'no cookies');
      await tab.close();
      await other.close();
    });

    test('where there is no keepalive a beacon goes, and what it carried is not in the lake twice', async () => {
      const tab = await browser.tab(`${site.origin}/lab`);
      const ids = await tab.run((options, fields) => {
        localStorage.clear();
        delete Request.prototype.keepalive;
        const client = lakegate.createClient({ flushMs: 1e6, ...options });
        return [0, 1, 2].map((index) => client.track('menu:section:reached', { ...fields, section_index: index }));
      }, through, fields());
      await tab.leave(`${site.origin}/lab`);
      await gateway.delivered(ids);
      assert.equal((await tab.run(stored)).length, 3);
      const outcomes = await tab.run((options) => new Promise((done) => {
        const outcomes = [];
        lakegate.createClient({ flushMs: 20, ...options, on: (outcome) => outcomes.push(outcome.status) === 3 && done(outcomes) });
      }), through);
      assert.deepEqual(outcomes, ['duplicate', 'duplicate', 'duplicate']);
      await gateway.delivered(ids);
      await tab.close();
    });

    test('pending stores nothing, and denied leaves nothing', async () => {
      const tab = await browser.tab(`${site.origin}/lab`);
      const seen = await tab.run((options, fields) => {
        localStorage.clear();
        sessionStorage.clear();
        const kept = () => localStorage.length + sessionStorage.length;
        const client = lakegate.createClient({ flushMs: 1e6, consent: 'pending', ...options });
        client.track('menu:section:reached', fields);
        const counts = [kept()];
        client.consent('granted');
        counts.push(kept());
        client.consent('denied');
        client.track('menu:section:reached', fields);
        return [...counts, kept()];
      }, through, fields());
      assert.deepEqual(seen, [0, 2, 0]);
      const before = site.seen.length;
      await tab.leave(`${site.origin}/next`);
      assert.equal(site.seen.length, before);
      await tab.close();
    });

    test('Global Privacy Control means that nothing is kept or sent', async () => {
      const tab = await browser.tab(`${site.origin}/lab`);
      const before = site.seen.length;
      const kept = await tab.run((options, fields) => {
        localStorage.clear();
        sessionStorage.clear();
        Object.defineProperty(navigator, 'globalPrivacyControl', { value: true, configurable: true });
        const client = lakegate.createClient({ flushMs: 1e6, ...options });
        client.consent('granted');
        client.track('menu:section:reached', fields);
        return localStorage.length + sessionStorage.length;
      }, through, fields());
      assert.equal(kept, 0);
      await tab.leave(`${site.origin}/next`);
      assert.equal(site.seen.length, before);
      await tab.close();
    });

    test('a single-page application opens another menu: a new visit, and the old one has its end', async () => {
      const tab = await browser.tab(`${site.origin}/spa`);
      await until('the modules', () => tab.run(() => !!window.tracked));
      // Never half of it is in view, since it is taller than two screens: it fills half of one.
      const [first] = await rows((row) => row.menu_id === 'lunch' && row.event_name === 'menu:item:viewed');
      await tab.run(() => {
        document.querySelector('main').outerHTML = document.querySelector('main').outerHTML.replaceAll('lunch', 'evening');
        tracked.open();
      });
      const [second] = await rows((row) => row.menu_id === 'evening' && row.event_name === 'menu:item:viewed');
      const [end] = await rows((row) => row.menu_id === 'lunch' && row.event_name === 'menu:visit:progress');
      assert.equal(end.visit_id, first.visit_id);
      assert.equal(end.items[0].item_id, 'lunch-soup');
      assert.deepEqual([second.item_id, second.session_id, second.view_number], ['evening-soup', first.session_id, 1]);
      assert.notEqual(second.visit_id, first.visit_id);
      await tab.run(() => tracked.stop());
      const [stopped] = await rows((row) => row.menu_id === 'evening' && row.event_name === 'menu:visit:progress');
      assert.equal(stopped.visit_id, second.visit_id);
      await tab.close();
    });

    test('it is parked while the network is away, and the event `online` wakes it', async () => {
      const tab = await browser.tab(`${site.origin}/lab`);
      site.fault = 'drop';
      const before = site.seen.length;
      const id = await tab.run((options, fields) => {
        Math.random = () => 0;
        window.client = lakegate.createClient({ flushMs: 5, ...options });
        return client.track('menu:section:reached', fields);
      }, through, fields());
      // A browser may repeat a request on its own where a connection breaks.
      await until('five tries', () => site.seen.length - before >= 5);
      let count;
      await until('silence', async () => {
        const last = count;
        count = site.seen.length;
        await new Promise((done) => setTimeout(done, 400));
        return last === count;
      });
      site.fault = 'pass';
      await tab.run(() => void dispatchEvent(new Event('online')));
      await gateway.delivered([id]);
      await tab.close();
    });
  });
}
