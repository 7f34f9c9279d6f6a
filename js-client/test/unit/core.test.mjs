// What the core does with answers and limits. It needs no browser: storage is an object, and the network is Node's.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createClient } from '../../dist/index.js';
import { NAME, fields } from '../support/events.mjs';
import { accepted, faults } from '../support/faults.mjs';
import { Gateway } from '../support/gateway.mjs';
import { until } from '../support/until.mjs';

/** A client of a server with these answers; all it says is in `outcomes`. */
async function rig(t, answer, options = {}) {
  const server = await faults(answer);
  const outcomes = [];
  const storage = {};
  const make = (more) => createClient({ url: server.url, key: 'k', flushMs: 20, storage, on: (outcome) => outcomes.push(outcome), ...options, ...more });
  const client = make();
  t.after(() => {
    client.close();
    server.close();
  });
  const ended = (count) => until(() => `${count} outcomes, but ${outcomes.length}`, () => outcomes.length >= count);
  return { server, client, outcomes, storage, make, ended };
}

const track = (client, count) => Array.from({ length: count }, (_, index) => client.track(NAME, fields(index)));
const ids = (request) => request.lines.map((line) => JSON.parse(line).event_uuid);

test('event_uuids are version 7, and in order also within one millisecond and when the clock is set back', (t) => {
  t.mock.timers.enable({ apis: ['Date'], now: 1795029600000 });
  const client = createClient({ url: 'http://127.0.0.1:9/', key: 'k', storage: null, consent: 'pending', maxQueue: 1e6 });
  const made = track(client, 5000);
  t.mock.timers.setTime(1795029500000);
  made.push(...track(client, 10));
  for (const id of made) assert.match(id, /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  assert.deepEqual(made, [...made].sort());
  assert.equal(new Set(made).size, 5010);
  const millis = parseInt(made[0].replaceAll('-', '').slice(0, 12), 16);
  assert.equal(millis, 1795029600000);
});

test('created_at is the time of track(), and a retry resends identical bytes', async (t) => {
  const { server, client, ended } = await rig(t, (request, index) => (index < 2 ? { status: 503, body: {} } : accepted(request.lines)));
  const before = Date.now() / 1000;
  const id = client.track(NAME, fields());
  const after = Date.now() / 1000;
  await ended(1);
  const [first, second, third] = server.requests.map((request) => request.lines[0]);
  assert.equal(first, second);
  assert.equal(first, third);
  const event = JSON.parse(first);
  assert.equal(event.event_uuid, id);
  assert.ok(event.created_at >= before && event.created_at <= after);
});

test('an event is stored under its own key before it is sent, and removed only by the answer', async (t) => {
  let release;
  const wait = new Promise((done) => (release = done));
  const { server, client, outcomes, storage, ended } = await rig(t, (request, index) => (index > 0 ? { status: 503, body: {} } : {
    ...accepted(request.lines, [
      { index: 0, status: 'duplicate' },
      { index: 1, status: 'rejected', error: { code: 'schema_violation', pointer: '/x' } },
      { index: 2, status: 'retry', error: { code: 'busy' } },
    ]),
    wait,
  }));
  const made = track(client, 4);
  const keys = Object.keys(storage);
  assert.deepEqual(keys, made.map((id) => `lakegate:k:${id}`));
  await until('a request', () => server.requests.length === 1);
  assert.deepEqual(server.requests[0].lines, made.map((id) => storage[`lakegate:k:${id}`]));
  assert.equal(Object.keys(storage).length, 4);
  release();
  await ended(3);
  assert.deepEqual(outcomes.map(({ event_uuid, status, error }) => [event_uuid, status, error?.code]), [
    [made[0], 'duplicate', undefined], [made[1], 'rejected', 'schema_violation'], [made[3], 'accepted', undefined],
  ]);
  assert.deepEqual(Object.keys(storage), [keys[2]]);
});

test('what an earlier page left is adopted, oldest first, and sent as it was stored', async (t) => {
  const { server, storage, make, ended } = await rig(t, (request) => accepted(request.lines));
  const earlier = createClient({ url: 'http://127.0.0.1:9/', key: 'k', storage, flushMs: 1e6 });
  const made = track(earlier, 3);
  const lines = made.map((id) => storage[`lakegate:k:${id}`]);
  const other = createClient({ url: 'http://127.0.0.1:9/', key: 'other', storage, flushMs: 1e6 });
  track(other, 1);
  make();
  await ended(3);
  assert.deepEqual(server.requests[0].lines, lines);
  assert.equal(Object.keys(storage).length, 1, 'that of another key stays');
});

test('one batch is in flight, of at most maxBatch events and maxBytes', async (t) => {
  let flying = 0;
  const { server, client, ended } = await rig(t, async (request) => {
    assert.equal(++flying, 1);
    await new Promise((done) => setTimeout(done, 20));
    flying--;
    return accepted(request.lines);
  }, { maxBatch: 10, maxBytes: 2000 });
  track(client, 40);
  await ended(40);
  for (const { lines } of server.requests) {
    assert.ok(lines.length <= 10 && Buffer.byteLength(lines.join('\n')) <= 2000, `${lines.length} lines`);
  }
});

test('batches are packed, those of unwilling clients are not', async (t) => {
  const { server, client, ended, make } = await rig(t, (request) => accepted(request.lines), { flushMs: 5 });
  track(client, 50);
  await ended(50);
  track(make({ gzip: false }), 50);
  await ended(100);
  assert.deepEqual(server.requests.map((request) => request.gzip), [true, false]);
  assert.ok(server.requests[0].bytes * 4 < server.requests[1].bytes);
});

test('Retry-After is obeyed, also by flush(), and the pause grows with full jitter', async (t) => {
  const { server, client, ended } = await rig(t, (request, index) =>
    index === 0 ? { status: 503, headers: { 'retry-after': '1' }, body: {} } : accepted(request.lines));
  track(client, 1);
  await until('a request', () => server.requests.length === 1);
  await client.flush();
  await client.flush();
  await ended(1);
  const waited = server.requests[1].at - server.requests[0].at;
  assert.ok(waited >= 990 && waited < 2100, `${waited} ms`);
});

test('of an answer whose results are cut, nobody takes what is not listed for accepted: it is asked again in smaller batches', async (t) => {
  const bad = (line) => JSON.parse(line).section_index % 2;
  // As the gateway does: what must be sent again is always listed, of the rejected ones as many as fit (here two).
  const { server, client, outcomes, storage, ended } = await rig(t, (request, at) => {
    const all = request.lines.map((line, index) => ({ index, line }));
    const retry = at == 0 ? all.slice(-1) : [];
    const rejected = all.filter((one) => bad(one.line) && !retry.includes(one));
    const listed = [...rejected.slice(0, 2).map(({ index }) => ({ index, status: 'rejected', error: { code: 'missing_field' } })),
      ...retry.map(({ index }) => ({ index, status: 'retry', error: { code: 'busy' } }))];
    const truncated = rejected.length > 2;
    const counts = { accepted: all.length - rejected.length - retry.length, duplicates: 0, rejected: rejected.length, retry: retry.length };
    return { status: 207, body: { ...counts, results: listed, ...(truncated && { results_truncated: true }) } };
  });
  const made = track(client, 16);
  await ended(16);
  assert.ok(server.requests.length > 2);
  assert.deepEqual(outcomes.map(({ event_uuid }) => event_uuid).sort(), [...made].sort(), 'each is told once');
  const rejected = new Set(outcomes.filter(({ status }) => status == 'rejected').map(({ event_uuid }) => event_uuid));
  assert.deepEqual(made.filter((id) => rejected.has(id)), made.filter((_, index) => index % 2));
  assert.ok(outcomes.every(({ status }) => status == 'accepted' || status == 'rejected'));
  assert.deepEqual(storage, {});
});

test('413 halves the batch, down to the one event that is too large, which is dropped', async (t) => {
  const { server, client, outcomes, ended } = await rig(t, (request) =>
    request.lines.some((line) => line.includes('"section_index":5')) || request.lines.length > 4 ? { status: 413, body: {} } : accepted(request.lines));
  const made = track(client, 8);
  await ended(8);
  assert.deepEqual(server.requests[0].lines.length, 8);
  assert.deepEqual(server.requests[1].lines.length, 4);
  assert.deepEqual(outcomes.filter(({ status }) => status === 'dropped').map(({ event_uuid, error }) => [event_uuid, error.code]), [[made[5], 'too_large']]);
});

test('any other 4xx drops the batch, with the reason; 408 and 429 do not', async (t) => {
  const statuses = [408, 429, 401];
  const { client, outcomes, storage, ended, server } = await rig(t, (request, index) => ({ status: statuses[index], body: { code: 'unknown_key' } }));
  const id = client.track(NAME, fields());
  await ended(1);
  assert.equal(server.requests.length, 3);
  assert.deepEqual(outcomes, [{ event_uuid: id, status: 'dropped', error: { code: 'refused', detail: '{"code":"unknown_key"}' } }]);
  assert.deepEqual(storage, {});
});

test('an answer that is none of the gateway\'s removes nothing', async (t) => {
  const bodies = ['<html>Log in to the Wi-Fi</html>', '{}', 'null'];
  const { client, outcomes, ended, server } = await rig(t, (request, index) =>
    index < bodies.length ? { status: 200, body: bodies[index] } : accepted(request.lines));
  client.track(NAME, fields());
  await ended(1);
  assert.equal(server.requests.length, bodies.length + 1);
  assert.equal(outcomes[0].status, 'accepted');
});

test('after five network failures in a row it is parked until the network is back', async (t) => {
  t.mock.method(Math, 'random', () => 0);
  let down = true;
  const hearers = hearing(t);
  const { server, client, ended } = await rig(t, (request) => (down ? undefined : accepted(request.lines)), { flushMs: 5 });
  track(client, 1);
  await until('five tries', () => server.requests.length === 5);
  track(client, 200);
  await new Promise((done) => setTimeout(done, 300));
  assert.equal(server.requests.length, 5);
  down = false;
  hearers.online();
  await ended(201);
});

/** What the page's events would call. */
function hearing(t) {
  const hearers = {};
  t.after(() => delete globalThis.addEventListener);
  globalThis.addEventListener = (type, listener) => (hearers[type] = listener);
  return hearers;
}

test('an exit is one request however often it is announced, and another only for what is new', async (t) => {
  const hearers = hearing(t);
  const { server, client, ended } = await rig(t, (request) => accepted(request.lines), { flushMs: 1e6 });
  const made = track(client, 3);
  hearers.pagehide();
  hearers.pagehide();
  await ended(3);
  hearers.pagehide();
  made.push(...track(client, 2));
  hearers.pagehide();
  await ended(5);
  assert.deepEqual(server.requests.map(ids), [made.slice(0, 3), made.slice(3)]);
  assert.ok(server.requests.every((request) => !request.gzip));
});

test('an exit keeps quiet while Retry-After lasts, but not because some events of a batch must come again', async (t) => {
  const hearers = hearing(t);
  const headers = { 'retry-after': '60' };
  const { server, client, ended } = await rig(t, (request, index) => [
    { ...accepted(request.lines, [{ index: 0, status: 'retry', error: { code: 'in_flight' } }]), headers },
    accepted(request.lines),
    { status: 503, headers, body: {} },
  ][index], { flushMs: 5 });
  const made = track(client, 2);
  await ended(1);
  made.push(...track(client, 1));
  hearers.pagehide();
  await ended(3);
  assert.deepEqual(ids(server.requests[1]), [made[0], made[2]]);
  track(client, 1);
  hearers.pagehide();
  await until('the refusal', () => server.requests.length === 3);
  await new Promise((done) => setTimeout(done, 100));
  track(client, 1);
  hearers.pagehide();
  await new Promise((done) => setTimeout(done, 100));
  assert.equal(server.requests.length, 3);
});

test('drops are counted and reported to the gateway, which takes the report', async (t) => {
  const gateway = await new Gateway({ plaintext: true }).start();
  t.after(() => gateway.stop().then(() => gateway.remove()));
  const outcomes = [];
  const client = createClient({
    url: gateway.url, key: 'dev', storage: null, flushMs: 20, maxQueue: 5, maxBytes: 2000, on: (outcome) => outcomes.push(outcome),
  });
  t.after(() => client.close());
  const cycle = {};
  cycle.cycle = cycle;
  client.track(NAME, cycle);
  client.track(NAME, { ...fields(), section_name: 'x'.repeat(2000) });
  const made = track(client, 8);
  assert.equal(outcomes.length, 5);
  await until('the report', () => outcomes.filter(({ status }) => status === 'accepted').length === 6);
  const rows = await gateway.delivered(made.slice(0, 5));
  assert.equal(rows.length, 5);
  let report;
  await until('the report is in the lake', async () => {
    report = (await gateway.lake()).filter((row) => row.event_name === 'client:events:dropped');
    return report.length;
  });
  assert.equal(report.length, 1);
  const { client: who, queue_full, too_large, invalid } = report[0];
  assert.deepEqual({ who, queue_full, too_large, invalid }, { who: 'browser', queue_full: 3, too_large: 1, invalid: 1 });
});

test('an event older than maxAgeMs is dropped, by the time in its event_uuid', async (t) => {
  const { client, outcomes, storage, make, ended } = await rig(t, (request) => accepted(request.lines));
  client.close();
  storage['lakegate:k:018bcfe5-6800-7000-8000-000000000000'] = '{"event_uuid":"018bcfe5-6800-7000-8000-000000000000"}';
  const next = make();
  t.after(() => next.close());
  await ended(1);
  assert.deepEqual([outcomes[0].status, outcomes[0].error.code], ['dropped', 'too_old']);
  assert.deepEqual(Object.keys(storage).filter((key) => key.includes('018bcfe5')), []);
});

test('pending keeps events in memory only, granted sends them, denied purges', async (t) => {
  const { server, client, storage, ended } = await rig(t, (request) => accepted(request.lines), { consent: 'pending', flushMs: 5 });
  const made = track(client, 3);
  await client.flush();
  assert.deepEqual([Object.keys(storage).length, server.requests.length], [0, 0]);
  client.consent('granted');
  assert.equal(Object.keys(storage).length, 3);
  await ended(3);
  assert.deepEqual(ids(server.requests[0]), made);
  track(client, 2);
  client.consent('denied');
  track(client, 2);
  assert.deepEqual(storage, {});
  await client.flush();
  assert.equal(server.requests.length, 1);
});

test('Global Privacy Control means denied, for good, unless the page says otherwise', async (t) => {
  const had = Object.getOwnPropertyDescriptor(globalThis, 'navigator');
  t.after(() => (had ? Object.defineProperty(globalThis, 'navigator', had) : delete globalThis.navigator));
  Object.defineProperty(globalThis, 'navigator', { value: { globalPrivacyControl: true }, configurable: true });
  const { client, storage, make } = await rig(t, (request) => accepted(request.lines), { flushMs: 1e6 });
  client.consent('granted');
  track(client, 1);
  assert.deepEqual(storage, {});
  track(make({ gpc: false }), 1);
  assert.equal(Object.keys(storage).length, 1);
});

test('storage that is full or forbidden costs no event, and a callback that throws neither', async (t) => {
  const full = new Proxy({}, { set() { throw new Error('QuotaExceededError'); } });
  const { server, client, make } = await rig(t, (request) => accepted(request.lines), { flushMs: 5 });
  client.close();
  const next = make({ storage: full, on() { throw new Error('theirs'); } });
  t.after(() => next.close());
  const made = track(next, 3);
  await until('a request', () => server.requests.length === 1);
  assert.deepEqual(ids(server.requests[0]), made);
});

test('set() gives fields to all events to come, and what an event says itself goes before', async (t) => {
  const { server, client, ended } = await rig(t, (request) => accepted(request.lines));
  client.set({ menu_id: 'lunch', locale: 'pt' }).track(NAME, { ...fields(), menu_id: 'dinner' });
  client.set({ locale: undefined });
  client.track(NAME, { section_id: 'x', event_uuid: 'theirs', created_at: 1 });
  await ended(2);
  const [first, second] = server.requests[0].lines.map((line) => JSON.parse(line));
  assert.deepEqual([first.menu_id, first.locale], ['dinner', 'pt']);
  assert.deepEqual([second.menu_id, 'locale' in second, second.event_uuid === 'theirs'], ['lunch', false, false]);
});

test('the session lasts, a visit begins anew when asked', () => {
  const client = createClient({ url: 'http://127.0.0.1:9/', key: 'k', storage: null });
  const first = client.ids();
  assert.deepEqual(client.ids(), first);
  const second = client.ids(true);
  assert.equal(second.session_id, first.session_id);
  assert.notEqual(second.visit_id, first.visit_id);
});
