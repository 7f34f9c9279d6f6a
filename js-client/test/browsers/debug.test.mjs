// On localhost the console says what is wrong with a page and with its events, once each; elsewhere visitors load nothing of that.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { BROWSERS, setUp, tearDown } from '../support/stage.mjs';
import { until } from '../support/until.mjs';

/** What is wrong with the page `/wrong`: the element, and what is said of it. */
const FAULTS = {
  '#html': [/^lakegate: lang="pt_PT" is no language\. Write <html lang="/],
  '#menu': [/^lakegate: data-menu: "my dinner" is no id\..+ data-menu="my-dinner"\.$/, /^lakegate: data-menu-restaurant: the id is missing/,
    /^lakegate: data-menu-currency="euro" is no currency.+ data-menu-currency="EUR"\.$/],
  '#lost': [/^lakegate: data-menu-item="soup" is in no section, and is not tracked/],
  '#spaces': [/^lakegate: data-menu-item: "Bacalhau à Brás" is no id\..+ data-menu-item="bacalhau-a-bras"\.$/,
    /^lakegate: data-menu-price="14,50" is no whole number.+ Write data-menu-price="1450"/],
  '#unnamed': [/^lakegate: data-menu-item: the id is missing\..+ data-menu-item="polvo-a-lagareiro"\.$/,
    /^lakegate: data-menu-price="€ 9" is no whole number.+ Write data-menu-price="900"/],
  '#twin': [/^lakegate: data-menu-item="arroz" is there twice/, /^lakegate: data-menu-price="about 9" is no whole number/],
  '#typo': [/^lakegate: data-menu-prise is not known/],
  '#again': [/^lakegate: data-menu-section="mains" is there twice/],
  '#stray': [/^lakegate: data-menu-action is in no item/],
  '#second': [/^lakegate: Only the first element with data-menu is tracked/],
  '#outside': [/^lakegate: This is outside of the element with data-menu/],
};

for (const { name, skip } of BROWSERS) {
  describe(name, { skip, concurrency: false }, () => {
    let gateway, site, browser;
    before(async () => {
      ({ gateway, site, browser } = await setUp(name));
    });
    after(() => tearDown({ gateway, site, browser }));

    const warnings = (tab) => tab.run(() => warnings);
    /** Waits for the rejection of the page's opening, which comes after all that is said of its elements. */
    const opened = (tab) => until('the rejection', async () => (await warnings(tab)).find(([text]) => /page:opened|^rejected/.test(text)));
    const ofElements = async (tab) => (await warnings(tab)).filter(([, element]) => element?.startsWith('#'));

    test('each fault of a page is told once, with its element, its attribute and what to write', async () => {
      const tab = await browser.tab(`${site.origin}/wrong`);
      await opened(tab);
      const told = await ofElements(tab);
      for (const [element, patterns] of Object.entries(FAULTS)) {
        const texts = told.filter(([, of]) => of === element).map(([text]) => text);
        for (const pattern of patterns) assert.equal(texts.filter((text) => pattern.test(text)).length, 1, `${element} ${pattern}: ${JSON.stringify(texts)}`);
        assert.equal(texts.length, patterns.length, `${element}: ${JSON.stringify(texts)}`);
      }
      assert.deepEqual([...new Set(told.map(([, of]) => of))].sort(), Object.keys(FAULTS).sort(), 'and nothing else');
      // The page changes: what was told is not told again, what is new is.
      await tab.run(() => document.querySelector('#mains').insertAdjacentHTML('beforeend', '<article id="late" data-menu-item="a b"><h3>Late</h3></article>'));
      await until('the new one', async () => (await ofElements(tab)).some(([, of]) => of === '#late'));
      assert.equal((await ofElements(tab)).length, told.length + 1);
      await tab.close();
    });

    test('a rejection is told with the name of the event, the place, the reason and what to do', async () => {
      const tab = await browser.tab(`${site.origin}/wrong`);
      const [text, event] = await opened(tab);
      assert.match(text, /^lakegate: menu:page:opened was rejected: schema_violation: .*"restaurant_id" is missing\. Correct data-menu-restaurant, on/);
      assert.match(text, new RegExp(`${gateway.origin}/errors#schema_violation`));
      assert.equal(JSON.parse(event).menu_id, 'my dinner');
      await tab.close();
    });

    test('of a field that is there and wrong, the place is told, and the attribute that it comes from', async () => {
      const tab = await browser.tab(`${site.origin}/wrong`);
      await tab.run(() => {
        document.querySelector('[data-menu]').dataset.menuRestaurant = 'tasca';
        document.querySelector('#good button').click();
      });
      // The visit began with the old attributes; an order has those of its item.
      await until('an order', async () => (await warnings(tab)).some(([text]) => /^lakegate: menu:item:ordered was rejected/.test(text)));
      await tab.close();
      const good = await browser.tab(`${site.origin}/menu`);
      await good.run(() => {
        window.warnings = [];
        console.warn = (text) => warnings.push([text]);
        document.querySelector('[data-menu-item]').dataset.menuPrice = '14,50';
        document.querySelector('[data-menu-item] button').click();
      });
      const [text] = await until('the rejection', async () => (await warnings(good)).find(([text]) => /menu:item:ordered/.test(text)));
      assert.match(text, /was rejected: schema_violation at \/price_minor: .+ Correct data-menu-price\./);
      await good.close();
    });

    test('where only the script was copied, rejections are told all the same, barely', async () => {
      const tab = await browser.tab(`${site.origin}/wrong?folder=/alone`);
      const [status, error, line] = await opened(tab);
      assert.equal(status, 'rejected');
      assert.equal(JSON.parse(error).code, 'schema_violation');
      assert.equal(JSON.parse(line).event_name, 'menu:page:opened');
      await tab.close();
    });

    test('data-debug="false" switches it off, and nothing of it is loaded', async () => {
      const tab = await browser.tab(`${site.origin}/wrong?debug=false`);
      const rejected = () => tab.run(() => Object.keys(localStorage).filter((key) => key.startsWith('lakegate:')).length === 0 &&
        performance.getEntriesByType('resource').some(({ name }) => name.includes('/v1/events')));
      await until('the answer', rejected);
      assert.deepEqual(await warnings(tab), []);
      assert.deepEqual(await tab.run(() => performance.getEntriesByType('resource').filter(({ name }) => name.includes('debug')).map(({ name }) => name)), []);
      await tab.close();
    });

    test('a good menu is told nothing of', async () => {
      const tab = await browser.tab(`${site.origin}/lab`);
      // What earlier tests left would be sent, and rejected.
      await tab.run(() => localStorage.clear());
      await tab.goto(`${site.origin}/menu`);
      const told = await tab.run(() => new Promise((done) => {
        const told = [];
        console.warn = (...words) => told.push(String(words[0]));
        import('/dist/lakegate-debug.js').then(() => setTimeout(() => done(told), 1000));
      }));
      assert.deepEqual(told, []);
      await tab.close();
    });
  });
}
