import type { CommonClient, CommonOptions, Consent, Context, DropReason, Outcome } from './types.js';
import { obey } from './answer.js';
import { millisOf, uuid } from './uuid.js';

export type * from './types.js';

/** Options of a browser's client. */
export interface Options extends CommonOptions {
  /** What the visitor has agreed to so far; `granted`. */
  consent?: Consent;
  /** Whether Global Privacy Control means `denied`, for good; true. */
  gpc?: boolean;
  /** Where events are written ahead to; `localStorage`. `null`: memory only. A plain object will do. `lakegate/durable` makes one. */
  storage?: Record<string, string> | Storage | null;
  /** Name under which events are stored; the key. After the key was replaced: the old key, so that what it left is sent with the new one. */
  storageKey?: string;
}

/** The two random identities that join events: of the browser tab, and of one opening of a page. */
export interface Ids {
  session_id: string;
  visit_id: string;
}

/** A browser's client. */
export interface Client<Given extends PropertyKey = never> extends CommonClient<Given> {
  set<Fields extends Context>(fields: Fields): Client<Given | keyof Fields>;
  /** What the visitor has decided. */
  consent(next: Consent): void;
  /** The session and the visit; with `true` a new visit begins. Give them to `set`, or to the events that have them. */
  ids(renew?: boolean): Ids;
  /** Sends what waits, as at a page's exit, and takes no more. What is not answered stays stored for the next page. */
  close(): void;
}

/** Network failures in a row after which only `online`, or the visitor's return to the page, begins anew. */
const PARK_AFTER = 5;
/** Longest pause between two tries, before what `Retry-After` adds. */
const BACKOFF_MS_MAX = 60000;
/** The same while the gateway, or whoever answers in its place, refuses the key or the address. */
const REFUSED_MS_MAX = 600000;
/** A request is early if this many times `flushMs` have passed since the last: at most one request in so many is added by that. */
const REST = 5;
/** Time after which a request counts as failed. */
const TIMEOUT_MS = 30000;
/** The quota of keepalive requests is 65,536 bytes for the whole page. */
const EXIT_BYTES_MAX = 65000;

const bytesOf = (text: string) => new TextEncoder().encode(text).length;

