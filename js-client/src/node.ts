import { promisify } from 'node:util';
import { gzip as gzipCallback } from 'node:zlib';
import { obey } from './answer.js';
import { tell as explain } from './explain.js';
import { Spool } from './spool.js';
import type { CommonClient, CommonOptions, Context, DropReason, Outcome } from './types.js';
import { millisOf, uuid } from './uuid.js';

export type * from './types.js';

/** Options of a service's client. `maxBatch` is 500, `maxBytes` 1000000 and `maxQueue` 100000 unless said otherwise. */
export interface Options extends CommonOptions {
  /** Requests in flight at one time; 4. */
  concurrency?: number;
  /** File in which events are kept until they have ended, so that a crash loses none; memory only where it is absent. */
  spool?: string;
}

/** A service's client. */
export interface Client<Given extends PropertyKey = never> extends CommonClient<Given> {
  set<Fields extends Context>(fields: Fields): Client<Given | keyof Fields>;
  /** Takes no more, sends what waits for at most `timeoutMs` (10000), and gives the events that are left: they stay in the spool. */
  close(options?: { timeoutMs?: number }): Promise<number>;
}

const BACKOFF_MS_MAX = 60_000;
/** The same while the gateway, or whoever answers in its place, refuses the key or the address. */
const REFUSED_MS_MAX = 600_000;
const TIMEOUT_MS = 30_000;
const CLOSE_MS = 10_000;
/** Of the text of a refusal that is told: a proxy's page is long. */
const TOLD_CHARS_MAX = 500;
/** Bodies below this are not worth packing. */
const GZIP_BYTES_MIN = 1_000;

const pack = promisify(gzipCallback);

