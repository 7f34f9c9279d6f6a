// The modules of the console (src/http/console/) that need no browser: what they say of faults and numbers, and their types.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { cpSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { after, test } from 'node:test';
import { fileURLToPath, pathToFileURL } from 'node:url';

const ROOT = resolve(fileURLToPath(import.meta.url), '../../../..');
// Node takes a module for one by the package around it.
const folder = mkdtempSync(join(tmpdir(), 'lakegate-console-'));
after(() => rmSync(folder, { recursive: true, force: true }));
cpSync(join(ROOT, 'src/http/console'), folder, { recursive: true });
writeFileSync(join(folder, 'package.json'), '{"type":"module"}');
const module = (name) => import(pathToFileURL(join(folder, name)).href);
const { suggestion, understood } = await module('patch.js');
const { conditions } = await module('repair.js');
const { steps, valueAt } = await module('event.js');
const { ago, bytes, count, several, time } = await module('format.js');

test('its types are right', () => {
  const tsc = join(ROOT, 'js-client/node_modules/.bin/tsc');
  const { status, stdout } = spawnSync(tsc, ['-p', join(ROOT, 'js-client/tsconfig.console.json')], { encoding: 'utf8' });
  assert.equal(status, 0, stdout);
});

test('a fault is taken apart into what was expected, what was there, and what was meant', () => {
  assert.deepEqual(understood('expected an integer, got the string "7"'), { text: 'expected an integer, got the string "7"', expected: 'an integer', actual: 'the string "7"', meant: undefined });
  assert.equal(understood('expected one of "EUR", "USD", got the string "ERU"; did you mean "EUR"?').meant, 'EUR');
  const { text, meant } = understood('no schema is named "a:b"; did you mean "a:\\"c"? For a new event run: x');
  assert.deepEqual([text, meant], ['no schema is named "a:b"', 'a:"c']);
});

test('the patch that is suggested mends what can be mended, and invents nothing', () => {
  const event = { price: '14.50', index: '7', isOpen: 'true', id: 3, currency: 'ERU', lines: [{ 'a/b': 'x' }] };
  const patch = (pointer, detail) => suggestion({ pointer, detail }, event)?.operations;
  const replaced = (pointer, detail) => patch(pointer, detail).at(-1).value;
  assert.deepEqual(patch('/price', 'expected a number, got the string "14.50"'), [{ op: 'test', path: '/price', value: '14.50' }, { op: 'replace', path: '/price', value: 14.5 }]);
  assert.equal(replaced('/index', 'expected an integer, got the string "7"'), 7);
  assert.equal(replaced('/price', 'expected an integer, got the string "14.50"'), '14.50', 'no number is cut');
  assert.equal(replaced('/isOpen', 'expected a boolean, got the string "true"'), true);
  assert.equal(replaced('/id', 'expected a string, got the number 3'), '3');
  assert.equal(replaced('/currency', 'expected one of "EUR", got the string "ERU"; did you mean "EUR"?'), 'EUR');
  assert.deepEqual(patch('', 'the field "indx" is not in the schema; did you mean "index"?'), [{ op: 'move', from: '/indx', path: '/index' }]);
  assert.deepEqual(patch('/lines/0', 'the field "a/b" is not in the schema'), [{ op: 'remove', path: '/lines/0/a~1b' }]);
  assert.deepEqual(patch('', 'the required field "item_id" is missing'), [{ op: 'add', path: '/item_id', value: null }]);
  assert.equal(patch('/absent', 'expected a number, got nothing'), undefined);
  assert.equal(suggestion({ pointer: '', detail: 'the line is not JSON' }, 'no JSON'), undefined);
});

test('a group is selected by patterns that no name can break out of', () => {
  const group = { code: 'schema_violation', event_name: 'a*|b?', pointer: '/x\\y', source: 'web', schema_version: 2 };
  assert.deepEqual(conditions(group), ['code=schema_violation', 'event_name=a??b?', 'pointer=/x?y', 'source=web', 'version=2']);
  assert.deepEqual(conditions({ ...group, event_name: null, schema_version: null }).slice(1, 2), ['event_name=']);
});

test('pointers and numbers are read and written as the gateway does', () => {
  assert.deepEqual(steps('/a~1b/~01/0'), ['a/b', '~1', '0']);
  assert.equal(valueAt({ 'a/b': [5] }, '/a~1b/0'), 5);
  assert.equal(valueAt({}, '/constructor'), undefined);
  assert.deepEqual([0, 0.001, 0.25, 9.96, 12.34, 999.6, 12_345, 1e6].map(count), ['0', '<0.01', '0.25', '10.0', '12.3', '1.0k', '12.3k', '1M']);
  assert.deepEqual([null, undefined, NaN].map(count), ['–', '–', '–']);
  assert.deepEqual([512, 1536, 5e9].map(bytes), ['512 B', '1.5 KiB', '4.7 GiB']);
  assert.deepEqual([0, 0.00025, 0.0012, 0.25, 59.6, 121, 7500, 280_000].map(time), ['0 s', '250 µs', '1.2 ms', '250 ms', '60 s', '2 min', '2 h 05 min', '3 d 5 h']);
  assert.deepEqual([several(1, 'event'), several(1234, 'event'), ago(null), ago(new Date().toISOString())], ['1 event', '1,234 events', 'never', 'just now']);
});
