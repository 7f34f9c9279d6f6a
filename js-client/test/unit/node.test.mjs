// The Node entry: many requests at a time, kept-alive connections, and a spool that outlives the process.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { appendFileSync, existsSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { createClient } from '../../dist/node.js';
import { NAME, fields } from '../support/events.mjs';
import { accepted, faults } from '../support/faults.mjs';
import { Gateway } from '../support/gateway.mjs';
import { until } from '../support/until.mjs';

const DEAD = 'http://127.0.0.1:9/';
const track = (client, count) => Array.from({ length: count }, (_, index) => client.track(NAME, fields(index)));

function spoolIn(t) {
  const folder = mkdtempSync(join(tmpdir(), 'lakegate-spool-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  return join(folder, 'events');
}

test('5000 events through the real gateway, over HTTPS, packed, and close() waits for them', async (t) => {
  const gateway = await new Gateway().start();
  t.after(() => gateway.stop().then(() => gateway.remove()));
  const program = `
    import { createClient } from ${JSON.stringify(new URL('../../dist/node.js', import.meta.url).href)};
    const counts = {};
    const client = createClient({ url: ${JSON.stringify(gateway.url)}, key: 'dev', on: ({ status }) => (counts[status] = (counts[status] ?? 0) + 1) });
    const ids = Array.from({ length: 5000 }, (_, index) => client.track(${JSON.stringify(NAME)}, { ...${JSON.stringify(fields())}, section_index: index % 1000 }));
    const left = await client.close({ timeoutMs: 20000 });
    console.log(JSON.stringify({ counts, left, ids }));`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', program], {
    env: { ...process.env, NODE_EXTRA_CA_CERTS: gateway.certificate }, stdio: ['ignore', 'pipe', 'inherit'],
  });
  let said = '';
  child.stdout.on('data', (data) => (said += data));
  assert.equal(await new Promise((done) => child.once('close', done)), 0);
  const { counts, left, ids } = JSON.parse(said);
  assert.deepEqual([counts, left], [{ accepted: 5000 }, 0]);
  await gateway.delivered(ids);
});

test('at most `concurrency` requests are in flight, on connections that are kept', async (t) => {
  let flying = 0;
  let most = 0;
  const server = await faults(async (request) => {
    most = Math.max(most, ++flying);
    await new Promise((done) => setTimeout(done, 10));
    flying--;
    return accepted(request.lines);
  });
  t.after(() => server.close());
  const client = createClient({ url: server.url, key: 'k', concurrency: 3, maxBatch: 10 });
  track(client, 400);
  assert.equal(await client.close(), 0);
  assert.equal(server.requests.length, 40);
  assert.equal(most, 3);
  assert.ok(server.connections() <= 3, `${server.connections()} connections`);
  assert.ok(server.requests.every((request) => request.gzip && request.headers['x-api-key'] === 'k'));
});

test('what a process that was killed had not sent is sent by the next one, unchanged', async (t) => {
  const spool = spoolIn(t);
  const program = `
    import { createClient } from ${JSON.stringify(new URL('../../dist/node.js', import.meta.url).href)};
    const client = createClient({ url: ${JSON.stringify(DEAD)}, key: 'k', spool: ${JSON.stringify(spool)}, flushMs: 1e6 });
    const ids = Array.from({ length: 30 }, () => client.track(${JSON.stringify(NAME)}, ${JSON.stringify(fields())}));
    console.log(JSON.stringify(ids));
    setInterval(() => {}, 1e6);`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', program], { stdio: ['ignore', 'pipe', 'inherit'] });
  const ids = JSON.parse(await new Promise((done) => child.stdout.once('data', done)));
  assert.throws(() => createClient({ url: DEAD, key: 'k', spool }), /in use by process/);
  child.kill('SIGKILL');
  await new Promise((done) => child.once('exit', done));
  const lines = readFileSync(spool, 'utf8').trimEnd().split('\n');
  appendFileSync(spool, '{"event_uuid":"torn');
  const server = await faults((request) => accepted(request.lines));
  t.after(() => server.close());
  const client = createClient({ url: server.url, key: 'k', spool });
  assert.equal(await client.close(), 0);
  assert.deepEqual(server.requests.flatMap((request) => request.lines), lines);
  assert.deepEqual(lines.map((line) => JSON.parse(line).event_uuid), ids);
  assert.equal(statSync(spool).size, 0);
  assert.ok(!existsSync(`${spool}.lock`));
});