/** A client: `createClient({ url, key })`. Nothing is read, written or sent before this is called. */
export function createClient(options: Options): Client {
  const {
    key, storageKey = key, flushMs = 2000, maxBatch = 100, maxBytes = 60000, maxQueue = 1000, maxAgeMs = 259200000, gzip = true, gpc = true, on,
    debug = globalThis.origin as string | boolean,
  } = options;
  // Where it is asked for, as an option or an attribute; where nothing is said, on this machine. In a file of its own, since visitors
  // need not load it. If the file is missing the bare facts are told.
  const explain =
    /^(true)?$|[/.](127.0.0.1|.::1]|localhost)(:|$)/.test(debug as string) &&
    import('./lakegate-debug.js').catch(() => ({ tell: console.warn }));
  const endpoint = options.url + '?key=' + encodeURIComponent(key);
  const prefix = 'lakegate:' + storageKey + ':';
  const closed = new AbortController();
  // Every event by its event_uuid, as the line that is sent however often.
  const queue = new Map<string, string>();
  let store: Record<string, string> | undefined | null;
  let tab: Storage | undefined;
  let state: Consent | undefined;
  let context: object = {};
  let session = uuid();
  let visit = uuid();
  let dropped: Record<string, any> | undefined;
  let limit = maxBatch;
  // Whether the last answer refused the key or the address: one event is enough to ask whether that is over.
  let refused: boolean | undefined;
  // Tries that failed since one went well; those of them, in a row, that met no answer at all.
  let failures = 0;
  let losses = 0;
  // While a pause is kept, only its end, or the return of the network, begins a request.
  let paused: boolean | undefined;
  // Until then the gateway does not want to hear from us at all.
  let notBefore = 0;
  let timer: ReturnType<typeof setTimeout> | 0 = 0;
  let lastRun = 0;
  let busy: Promise<void> | undefined;
  // The newest event, and what it was at the last exit: pagehide and visibilitychange both come.
  let newest: string | undefined;
  let exited: string | undefined;
  try {
    // A getter that throws where storage is switched off.
    ({ storage: store = localStorage } = options as { storage?: Record<string, string> });
    tab = sessionStorage;
  } catch {}

  const stored = () =>
    Object.keys(store || {})
      .filter((name) => name.startsWith(prefix))
      .sort()
      .map((name) => name.slice(prefix.length));

  const forget = (id: string) => delete store?.[prefix + id];

  const put = (id: string, line: string) => {
    queue.set((newest = id), line);
    if (state == 'granted') {
      try {
        store![prefix + id] = line;
      } catch {}
    }
  };

  const end = (event_uuid: string, status: Outcome['status'], error?: Outcome['error'], what = queue.get(event_uuid)) => {
    // Not those that ended meanwhile by another answer, or were purged.
    if (what == undefined) return;
    if (error && explain) explain.then(({ tell }) => tell(status, error, what, options.url));
    forget(event_uuid);
    queue.delete(event_uuid);
    if (status == 'dropped') (dropped ||= { client: 'browser' })[error!.code] = (dropped[error!.code] || 0) + 1;
    try {
      on?.({ event_uuid, status, error });
    } catch {}
  };

  const drop = (id: string, code: DropReason, name?: string) => end(id, 'dropped', { code }, name);

  const make = (id: string, name: string, fields: object) =>
    JSON.stringify({ ...fields, event_uuid: id, event_name: name, created_at: Date.now() / 1000 });

  const report = () => {
    if (dropped) {
      const id = uuid();
      put(id, make(id, 'client:events:dropped', dropped));
      dropped = 0 as any;
    }
  };

  const batch = (count: number, bytes: number) => {
    const ids: string[] = [];
    for (const [id, line] of queue) {
      if (Date.now() - millisOf(id) > maxAgeMs) drop(id, 'too_old');
      else {
        bytes -= bytesOf(line) + 1;
        if (ids.length && (bytes < 0 || ids.length >= count)) break;
        ids.push(id);
      }
    }
    return ids;
  };

  const bodyOf = (ids: string[]) => ids.map((id) => queue.get(id)).join('\n');

  /** Obeys an answer; the pause that it asks for, if any. The body is read whatever it is: until then it holds the exit's quota. */
  const settle = async (ids: string[], response: Response) => {
    const text = await response.text();
    losses = 0;
    const next = obey(response.status, text, ids, end);
    if (next! > 0) limit = next!;
    if (next! < 0) {
      // If that one is what is refused, the others go before it.
      const [id] = ids as [string];
      const line = queue.get(id);
      if (queue.delete(id)) queue.set(id, line!);
      if (!refused) console.warn('lakegate: refused', response.status, text);
      refused = true;
    }
    if (next! <= 0) {
      const pause = (response.headers.get('retry-after') as any) * 1000 || 0;
      // Some events that must come again, those that another tab is sending just now, and wrong ones for which there is no room
      // (`dead_letters_full`) keep no others back at the exit.
      if (!response.ok && !/in_f|letters/.test(text)) notBefore = Date.now() + pause;
      return pause;
    }
    if (!next) {
      refused = failures = 0 as any;
      report();
    }
    return;
  };

  const run = async () => {
    clearTimeout(timer as number);
    timer = 0;
    lastRun = Date.now();
    // What comes in the meantime waits for the next round, or every event would be a request of its own.
    for (let left = queue.size, ids; left > 0 && state == 'granted'; left -= ids.length) {
      ids = batch(refused ? 1 : limit, maxBytes);
      if (!ids[0]) break;
      let pause: number | undefined = 0;
      try {
        let body: BodyInit = bodyOf(ids);
        // The gateway knows gzip by its first bytes; a header for it would cost a preflight.
        if (gzip && globalThis.CompressionStream) {
          body = await new Response(new Response(body).body!.pipeThrough(new CompressionStream('gzip'))).arrayBuffer();
          // Consent may have been withdrawn meanwhile.
          if (state != 'granted') break;
        }
        pause = await settle(ids, await post(body));
      } catch {
        losses++;
      }
      if (pause != undefined) {
        paused = true;
        if (losses < PARK_AFTER) timer = setTimeout(resume, pause + Math.random() * Math.min(refused ? REFUSED_MS_MAX : BACKOFF_MS_MAX, 1000 * 2 ** failures++));
        return;
      }
    }
  };

  const post = (body: BodyInit, keepalive?: boolean) =>
    fetch(endpoint, { method: 'POST', credentials: 'omit', body, keepalive, signal: AbortSignal.timeout?.(TIMEOUT_MS) });

  const go = () => paused || (busy ||= run().finally(() => plan((busy = 0 as any))));

  const resume = () => {
    paused = timer = 0 as any;
    go();
  };

  const plan = (_?: unknown) => {
    if (!paused && !busy && queue.size && state == 'granted') {
      if (queue.size >= limit) go();
      // After a rest, as when a page begins, soon: the fewer events are on board, the fewer die with a browser that is killed.
      else timer ||= setTimeout(resume, Date.now() - lastRun > REST * flushMs ? flushMs / 10 : flushMs);
    }
  };

  /** What this tab, an earlier page or another tab left behind. Should its owner send it too, the gateway drops the second. */
  const adopt = () => {
    for (const id of stored()) if (queue.size < maxQueue && !queue.has(id)) queue.set((newest = id), store![prefix + id]!);
  };

  const wake = () => {
    exited = 0 as any;
    if (state == 'granted') adopt();
    if (losses) {
      losses = 0;
      paused = false;
      go();
    } else plan();
  };

  /** Synchronous and plain, in one request: whatever waits for anything is never sent. */
  const exit = () => {
    if (state == 'granted' && Date.now() >= notBefore) {
      report();
      if (exited != newest) {
        exited = newest;
        const ids = batch(refused ? 1 : 1 / 0, EXIT_BYTES_MAX);
        const body = bodyOf(ids);
        if (!body) return;
        // A beacon has no answer: what it carries stays stored, and is sent again.
        if ('keepalive' in Request.prototype) {
          post(body, true)
            .then((response) => settle(ids, response))
            .catch(() => (exited = 0 as any));
        } else navigator.sendBeacon(endpoint, body);
      }
    }
  };

  const client: Client = {
    track(name: string, fields: object) {
      const id = uuid();
      if (state && state != 'denied') {
        try {
          const line = make(id, name, { ...context, ...fields });
          if (queue.size >= maxQueue) drop(id, 'queue_full', name);
          else if (bytesOf(line) > maxBytes) drop(id, 'too_large', name);
          else put(id, line);
          plan();
        } catch {
          drop(id, 'invalid', name);
        }
      }
      return id;
    },
    set(fields: object) {
      context = { ...context, ...fields };
      return client as any;
    },
    async flush() {
      await busy;
      if (losses) wake();
      await go();
    },
    consent(next) {
      state = gpc && (globalThis.navigator as any)?.globalPrivacyControl ? 'denied' : next;
      if (state == 'denied') {
        queue.clear();
        stored().forEach(forget);
        delete tab?.lakegate;
      }
      if (state == 'granted') {
        try {
          session = tab!.lakegate ||= session;
        } catch {}
        for (const [id, line] of queue) put(id, line);
        adopt();
        plan();
      }
    },
    ids(renew) {
      if (renew) visit = uuid();
      return { session_id: session, visit_id: visit };
    },
    close() {
      exit();
      closed.abort();
      state = undefined;
    },
  };

  const hear = (type: string, listener: () => void) => globalThis.addEventListener?.(type, listener, { signal: closed.signal });
  hear('pagehide', exit);
  hear('visibilitychange', () => (document.hidden ? exit() : wake()));
  hear('online', wake);
  hear('pageshow', wake);
  client.consent(options.consent || 'granted');
  return client;
}
