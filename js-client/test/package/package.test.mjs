// What is shipped: how large, what is in it, and that its types hold a payload to its schema.
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';

const ROOT = dirname(dirname(dirname(fileURLToPath(import.meta.url))));
const dist = (file) => readFileSync(join(ROOT, 'dist', file));

const SIZES = {
  'index.js': 2300, 'lakegate-core.js': 2300, 'lakegate.js': 3600, 'durable.js': 700, 'lakegate-durable.js': 4150,
  // Only where somebody develops.
  'lakegate-debug.js': 3200,
};
for (const [file, bytes] of Object.entries(SIZES)) {
  test(`${file} has at most ${bytes} bytes, gzip -9`, (t) => {
    const size = gzipSync(dist(file), { level: 9 }).length;
    t.diagnostic(`${size} bytes`);
    assert.ok(size <= bytes, `${size} bytes`);
  });
}

/** What `npm publish` would send, as it is installed: its folder in a `node_modules`. Without building again: other tests read dist/. */
function installed(t) {
  const folder = mkdtempSync(join(tmpdir(), 'lakegate-package-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const [{ files, filename }] = JSON.parse(
    execFileSync('npm', ['pack', '--json', '--ignore-scripts', '--pack-destination', folder], { cwd: ROOT, encoding: 'utf8' }));
  const home = join(folder, 'node_modules/lakegate');
  mkdirSync(home, { recursive: true });
  execFileSync('tar', ['-xzf', join(folder, filename), '-C', home, '--strip-components=1']);
  return { folder, home, files: files.map(({ path }) => path), manifest: JSON.parse(readFileSync(join(home, 'package.json'))) };
}

// Used where Playwright and Cypress are: testing.test.mjs.
const TESTING = ['lakegate/testing', 'lakegate/testing/playwright', 'lakegate/testing/cypress'];

test('npm pack holds just what is needed, and says nothing of the machine that packed it', (t) => {
  const { home, files, manifest } = installed(t);
  const scripts = ['index', 'menu', 'node', 'durable', 'lakegate', 'lakegate-core', 'lakegate-durable', 'lakegate-debug'].map((name) => `dist/${name}.js`);
  const types = ['index', 'menu', 'node', 'durable', 'types', 'events'].map((name) => `dist/${name}.d.ts`);
  const testing = ['index', 'playwright', 'cypress'].flatMap((name) => [`testing/${name}.js`, `testing/${name}.d.ts`]);
  assert.deepEqual(files.sort(), [...scripts, ...types, ...testing, 'LICENSE', 'README.md', 'package.json'].sort());
  assert.equal(manifest.dependencies, undefined);
  assert.deepEqual([manifest.license, manifest.publishConfig], ['Apache-2.0', { access: 'public', provenance: true }]);
  assert.equal(readFileSync(join(home, 'LICENSE'), 'utf8'), readFileSync(join(ROOT, '../LICENSE'), 'utf8'));
  assert.doesNotMatch(JSON.stringify(manifest), /https?:/);
  for (const file of files) assert.ok(!readFileSync(join(home, file), 'utf8').includes(ROOT), file);
});

test('every entry of the package is there, can be imported as it is installed, and has its types', (t) => {
  const { folder, home, manifest } = installed(t);
  const paths = Object.values(manifest.exports).flatMap((target) => (typeof target === 'string' ? [target] : Object.values(target)));
  for (const path of paths) assert.ok(existsSync(join(home, path)), path);
  const modules = Object.entries(manifest.exports).filter(([, target]) => target.types).map(([name]) => name.replace('.', 'lakegate'));
  assert.deepEqual(modules.splice(-1 * TESTING.length), TESTING);
  assert.deepEqual(modules, ['lakegate', 'lakegate/menu', 'lakegate/node', 'lakegate/durable']);
  const program = modules.map((name) => `await import('${name}');`).join('\n');
  execFileSync(process.execPath, ['--input-type=module', '-e', program], { cwd: folder });
  writeFileSync(join(folder, 'use.mts'), modules.map((name, index) => `import * as module${index} from '${name}';\nexport const value${index} = module${index};`).join('\n'));
  const { status, stdout } = spawnSync(process.execPath, [join(ROOT, 'node_modules/typescript/bin/tsc'), '--noEmit', '--strict', '--types', '',
    '--module', 'nodenext', '--target', 'es2022', '--lib', 'es2022,dom', 'use.mts'], { cwd: folder, encoding: 'utf8' });
  assert.equal(status, 0, stdout);
});

test('a wrong payload does not compile', () => {
  const { status, stdout } = spawnSync(process.execPath, ['node_modules/typescript/bin/tsc', '--project', 'test/package'], { cwd: ROOT, encoding: 'utf8' });
  assert.equal(status, 0, stdout);
});

test('every entry can be imported where there is no browser, and does nothing by that', async () => {
  const before = Object.keys(globalThis);
  const modules = await Promise.all(['lakegate', 'lakegate/menu', 'lakegate/node', 'lakegate/durable'].map((name) => import(name)));
  assert.deepEqual(modules.map((module) => Object.keys(module)), [['createClient'], ['menu'], ['createClient'], ['durable']]);
  assert.deepEqual(Object.keys(globalThis), before);
});

test('no eval, no unload, no cookies', () => {
  for (const file of ['index.js', 'menu.js', 'durable.js', 'lakegate.js', 'lakegate-core.js', 'lakegate-durable.js', 'lakegate-debug.js']) {
    assert.doesNotMatch(dist(file).toString(), /\beval\b|new Function|["'`](before)?unload["'`]|cookie/);
  }
});