test('close() keeps to its time, says what is left, and leaves it in the spool', async (t) => {
  const spool = spoolIn(t);
  const server = await faults((request, index) => (index === 0 ? accepted(request.lines) : { status: 503, headers: { 'retry-after': '60' }, body: {} }));
  t.after(() => server.close());
  const client = createClient({ url: server.url, key: 'k', spool, maxBatch: 10, concurrency: 1 });
  const ids = track(client, 25);
  const begin = Date.now();
  assert.equal(await client.close({ timeoutMs: 500 }), 15);
  assert.ok(Date.now() - begin < 2000);
  assert.equal(await client.close(), 15, 'once is enough');
  assert.equal(server.requests.length, 2, 'Retry-After is obeyed');
  const settled = readFileSync(spool, 'utf8').split('\n').filter((line) => line.startsWith('-'));
  assert.deepEqual(settled.map((line) => line.slice(1)), ids.slice(0, 10));
  const outcomes = [];
  const next = await faults((request) => accepted(request.lines));
  t.after(() => next.close());
  const heir = createClient({ url: next.url, key: 'k', spool, on: ({ event_uuid }) => outcomes.push(event_uuid) });
  assert.equal(await heir.close(), 0);
  assert.deepEqual(outcomes, ids.slice(10));
});

test('flush() sends all that waits, and does not wait for a gateway that is away', async (t) => {
  let status = 202;
  const server = await faults((request) => (status === 202 ? accepted(request.lines) : { status, body: {} }));
  t.after(() => server.close());
  const client = createClient({ url: server.url, key: 'k', maxBatch: 10, concurrency: 2, flushMs: 1e6 });
  track(client, 45);
  await client.flush();
  assert.equal(server.requests.flatMap((request) => request.lines).length, 45);
  status = 503;
  track(client, 5);
  await client.flush();
  assert.equal(server.requests.at(-1).lines.length, 5);
  status = 202;
  assert.equal(await client.close(), 0);
});

test('a spool that is mostly settled is written anew, so that it does not grow for ever', async (t) => {
  const spool = spoolIn(t);
  let first;
  // The oldest event is never taken, so that the queue is never empty.
  const server = await faults((request) => {
    first ??= JSON.parse(request.lines[0]).event_uuid;
    const index = request.lines.findIndex((line) => line.includes(first));
    return accepted(request.lines, index < 0 ? [] : [{ index, status: 'retry', error: { code: 'busy' } }]);
  });
  t.after(() => server.close());
  t.mock.method(Math, 'random', () => 0);
  let ended = 0;
  const client = createClient({ url: server.url, key: 'k', spool, flushMs: 1, on: () => ended++ });
  for (let round = 1; round <= 20; round++) {
    track(client, 500);
    await until(`round ${round}`, () => ended >= round * 500 - 1);
  }
  const sent = server.requests.reduce((sum, request) => sum + Buffer.byteLength(request.lines.join('\n')), 0);
  assert.ok(sent > 3e6, `${sent} bytes were sent`);
  assert.ok(statSync(spool).size < 1.7e6, `${statSync(spool).size} bytes of spool`);
  assert.equal(await client.close({ timeoutMs: 50 }), 1);
});

test('rejected and dropped are told with their reason, and drops are reported', async (t) => {
  const gateway = await new Gateway({ plaintext: true }).start();
  t.after(() => gateway.stop().then(() => gateway.remove()));
  const outcomes = new Map();
  const client = createClient({ url: gateway.url, key: 'dev', maxQueue: 3, on: ({ event_uuid, ...how }) => outcomes.set(event_uuid, how) });
  const bad = client.track(NAME, { ...fields(), section_index: -1 });
  const [good] = track(client, 2);
  const [lost] = track(client, 1);
  assert.equal(await client.close(), 0);
  assert.deepEqual(outcomes.get(good), { status: 'accepted' });
  assert.deepEqual(outcomes.get(lost), { status: 'dropped', error: { code: 'queue_full' } });
  const { status, error } = outcomes.get(bad);
  assert.deepEqual([status, error.code, error.pointer], ['rejected', 'schema_violation', '/section_index']);
  await until('the report', async () => (await gateway.lake()).some((row) => row.event_name === 'client:events:dropped' && row.queue_full === 1 && row.client === 'node'));
});

