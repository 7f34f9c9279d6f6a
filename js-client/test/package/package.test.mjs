// What is shipped: how large, what is in it, and that its types hold a payload to its schema.
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';

const ROOT = dirname(dirname(dirname(fileURLToPath(import.meta.url))));
const dist = (file) => readFileSync(join(ROOT, 'dist', file));

const SIZES = { 'index.js': 2300, 'lakegate-core.js': 2300, 'lakegate.js': 3450 };
for (const [file, bytes] of Object.entries(SIZES)) {
  test(`${file} has at most ${bytes} bytes, gzip -9`, (t) => {
    const size = gzipSync(dist(file), { level: 9 }).length;
    t.diagnostic(`${size} bytes`);
    assert.ok(size <= bytes, `${size} bytes`);
  });
}

test('npm pack holds just what is needed', () => {
  // Without building again: other tests read dist/ meanwhile.
  const [{ files }] = JSON.parse(execFileSync('npm', ['pack', '--dry-run', '--json', '--ignore-scripts'], { cwd: ROOT, encoding: 'utf8' }));
  const scripts = ['index', 'menu', 'node', 'lakegate', 'lakegate-core'].map((name) => `dist/${name}.js`);
  const types = ['index', 'menu', 'node', 'types', 'events'].map((name) => `dist/${name}.d.ts`);
  assert.deepEqual(files.map(({ path }) => path).sort(), [...scripts, ...types, 'README.md', 'package.json'].sort());
  const { dependencies } = JSON.parse(readFileSync(join(ROOT, 'package.json')));
  assert.equal(dependencies, undefined);
});

test('a wrong payload does not compile', () => {
  const { status, stdout } = spawnSync(process.execPath, ['node_modules/typescript/bin/tsc', '--project', 'test/package'], { cwd: ROOT, encoding: 'utf8' });
  assert.equal(status, 0, stdout);
});

test('every entry can be imported where there is no browser, and does nothing by that', async () => {
  const before = Object.keys(globalThis);
  const modules = await Promise.all(['lakegate', 'lakegate/menu', 'lakegate/node'].map((name) => import(name)));
  assert.deepEqual(modules.map((module) => Object.keys(module)), [['createClient'], ['menu'], ['createClient']]);
  assert.deepEqual(Object.keys(globalThis), before);
});

test('no eval, no unload, no cookies', () => {
  for (const file of ['index.js', 'menu.js', 'lakegate.js', 'lakegate-core.js']) {
    assert.doesNotMatch(dist(file).toString(), /\beval\b|new Function|["'`](before)?unload["'`]|cookie/);
  }
});
