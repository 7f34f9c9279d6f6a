// What every browser test stands on: a gateway with a browser key, a site of another origin, and a browser.
import { createHash } from 'node:crypto';
import { launch, missing } from './browsers.mjs';
import { Gateway } from './gateway.mjs';
import { skipFor } from './required.mjs';
import { Site, freePort } from './site.mjs';

const KEY = 'a-key-that-everyone-can-read';

/** The browsers to test, each with the reason why it cannot be here. `LAKEGATE_BROWSERS=firefox` names one of them. */
export const BROWSERS = (process.env.LAKEGATE_BROWSERS ?? 'chromium,firefox,webkit').split(',').map((name) => {
  const skip = skipFor(missing(name));
  if (skip) console.error(`NOT TESTED IN ${name}: ${skip}`);
  return { name, skip };
});

/** The configuration with this browser key, for the pages of a site at this port. */
export function keyed(key, port) {
  const sha256 = createHash('sha256').update(key).digest('hex');
  return `[[keys]]\nname = "menu"\nkind = "browser"\nsecret_sha256 = "${sha256}"\n` +
    `allowed_origins = ["https://localhost:${port}"]\nallowed_events = ["menu:*", "client:*"]\n`;
}

export async function setUp(name) {
  const port = await freePort();
  const gateway = await new Gateway({ config: keyed(KEY, port) }).start();
  const site = await new Site(port, gateway, KEY).start();
  const browser = await launch(name);
  return { gateway, site, browser, direct: { url: gateway.url, key: KEY }, through: { url: site.url, key: KEY } };
}

export async function tearDown({ gateway, site, browser }) {
  await browser?.close();
  site?.stop();
  await gateway?.stop();
  gateway?.remove();
}