test('waiting events keep no process alive', async () => {
  const program = `
    import { createClient } from ${JSON.stringify(new URL('../../dist/node.js', import.meta.url).href)};
    createClient({ url: ${JSON.stringify(DEAD)}, key: 'k', flushMs: 1e6 }).track(${JSON.stringify(NAME)}, {});`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', program], { stdio: 'inherit' });
  assert.equal(await new Promise((done) => child.once('exit', done)), 0);
});

// As in a browser: what a person must mend ends nothing.
const REFUSALS = {
  '401': { status: 401, body: { status: 401, code: 'unknown_key' } },
  '403 of a firewall': { status: 403, body: '<html>Blocked</html>' },
  '404': { status: 404, body: { status: 404, code: 'not_found' } },
  '405': { status: 405, body: { status: 405, code: 'method_not_allowed' } },
  '413 of a proxy, for one event': { status: 413, body: '<html>Too large</html>' },
  '415': { status: 415, body: { status: 415, code: 'unsupported_media_type' } },
  '421': { status: 421, body: '' },
  '200 of a login page': { status: 200, body: '<html>Log in</html>' },
  '202 of another program': { status: 202, body: { ok: true } },
};
for (const [what, refusal] of Object.entries(REFUSALS)) {
  test(`${what}: the spool keeps all, one warning says so, and all is delivered when it is over`, async (t) => {
    const spool = spoolIn(t);
    t.mock.method(Math, 'random', () => 0);
    const { mock } = t.mock.method(process, 'emitWarning', () => {});
    let refused = true;
    const server = await faults((request) => (refused ? refusal : accepted(request.lines)));
    t.after(() => server.close());
    const outcomes = [];
    const client = createClient({ url: server.url, key: 'k', spool, flushMs: 1, maxBatch: 10, on: ({ event_uuid, status }) => outcomes.push([event_uuid, status]) });
    const made = track(client, 40);
    // One event at a time asks whether it is over.
    await until('single events', () => server.requests.length >= 8 && server.requests.slice(-4).every(({ lines }) => lines.length === 1));
    assert.deepEqual(readFileSync(spool, 'utf8').trim().split('\n').map((line) => JSON.parse(line).event_uuid), made);
    assert.equal(outcomes.length, 0);
    refused = false;
    assert.equal(await client.close(), 0);
    assert.deepEqual(outcomes.sort(), made.map((id) => [id, 'accepted']));
    const told = mock.calls.map(({ arguments: [text] }) => text);
    assert.equal(told.length, 1);
    assert.match(told[0], new RegExp(`^lakegate: events wait: ${refusal.status} from http://127.0.0.1:\\d+/v1/events\\. Check url and key`));
  });
}

test('an event that a firewall does not let through keeps no other back', async (t) => {
  t.mock.method(Math, 'random', () => 0);
  t.mock.method(process, 'emitWarning', () => {});
  const server = await faults(({ lines }) =>
    lines.some((line) => line.includes('"section_index":3,')) ? { status: 403, body: '<html>Blocked</html>' } : accepted(lines));
  t.after(() => server.close());
  const outcomes = [];
  const client = createClient({ url: server.url, key: 'k', flushMs: 1, on: ({ event_uuid }) => outcomes.push(event_uuid) });
  const made = track(client, 20);
  await until('the others', () => outcomes.length === 19);
  assert.deepEqual(outcomes.sort(), made.filter((_, index) => index !== 3));
  assert.equal(await client.close({ timeoutMs: 50 }), 1);
});

test('with debug, the console says of every rejection which event, where, why and what to do', async (t) => {
  const { mock } = t.mock.method(console, 'warn', () => {});
  const gateway = await new Gateway({ plaintext: true }).start();
  t.after(() => gateway.stop().then(() => gateway.remove()));
  for (const debug of [false, true]) {
    const client = createClient({ url: gateway.url, key: 'dev', debug });
    client.track(NAME, { ...fields(), section_index: -1 });
    client.track('lesson:begun', {});
    assert.equal(await client.close(), 0);
    assert.equal(mock.calls.length, debug ? 2 : 0);
  }
  const [first, second] = mock.calls.map(({ arguments: [text] }) => text);
  assert.match(first, new RegExp(`^lakegate: ${NAME} was rejected: schema_violation at /section_index: .+ Correct .+/errors#schema_violation$`));
  assert.match(second, /^lakegate: lesson:begun was rejected: unknown_event.+lakegate schemas new/);
});
