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

test('what was stored under a key that was replaced is sent with the new key', async (t) => {
  const { server, storage, make, ended } = await rig(t, (request) => accepted(request.lines));
  track(createClient({ url: 'http://127.0.0.1:9/', key: 'old', storage, flushMs: 1e6 }), 3);
  make({ key: 'new', storageKey: 'old' });
  await ended(3);
  assert.match(server.requests[0].path, /[?]key=new$/);
  assert.deepEqual(storage, {});
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

/** A problem of the gateway's, and pages of others. */
const problem = (status, code, more) => ({ status, headers: { 'content-type': 'application/problem+json' }, body: { type: `/errors#${code}`, status, code, detail: 'why', ...more } });
const page = (status, text = '<html>Log in to the Wi-Fi</html>', headers = {}) => ({ status, headers: { 'content-type': 'text/html', ...headers }, body: text });

/** What the console was warned of; nothing of it is printed. */
const warnings = (t) => {
  const { mock } = t.mock.method(console, 'warn', () => {});
  return () => mock.calls.map(({ arguments: words }) => words.map((word) => (typeof word === 'string' ? word : JSON.stringify(word))).join(' '));
};

/** No pause lasts. */
const hurry = (t) => t.mock.method(Math, 'random', () => 0);

test('413 halves the batch, down to the one event that is too large, which is dropped', async (t) => {
  const { server, client, outcomes, ended } = await rig(t, (request) =>
    request.lines.some((line) => line.includes('"section_index":5')) || request.lines.length > 4 ? problem(413, 'body_too_large') : accepted(request.lines));
  const made = track(client, 8);
  await ended(8);
  assert.deepEqual(server.requests[0].lines.length, 8);
  assert.deepEqual(server.requests[1].lines.length, 4);
  assert.deepEqual(outcomes.filter(({ status }) => status === 'dropped').map(({ event_uuid, error }) => [event_uuid, error.code]), [[made[5], 'too_large']]);
});

test('400 halves the batch too, down to the one event that the gateway cannot read, which is dropped with the reason', async (t) => {
  const { client, outcomes, storage, ended } = await rig(t, (request) =>
    request.lines.some((line) => line.includes('"section_index":5')) ? problem(400, 'unreadable_json') : accepted(request.lines));
  const made = track(client, 8);
  await ended(8);
  const dropped = outcomes.filter(({ status }) => status === 'dropped');
  assert.deepEqual(dropped.map(({ event_uuid, error }) => [event_uuid, error.code]), [[made[5], 'refused']]);
  assert.match(dropped[0].error.detail, /unreadable_json/);
  assert.deepEqual(storage, {});
});

// What the key, the address, or whoever stands before the gateway is to blame for, a person mends; the events wait.
const REFUSALS = {
  '401, an unknown key': problem(401, 'unknown_key'),
  '401 without a word': page(401, ''),
  '403, a page that the key is not for': problem(403, 'origin_not_allowed'),
  '403 of a firewall': page(403, '<html>Blocked</html>'),
  '404, a wrong path': problem(404, 'not_found'),
  '404 of a web server': page(404, '<html>Not found</html>'),
  '404 of another program, with a code': { status: 404, body: { code: 'rest_no_route', data: { status: 404 } } },
  '400 of another program': { status: 400, body: { code: 'bad', message: 'no' } },
  '405': problem(405, 'method_not_allowed'),
  '410': page(410),
  '413 of a proxy, for one event': page(413, '<html>Too large</html>'),
  '415': problem(415, 'unsupported_media_type'),
  '421': page(421),
  '200 of a login page': page(200),
  '200 without a word': page(200, ''),
  '202 of another program': { status: 202, body: { ok: true } },
  '200 with results but no counts': { status: 200, body: { results: [] } },
  '200 with counts but no results': { status: 200, body: { accepted: 1 } },
  '200 null': { status: 200, body: 'null' },
  '422 of another program': { status: 422, body: { detail: [{ msg: 'field required' }] } },
  '204': { status: 204, body: '' },
};
for (const [what, refusal] of Object.entries(REFUSALS)) {
  test(`${what}: nothing ends, and what waited is delivered when it is over`, async (t) => {
    hurry(t);
    const warned = warnings(t);
    let refused = true;
    const { server, client, outcomes, storage, ended } = await rig(t, (request) => (refused ? refusal : accepted(request.lines)), { maxBatch: 1 });
    const made = track(client, 2);
    await until('three refusals', () => server.requests.length >= 3);
    assert.deepEqual([Object.keys(storage).length, outcomes.length], [2, 0]);
    refused = false;
    await ended(2);
    assert.deepEqual(outcomes.map(({ event_uuid, status }) => [event_uuid, status]).sort(), made.map((id) => [id, 'accepted']));
    assert.deepEqual(storage, {});
    assert.equal(warned().length, 1, 'told once');
    assert.match(warned()[0], new RegExp(`^lakegate: refused ${refusal.status} `));
  });
}

test('a redirect to a login page ends nothing', async (t) => {
  hurry(t);
  warnings(t);
  let refused = true;
  const { server, client, outcomes, ended } = await rig(t, ({ lines }, index) => {
    if (!refused) return accepted(lines);
    return index % 2 ? page(200) : page(302, '', { location: '/login' });
  });
  const made = track(client, 1);
  await until('a login page', () => server.requests.length >= 4);
  assert.equal(outcomes.length, 0);
  refused = false;
  await ended(1);
  assert.deepEqual(outcomes[0], { event_uuid: made[0], status: 'accepted', error: undefined });
});

test('while it is refused, one event asks whether that is over, also at an exit; then the rest goes as before', async (t) => {
  hurry(t);
  warnings(t);
  const hearers = hearing(t);
  let refused = true;
  let release;
  const wait = new Promise((done) => (release = done));
  const { server, client, ended } = await rig(t, async (request, index) => {
    if (index === 2) await wait;
    return refused ? problem(401, 'unknown_key') : accepted(request.lines);
  });
  track(client, 50);
  await until('the third try', () => server.requests.length === 3);
  hearers.pagehide();
  await until('the exit', () => server.requests.length === 4);
  assert.deepEqual(server.requests.map(({ lines }) => lines.length), [50, 1, 1, 1]);
  refused = false;
  release();
  await ended(50);
  assert.ok(server.requests.length < 10, `${server.requests.length} requests`);
});

test('an event that a firewall does not let through keeps no other back', async (t) => {
  hurry(t);
  warnings(t);
  const { client, outcomes, storage, ended } = await rig(t, (request) =>
    request.lines.some((line) => line.includes('"section_index":0,')) ? page(403, '<html>Blocked</html>') : accepted(request.lines));
  const made = Array.from({ length: 6 }, (_, section_index) => client.track(NAME, fields(section_index)));
  await ended(5);
  assert.deepEqual(outcomes.map(({ event_uuid }) => event_uuid).sort(), made.slice(1));
  assert.deepEqual(Object.keys(storage), [`lakegate:k:${made[0]}`]);
});

for (const [what, answer, most] of [['it is refused', problem(401, 'unknown_key'), 600_000], ['the gateway is busy', { status: 503, body: {} }, 60_000]]) {
  test(`while ${what} pauses grow to ${most / 60_000} minutes`, async (t) => {
    // Not a whole second: those are timers of fetch.
    t.mock.method(Math, 'random', () => 0.7);
    warnings(t);
    const { setTimeout: real } = globalThis;
    const pauses = [];
    let server;
    t.mock.method(globalThis, 'setTimeout', (then, ms, ...more) => {
      // Those of the client of an earlier test, which just loses its server, are none of ours.
      const isPause = ms >= 700 && ms % 700 === 0 && server?.requests.length > 0;
      if (isPause) pauses.push(ms);
      return real(then, isPause ? 1 : ms, ...more);
    });
    const made = await rig(t, () => answer, { flushMs: 1000 });
    ({ server } = made);
    track(made.client, 1);
    await until('twelve tries', () => server.requests.length >= 12);
    assert.deepEqual(pauses.slice(0, 4), [700, 1400, 2800, 5600]);
    assert.equal(Math.max(...pauses), most * 0.7);
  });
}

test('events that were refused for longer than maxAgeMs are dropped, and counted', async (t) => {
  hurry(t);
  warnings(t);
  const { server, client, outcomes, ended } = await rig(t, () => problem(401, 'unknown_key'), { maxAgeMs: 300 });
  const [id] = track(client, 1);
  await ended(1);
  assert.ok(server.requests.length > 1);
  assert.deepEqual([outcomes[0].event_uuid, outcomes[0].status, outcomes[0].error.code], [id, 'dropped', 'too_old']);
});

test('whole answers: 200 is as good as 202, and of a 503 with results only what must come again comes again', async (t) => {
  const results = [{ index: 0, status: 'rejected', error: { code: 'missing_field' } }, { index: 1, status: 'retry', error: { code: 'busy' } }];
  const { server, client, outcomes, storage, ended } = await rig(t, (request, index) => (index > 0
    ? { status: 200, body: accepted(request.lines).body }
    : problem(503, 'busy', { accepted: 2, duplicates: 0, rejected: 1, retry: 1, results })));
  const made = track(client, 4);
  await ended(4);
  assert.deepEqual(server.requests.map(ids), [made, [made[1]]]);
  assert.deepEqual(outcomes.map(({ event_uuid, status }) => [event_uuid, status]), [
    [made[0], 'rejected'], [made[2], 'accepted'], [made[3], 'accepted'], [made[1], 'accepted'],
  ]);
  assert.deepEqual(storage, {});
});

test('the first events after a rest are sent soon, those that follow wait for others', async (t) => {
  const { setTimeout: real } = globalThis;
  const delays = [];
  t.mock.method(globalThis, 'setTimeout', (what, ms, ...more) => {
    if (ms === 500 || ms === 50) delays.push(ms);
    return real(what, ms === 500 ? 5 : ms, ...more);
  });
  let now = Date.now();
  const { client, ended } = await rig(t, (request) => accepted(request.lines), { flushMs: 500 });
  track(client, 2);
  await ended(2);
  for (let count = 3; count < 6; count++) {
    track(client, 1);
    await ended(count);
  }
  now = Date.now() + 2600;
  t.mock.method(Date, 'now', () => now);
  track(client, 1);
  await ended(6);
  assert.deepEqual(delays, [50, 500, 500, 500, 50]);
});

// A page's own origin, as a browser has it.
const from = (t, origin) => {
  t.after(() => delete globalThis.origin);
  globalThis.origin = origin;
};

const REJECTION = { index: 0, status: 'rejected', error: { code: 'schema_violation', pointer: '/section_index', detail: '-1 is less than 0', schema: `${NAME}/1` } };

test('on this machine the console says of every rejection which event, where, why and what to do; elsewhere not, unless asked', async (t) => {
  const local = ['http://localhost', 'https://localhost:8443', 'http://127.0.0.1:8080', 'http://[::1]:8080', 'http://shop.localhost:3000'];
  const others = ['https://menu.example', 'https://localhost.example', 'https://my-localhost:8443', 'http://127.0.0.1.example', 'null', undefined];
  const cases = [
    ...local.map((origin) => [origin, {}, true]), ...others.map((origin) => [origin, {}, false]),
    ...[false, 'false'].map((debug) => ['http://localhost', { debug }, false]),
    ...[true, 'true', ''].map((debug) => ['https://menu.example', { debug }, true]),
  ];
  const { setTimeout: real } = globalThis;
  for (const [origin, options, told] of cases) {
    from(t, origin);
    const warned = warnings(t);
    const { client, outcomes, ended } = await rig(t, (request) => accepted(request.lines, [REJECTION]), options);
    client.track(NAME, { ...fields(), section_index: -1 });
    await ended(1);
    assert.equal(outcomes[0].status, 'rejected');
    if (told) await until('a warning', () => warned().length === 1);
    else await new Promise((done) => real(done, 30));
    assert.equal(warned().length, told ? 1 : 0, `${origin} ${JSON.stringify(options)}`);
    if (told) {
      const [text] = warned();
      assert.match(text, new RegExp(`^lakegate: ${NAME} was rejected: schema_violation at /section_index: -1 is less than 0\\. Correct`));
      assert.match(text, /http:\/\/127\.0\.0\.1:\d+\/errors#schema_violation/);
      assert.match(text, /"section_index":-1/, 'and the event');
    }
    console.warn.mock.restore();
  }
});

test('with debug, what the client drops is told too, with the name of the event', async (t) => {
  const warned = warnings(t);
  const { client } = await rig(t, (request) => accepted(request.lines), { debug: true, maxQueue: 1, maxBytes: 500, flushMs: 1e6 });
  const cycle = {};
  cycle.cycle = cycle;
  client.track('lesson:started', cycle);
  client.track('payment:order:completed', { text: 'x'.repeat(1000) });
  client.track(NAME, fields());
  client.track('account:opened', {});
  await until('three warnings', () => warned().length === 3);
  assert.deepEqual(warned().map((text) => /^lakegate: (\S+) was dropped: (\w+)\. \S/.exec(text)?.slice(1)), [
    ['lesson:started', 'invalid'], ['payment:order:completed', 'too_large'], ['account:opened', 'queue_full'],
  ]);
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

for (const code of ['in_flight', 'dead_letters_full']) {
  test(`an exit takes good events along although the last answer was 503 for ${code}`, async (t) => {
    const hearers = hearing(t);
    const { server, client, ended } = await rig(t, (request, index) => (index ? accepted(request.lines) : {
      status: 503, headers: { 'retry-after': '60' },
      body: { accepted: 0, duplicates: 0, rejected: 0, retry: 1, results: [{ index: 0, status: 'retry', error: { code } }] },
    }), { flushMs: 5 });
    const made = track(client, 1);
    await until('an answer', () => server.requests.length === 1);
    await client.flush();
    made.push(...track(client, 1));
    hearers.pagehide();
    await ended(2);
    assert.deepEqual(ids(server.requests[1]), made);
  });
}

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
