// Storage that outlives a browser that is killed: localStorage, and beside it IndexedDB, whose transactions are on disk at once
// (`durability: 'strict'`). Chromium writes localStorage to disk only seconds later.

const DATABASE = 'lakegate';
const EVENTS = 'events';
/** How long what an earlier page left is waited for; it comes with the next page then. */
const READ_MS_MAX = 1000;
/** A promise of what a request brings. */
const done = <T>(request: IDBRequest<T>) =>
  new Promise<T>((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });

async function open() {
  const request = indexedDB.open(DATABASE, 1);
  request.onupgradeneeded = () => request.result.createObjectStore(EVENTS);
  const database = await done(request);
  // A page of a later version, or the visitor who clears the storage, need not wait for this one.
  database.onversionchange = () => database.close();
  return database;
}

/**
 * A storage for `createClient({ storage: await durable() })`; it comes when what an earlier page left has been read. Where IndexedDB is
 * missing or fails it is `localStorage` alone, and where that is forbidden, memory. Nothing is made before the first event is stored.
 */
export async function durable(): Promise<Record<string, string>> {
  let local: Record<string, string> = {};
  try {
    local = localStorage;
  } catch {}
  let opened: Promise<IDBDatabase> | undefined;
  // Written together: all that one task of the page stores, or removes, is one transaction.
  let changes: Map<string, string | undefined> | undefined;

  const write = async () => {
    const database = await (opened ??= open());
    const now = changes!;
    changes = undefined;
    const transaction = database.transaction(EVENTS, 'readwrite', { durability: 'strict' });
    const store = transaction.objectStore(EVENTS);
    for (const [name, line] of now) {
      if (line == undefined) store.delete(name);
      else store.put(line, name);
    }
    // Without waiting for what its requests bring: a page that is left at this moment has it done all the same.
    transaction.commit?.();
  };

  const change = (name: string, line?: string) => {
    if (!changes) {
      changes = new Map();
      queueMicrotask(() => write().catch(() => (changes = undefined)));
    }
    changes.set(name, line);
  };

  const read = async () => {
    // Only what is there: before a visitor has agreed nothing may be made.
    const databases = await indexedDB.databases?.();
    if (databases && !databases.some(({ name }) => name == DATABASE)) return;
    const store = (await (opened ??= open())).transaction(EVENTS).objectStore(EVENTS);
    const [names, lines] = await Promise.all([done(store.getAllKeys()), done(store.getAll())]);
    names.forEach((name, index) => (local[name as string] = lines[index]));
  };
  // A database that does not answer must not keep the events of this visit from being counted.
  await Promise.race([read().catch(() => {}), new Promise((late) => setTimeout(late, READ_MS_MAX))]);

  return new Proxy(local, {
    set(_, name: string, line: string) {
      change(name, line);
      local[name] = line;
      return true;
    },
    deleteProperty(_, name: string) {
      change(name);
      delete local[name];
      return true;
    },
  });
}
