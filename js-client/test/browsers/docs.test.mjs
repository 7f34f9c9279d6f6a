// docs/frontend.md in a real browser: its own page and its own configuration bring events into the lake.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { test } from 'node:test';
import { launch } from '../support/browsers.mjs';
import { Gateway, ROOT } from '../support/gateway.mjs';
import { freePort } from '../support/site.mjs';
import { BROWSERS } from '../support/stage.mjs';
import { until } from '../support/until.mjs';

const text = readFileSync(join(ROOT, 'docs/frontend.md'), 'utf8');
const [, html] = /^```html\n<!-- menu\.html -->\n(.*?)^```$/ms.exec(text);
// The key's lines of the configuration that the page writes.
const [, keys] = /^cat > lakegate\.toml <<'END'\n.*?(^\[\[keys\]\]\n.*?)^END$/ms.exec(text);

for (const { name, skip } of BROWSERS) {
  test(`the page of docs/frontend.md in ${name}`, { skip }, async (t) => {
    const port = await freePort();
    const gateway = await new Gateway({ plaintext: true, config: keys.replaceAll('localhost:8080', `localhost:${port}`) }).start();
    const files = {
      '/menu.html': ['text/html; charset=utf-8', html.replaceAll('localhost:8443', `localhost:${gateway.port}`)],
      '/lakegate.js': ['text/javascript', readFileSync(join(ROOT, 'js-client/dist/lakegate.js'))],
    };
    const site = createServer(({ url }, response) => {
      const [type, body] = files[url] ?? [];
      response.writeHead(body ? 200 : 404, { 'content-type': type ?? 'text/plain' }).end(body);
    });
    await new Promise((done) => site.listen(port, '127.0.0.1', done));
    const browser = await launch(name);
    t.after(async () => {
      await browser.close();
      site.closeAllConnections();
      site.close();
      await gateway.stop();
      gateway.remove();
    });

    const arrived = async (event) => (await gateway.lake()).filter(({ event_name }) => event_name === event);
    const tab = await browser.tab(`http://localhost:${port}/menu.html`);
    await tab.run(() => document.querySelector('button').click());
    for (const event of ['menu:page:opened', 'menu:section:reached', 'menu:item:viewed', 'menu:item:ordered']) {
      await until(event, async () => (await arrived(event)).length > 0, 20);
    }
    const [order] = await arrived('menu:item:ordered');
    assert.deepEqual([order.item_id, order.price_minor, order.currency, order.source], ['bacalhau-a-bras', 1450, 'EUR', 'menu-page']);
    await tab.close();
  });
}