/** A client for services: `createClient({ url, key, spool: '/var/lib/app/events' })`. */
export function createClient(options: Options): Client {
  const { flushMs = 2000, maxBatch = 500, maxBytes = 1_000_000, maxQueue = 100_000, maxAgeMs = 259_200_000 } = options;
  const { gzip = true, concurrency = 4, debug = false, on } = options;
  const spool = options.spool ? new Spool(options.spool) : undefined;
  const queue = new Map(spool?.leftovers);
  const flying = new Set<string>();
  const requests = new Set<Promise<void>>();
  const stopping = new AbortController();
  let context: object = {};
  let dropped: Record<string, number> = {};
  // Events in a batch; below `limitMax` after a refusal, until batches are taken again.
  let limitMax = maxBatch;
  let limit = limitMax;
  let isRefusalTold = false;
  let failures = 0;
  let pausedUntil = 0;
  let timer: NodeJS.Timeout | undefined;
  let idle: (() => void)[] = [];
  let closed = false;
  let closing: Promise<number> | undefined;
  let warned = false;

  /** A full disk must not break the service: its events are in memory then, as without a spool. */
  const spooling = (write: (spool: Spool) => void) => {
    try {
      if (spool) write(spool);
    } catch (error) {
      if (!warned) process.emitWarning(`lakegate: the spool cannot be written: ${error}`);
      warned = true;
    }
  };

  const put = (id: string, line: string) => {
    queue.set(id, line);
    spooling((spool) => spool.append(line));
  };

  const tell = (event_uuid: string, status: Outcome['status'], error?: Outcome['error'], what = queue.get(event_uuid)) => {
    if (debug && error) explain(status, error, what!, options.url);
    if (status === 'dropped') dropped[error!.code] = (dropped[error!.code] ?? 0) + 1;
    try {
      on?.({ event_uuid, status, ...(error && { error }) });
    } catch {
      // What the callback does wrong is no reason to lose events.
    }
  };

  const drop = (id: string, code: DropReason, name?: string) => tell(id, 'dropped', { code }, name);

  const make = (id: string, name: string, fields: object) =>
    JSON.stringify({ ...fields, event_uuid: id, event_name: name, created_at: Date.now() / 1000 });

  /** The oldest that are not on their way, and not too many or too large together. */
  const batch = () => {
    const ids: string[] = [];
    const old: string[] = [];
    let bytes = 0;
    for (const [id, line] of queue) {
      if (flying.has(id)) continue;
      if (Date.now() - millisOf(id) > maxAgeMs) {
        old.push(id);
        continue;
      }
      bytes += Buffer.byteLength(line) + 1;
      if (ids.length > 0 && (bytes > maxBytes || ids.length >= limit)) break;
      ids.push(id);
    }
    for (const id of old) drop(id, 'too_old');
    forget(old);
    return ids;
  };

  const forget = (ids: string[]) => {
    if (ids.length === 0) return;
    for (const id of ids) queue.delete(id);
    spooling((spool) => spool.settle(ids, queue));
  };

  const report = () => {
    if (Object.keys(dropped).length === 0) return;
    const id = uuid();
    const line = make(id, 'client:events:dropped', { ...dropped, client: 'node' });
    dropped = {};
    put(id, line);
  };

  const post = async (ids: string[]) => {
    let body: string | Uint8Array<ArrayBuffer> = ids.map((id) => queue.get(id)).join('\n');
    const headers: Record<string, string> = { 'content-type': 'application/x-ndjson', 'x-api-key': options.key };
    if (gzip && body.length > GZIP_BYTES_MIN) {
      body = new Uint8Array(await pack(body));
      headers['content-encoding'] = 'gzip';
    }
    const signal = AbortSignal.any([AbortSignal.timeout(TIMEOUT_MS), stopping.signal]);
    const response = await fetch(options.url, { method: 'POST', headers, body, signal });
    const ended: string[] = [];
    const text = await response.text();
    const next = obey(response.status, text, ids, (id, ...how) => {
      ended.push(id);
      tell(id, ...how);
    });
    forget(ended);
    if (next !== undefined && next > 0) limit = limitMax = next;
    else if (next === undefined) {
      failures = 0;
      limit = Math.min(limitMax, limit * 2);
      report();
    } else {
      if (next < 0) refused(ids, response, text);
      pause(Number(response.headers.get('retry-after')) || 0);
    }
  };

  /** Refused for a reason that a person must mend: asked again with one event. If that one is what is refused, the others go before it. */
  const refused = (ids: string[], { status, url }: Response, text: string) => {
    limit = 1;
    const [id] = ids as [string];
    if (ids.length === 1) {
      const line = queue.get(id)!;
      queue.delete(id);
      queue.set(id, line);
    }
    if (!isRefusalTold) {
      const [place] = url.split('?');
      process.emitWarning(`lakegate: events wait: ${status} from ${place}. Check url and key. ${text.slice(0, TOLD_CHARS_MAX)}`);
    }
    isRefusalTold = true;
  };

  /** Full jitter, and on top of it what the gateway asked for. */
  const pause = (seconds: number) => {
    const jitter = Math.random() * Math.min(limit < limitMax ? REFUSED_MS_MAX : BACKOFF_MS_MAX, 1000 * 2 ** failures++);
    pausedUntil = Math.max(pausedUntil, Date.now() + seconds * 1000 + jitter);
  };

  /** Sends what waits, as many requests at a time as are allowed. */
  const pump = () => {
    clearTimeout(timer);
    timer = undefined;
    while (requests.size < concurrency && Date.now() >= pausedUntil) {
      const ids = batch();
      if (ids.length === 0) break;
      for (const id of ids) flying.add(id);
      const request = post(ids)
        .catch(() => pause(0))
        .finally(() => {
          for (const id of ids) flying.delete(id);
          requests.delete(request);
          if (idle.length > 0) pump();
          else plan();
        });
      requests.add(request);
    }
    if (queue.size === 0 || stopping.signal.aborted) {
      for (const done of idle.splice(0)) done();
    } else if (requests.size === 0) wait();
  };

  const wait = () => {
    if (stopping.signal.aborted) return;
    timer ??= setTimeout(pump, Math.max(pausedUntil - Date.now(), idle.length > 0 ? 0 : flushMs));
    // Waiting events keep no process alive that has nothing else to do; close() is what waits for them.
    if (idle.length === 0) timer.unref();
    else timer.ref();
  };

  const plan = () => {
    if (queue.size - flying.size >= limitMax && requests.size < concurrency && Date.now() >= pausedUntil) pump();
    else if (queue.size > flying.size) wait();
  };

  const drained = () =>
    new Promise<void>((resolve) => {
      idle.push(resolve);
      pump();
    });

  const finish = async (timeoutMs: number) => {
    closed = true;
    report();
    const timeout = setTimeout(() => {
      stopping.abort();
      for (const done of idle.splice(0)) done();
    }, timeoutMs);
    await drained();
    clearTimeout(timeout);
    await Promise.allSettled(requests);
    clearTimeout(timer);
    spooling((spool) => spool.close());
    return queue.size;
  };

  const client: Client = {
    track(name: string, fields: object) {
      const id = uuid();
      if (closed) return id;
      try {
        const line = make(id, name, { ...context, ...fields });
        if (queue.size >= maxQueue) drop(id, 'queue_full', name);
        else if (Buffer.byteLength(line) > maxBytes) drop(id, 'too_large', name);
        else put(id, line);
        plan();
      } catch {
        drop(id, 'invalid', name);
      }
      return id;
    },
    set(fields: object) {
      context = { ...context, ...fields };
      return client as any;
    },
    async flush() {
      do {
        pump();
        await Promise.allSettled([...requests]);
      } while (queue.size > 0 && Date.now() >= pausedUntil && !stopping.signal.aborted);
    },
    close({ timeoutMs = CLOSE_MS } = {}) {
      return (closing ??= finish(timeoutMs));
    },
  };
  if (queue.size > 0) plan();
  return client;
}
