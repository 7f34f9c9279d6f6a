// examples/testing: an application's own tests, by Playwright and by Cypress, pass with `lakegate dev`, and fail when its tracking breaks.
import assert from 'node:assert/strict';
import { execFile, spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join, resolve } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { PROGRAMS, missing } from '../support/browsers.mjs';
import { ROOT } from '../support/gateway.mjs';
import { skipFor } from '../support/required.mjs';
import { freePort } from '../support/site.mjs';

const BINARY = resolve(ROOT, process.env.LAKEGATE_BIN ?? 'target/debug/lakegate');
const PLACE = 'examples/testing';
const isInstalled = (tool) => existsSync(join(ROOT, PLACE, tool, 'node_modules'));

// What breaks, the tests that must see it, and what they say then.
const NO_ORDERS = [(html) => html.replace(' data-menu-action="order"', ''), /menu:item:ordered accepted[^]*expected once within 5000 ms, came never/];
const NO_PRICE = [(html) => html.replace('data-menu-price="1450"', 'data-menu-price="14,50"'), /where \{"item_id":"bacalhau-a-bras","price_minor":1450\}: expected once/];
const TOOLS = {
  playwright: {
    why: missing('chromium') ?? (isInstalled('playwright') ? undefined : 'Playwright is not installed: make testing'),
    only: ' menu.spec.js', broken: NO_ORDERS,
  },
  cypress: {
    why: existsSync(join(process.env.CYPRESS_CACHE_FOLDER ?? 'nowhere', 'installed')) ? undefined : 'Cypress is not installed: make testing',
    only: ' --spec e2e/menu.cy.js', broken: NO_PRICE,
  },
};

for (const [tool, { why, only, broken: [change, says] }] of Object.entries(TOOLS)) {
  describe(`an application tested by ${tool}`, { skip: skipFor(why), concurrency: false }, () => {
    let folder;
    /** Runs the tests as its README says, on ports that are free. Returns the exit code and what was said. */
    const tested = async (only = '') => {
      const home = join(folder, PLACE, tool);
      const [, command] = /^lakegate (dev .*)$/.exec(JSON.parse(readFileSync(join(home, 'package.json'))).scripts.test);
      const port = String(await freePort());
      const environment = {
        ...process.env, PORT: port, CHROMIUM: PROGRAMS.chromium, NO_COLOR: '1', NODE_TEST_CONTEXT: undefined,
        PATH: [join(home, 'node_modules/.bin'), dirname(BINARY), process.env.PATH].join(delimiter),
      };
      const script = `lakegate ${command.replace('dev ', 'dev --listen 127.0.0.1:0 --admin 127.0.0.1:0 ')}${only}`;
      return new Promise((done) => execFile('sh', ['-c', script], { cwd: home, env: environment, timeout: 180_000, maxBuffer: 1 << 24 }, (error, stdout, stderr) =>
        done({ code: error ? (error.code ?? error.signal) : 0, said: `${stdout}\n${stderr}` })));
    };

    before(() => {
      // As in a checkout of its own, whose application can be broken.
      folder = mkdtempSync(join(tmpdir(), 'lakegate-testing-'));
      for (const name of ['js-client', 'schemas']) symlinkSync(join(ROOT, name), join(folder, name));
      mkdirSync(join(folder, PLACE), { recursive: true });
      for (const name of ['shop', tool]) cpSync(join(ROOT, PLACE, name), join(folder, PLACE, name), { recursive: true, filter: (path) => !path.endsWith('node_modules') });
      symlinkSync(join(ROOT, PLACE, tool, 'node_modules'), join(folder, PLACE, tool, 'node_modules'));
    });
    after(() => rmSync(folder, { recursive: true, force: true }));

    test('passes while the events are right', async () => {
      const { code, said } = await tested();
      assert.equal(code, 0, said);
      assert.match(said, /\b3 passed\b|All specs passed![^]*\b3\b/);
    });

    test('its code fits the types of the library', () => {
      const home = join(folder, PLACE, tool);
      const files = { playwright: ['menu.spec.js', 'outage.spec.js'], cypress: ['e2e/menu.cy.js', 'e2e/outage.cy.js', 'support/e2e.js'] }[tool];
      const options = ['--noEmit', '--strict', '--allowJs', '--checkJs', '--module', 'nodenext', '--target', 'es2022', '--lib', 'es2022,dom', '--skipLibCheck',
        '--types', tool === 'cypress' ? 'cypress,node' : 'node', '--typeRoots', ['node_modules', join(ROOT, 'js-client/node_modules/@types')].join()];
      const { status, stdout } = spawnSync(process.execPath, [join(ROOT, 'js-client/node_modules/typescript/bin/tsc'), ...options, ...files], { cwd: home, encoding: 'utf8' });
      assert.equal(status, 0, stdout);
    });

    test('fails when the tracking breaks, and says what came instead', async () => {
      const menu = 'shop/menu.html';
      writeFileSync(join(folder, PLACE, menu), change(readFileSync(join(ROOT, PLACE, menu), 'utf8')));
      const { code, said } = await tested(only);
      assert.notEqual(code, 0, said);
      assert.match(said, says);
      assert.match(said, /came: menu:page:opened accepted, once/);
    });
  });
}
