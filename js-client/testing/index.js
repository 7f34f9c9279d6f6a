// What a test says of the events of an application: `lakegate dev` has them, and this asks it.

const ADMIN = 'http://127.0.0.1:9090';
const TIMEOUT_MS = 5000;
// The rig waits for at most so long; longer waits are several.
const WAIT_MAX_MS = 30_000;

/**
 * The rig: `lakegate dev` at `admin`, or at the address in the environment as LAKEGATE_DEV.
 * @param {import('./index.js').RigOptions} [options]
 * @returns {import('./index.js').Rig}
 */
export function rig({ admin = globalThis.process?.env.LAKEGATE_DEV ?? ADMIN } = {}) {
  const ask = async (path, query, init) => {
    const url = new URL(path, admin);
    for (const [name, value] of Object.entries(query ?? {})) if (value !== undefined) url.searchParams.set(name, String(value));
    let answer;
    try {
      answer = await fetch(url, init);
    } catch (error) {
      throw new Error(`nothing answers at ${admin}: start \`lakegate dev\`, or set LAKEGATE_DEV to its address (${error.cause?.code ?? error.message})`);
    }
    const document = await answer.json().catch(() => ({ detail: `it is no rig: ${url.pathname} answers ${answer.status}` }));
    if (!answer.ok && answer.status !== 408) throw new Error(`${url.pathname}: ${document.detail}`);
    return document;
  };
  const post = (path, body) => ask(path, {}, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body ?? {}) });

  const events = async (query) => (await ask('/dev/events', query)).events;

  /** Waits until `done` says that the events are as they should be, or the time is up. Returns the last ones. */
  const until = async (query, timeoutMs, done) => {
    const end = Date.now() + timeoutMs;
    for (;;) {
      const found = await events(query);
      const left = end - Date.now();
      if (done(found) || left <= 0) return found;
      // One more than there are.
      await ask('/dev/wait', { ...query, count: found.length + 1, timeout: Math.min(left, WAIT_MAX_MS) / 1000, limit: 1 });
    }
  };

  const expect = async (event, { count = 1, atLeast = false, status = 'accepted', where, key, timeoutMs = TIMEOUT_MS } = {}) => {
    const query = { event, status, key };
    const matching = (found) => found.filter(({ payload }) => matches(payload, where));
    const found = matching(await until(query, timeoutMs, (found) => matching(found).length >= count));
    if (atLeast ? found.length >= count : found.length === count) return found.map(({ payload }) => payload);
    throw new Error(await why(event, { count, atLeast, status, where, timeoutMs }, found.length));
  };

  const never = async (event, { forMs = 0, status = 'accepted', where, key } = {}) => {
    const came = (found) => found.filter(({ payload }) => matches(payload, where));
    const found = came(await until({ event, status, key }, forMs, (found) => came(found).length > 0));
    if (found.length) throw new Error(`${event} came, and should not: ${JSON.stringify(found[0].payload)}`);
  };

  /** Words for a person who reads that a test failed. */
  const why = async (event, { count, atLeast, status, where, timeoutMs }, came) => {
    const wanted = `${event} ${status}${where ? ` where ${typeof where === 'function' ? where : JSON.stringify(where)}` : ''}`;
    const lines = [`${wanted}: expected ${atLeast ? 'at least ' : ''}${several(count)} within ${timeoutMs} ms, came ${several(came)}.`];
    const all = await events({});
    const rejected = all.filter(({ outcome }) => outcome === 'rejected').slice(-5);
    for (const { event_name, code, pointer, detail } of rejected) lines.push(`rejected: ${event_name ?? 'no name'}: ${code}${pointer ? ` at ${pointer}` : ''}: ${detail}`);
    const names = new Map();
    for (const { event_name, outcome } of all) names.set(`${event_name ?? 'no name'} ${outcome}`, (names.get(`${event_name ?? 'no name'} ${outcome}`) ?? 0) + 1);
    for (const [name, times] of names) lines.push(`came: ${name}, ${several(times)}`);
    if (!all.length) lines.push('No event came at all: does the application send to the address and with a key that `lakegate dev` printed?');
    return lines.join('\n');
  };

  return {
    admin,
    url: async () => (await ask('/admin/console')).first_event.url,
    expect,
    never,
    events,
    reset: () => post('/dev/reset'),
    fault: (fault) => post('/dev/faults', fault),
    faults: () => ask('/dev/faults'),
  };
}

const several = (times) => (times === 1 ? 'once' : times === 0 ? 'never' : `${times} times`);

/** Whether a payload is as a test wants it: a function says so, or each member of an object is the same there. */
function matches(payload, where) {
  if (typeof where === 'function') return Boolean(payload && where(payload));
  if (where === null || typeof where !== 'object') return where === undefined || Object.is(payload, where);
  if (payload === null || typeof payload !== 'object') return false;
  return Object.entries(where).every(([name, value]) => matches(payload[name], value));
}
