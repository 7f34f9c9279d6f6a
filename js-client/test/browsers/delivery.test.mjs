// Every event of a page reaches the lake, once, whatever becomes of the page: in real browsers, against the real gateway,
// over HTTPS, from another origin. `LAKEGATE_BROWSERS=firefox` runs one of them.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { createHash } from 'node:crypto';
import { launch, missing } from '../support/browsers.mjs';
import { fields } from '../support/events.mjs';
import { Gateway } from '../support/gateway.mjs';
import { Site, freePort } from '../support/site.mjs';
import { until } from '../support/until.mjs';

const KEY = 'a-key-that-everyone-can-read';
const BROWSERS = (process.env.LAKEGATE_BROWSERS ?? 'chromium,firefox,webkit').split(',');

/** In the page: a client that only sends when it must, and `count` events in one go. Gives their event_uuids. */
const track = (options, fields, count) => {
  window.client ??= lakegate.createClient({ flushMs: 1e6, maxBatch: 1e6, ...options });
  return Array.from({ length: count }, (_, index) => client.track('menu:section:reached', { ...fields, section_index: index }));
};
const open = (options) => void (window.client = lakegate.createClient({ flushMs: 50, ...options }));
const stored = () => Object.keys(localStorage).filter((key) => key.startsWith('lakegate:')).length;

for (const name of BROWSERS) {
  const reason = missing(name);
  if (reason) console.error(`NOT TESTED IN ${name}: ${reason}`);
  describe(name, { skip: reason, concurrency: false }, () => {
    let gateway, site, browser, direct, through;

    before(async () => {
      const port = await freePort();
      const sha256 = createHash('sha256').update(KEY).digest('hex');
      gateway = await new Gateway({
        config: `[[keys]]\nname = "menu"\nkind = "browser"\nsecret_sha256 = "${sha256}"\n` +
          `allowed_origins = ["https://localhost:${port}"]\nallowed_events = ["menu:*", "client:*"]\n`,
      }).start();
      site = await new Site(port, gateway, KEY).start();
      direct = { url: gateway.url, key: KEY };
      through = { url: site.url, key: KEY };
      browser = await launch(name);
    });
    after(async () => {
      await browser?.close();
      site?.stop();
      await gateway?.stop();
      gateway?.remove();
    });
    const lab = () => browser.tab(`${site.origin}/lab`);

    test('navigate away', async () => {
      const tab = await lab();
      const ids = await tab.run(track, direct, fields(), 20);
      await tab.leave(`${site.origin}/next`);
      await gateway.delivered(ids);
      await tab.close();
    });

    test('close the tab', async () => {
      const tab = await lab();
      const ids = await tab.run(track, direct, fields(), 20);
      await tab.close();
      await gateway.delivered(ids);
    });

    test('switch the tab: answered there, and forgotten', async (t) => {
      if (!browser.canSwitchTabs) return t.skip('its driver cannot put a tab behind another');
      const tab = await lab();
      const ids = await tab.run(track, direct, fields(), 20);
      const other = await browser.tab(`${site.origin}/next`);
      await other.front();
      await gateway.delivered(ids);
      await tab.front();
      assert.equal(await tab.run(() => document.visibilityState), 'visible');
      await until('nothing is stored', async () => (await tab.run(stored)) === 0);
      await tab.close();
      await other.close();
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
      const since = Date.now();
      await until('several tries', () => Date.now() - since > 4000);
      site.fault = 'pass';
      await gateway.delivered(ids);
      await tab.close();
    });

    test('two tabs at once', async () => {
      const [one, two] = [await lab(), await lab()];
      const ids = await one.run(track, { ...direct, flushMs: 100, maxBatch: 10 }, fields(), 60);
      ids.push(...(await two.run(track, { ...direct, flushMs: 100, maxBatch: 10 }, fields(), 60)));
      ids.push(...(await one.run(track, direct, fields(), 20)));
      await one.close();
      await two.close();
      await gateway.delivered(ids);
    });

    test('back/forward cache', async (t) => {
      const tab = await lab();
      await tab.run(() => void addEventListener('pageshow', (event) => (window.restored = event.persisted)));
      const ids = await tab.run(track, direct, fields(), 20);
      await tab.leave(`${site.origin}/next`);
      await gateway.delivered(ids);
      await tab.back();
      await until('the page is back', () => tab.run(() => location.pathname === '/lab').catch(() => false));
      const restored = await tab.run(() => window.restored ?? false);
      t.diagnostic(restored ? 'restored from the cache' : 'loaded anew');
      assert.ok(restored, 'the client keeps the page out of the back/forward cache');
      ids.push(...(await tab.run(track, direct, fields(), 20)));
      await tab.leave(`${site.origin}/next`);
      await gateway.delivered(ids);
      await tab.close();
    });
  });
}
