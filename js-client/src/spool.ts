import { closeSync, existsSync, ftruncateSync, openSync, readFileSync, renameSync, rmSync, writeFileSync, writeSync } from 'node:fs';

/** Bytes of a file in which most lines are settled, from which on it is written anew. */
const COMPACT_BYTES_MIN = 1 << 20;

/** Files that this process has open: another client of the same process would take our own lock for a stale one. */
const open = new Set<string>();

/**
 * An append-only file of what is not settled yet: a line per event as it is sent, and a line `-event_uuid` once it has ended.
 * It outlives the process (not a power cut, since nothing is synced). A torn last line is no event and is skipped.
 */
export class Spool {
  /** What an earlier process left behind, in its order. */
  readonly leftovers = new Map<string, string>();
  readonly #path: string;
  #file: number;
  #bytes = 0;

  constructor(path: string) {
    this.#path = path;
    lock(path);
    if (existsSync(path)) this.#read(readFileSync(path, 'utf8'));
    this.#file = this.#rewritten(this.leftovers.values());
  }

  #read(text: string) {
    for (const line of text.split('\n')) {
      if (line.startsWith('-')) this.leftovers.delete(line.slice(1));
      else {
        try {
          const id = JSON.parse(line).event_uuid;
          if (typeof id === 'string') this.leftovers.set(id, line);
        } catch {
          // The line that was being written when the process died.
        }
      }
    }
  }

  /** The file with these lines only, put in the place of the old one at once. */
  #rewritten(lines: Iterable<string>) {
    const text = [...lines].map((line) => line + '\n').join('');
    writeFileSync(this.#path + '.new', text);
    renameSync(this.#path + '.new', this.#path);
    this.#bytes = Buffer.byteLength(text);
    return openSync(this.#path, 'a');
  }

  append(line: string) {
    this.#bytes += writeSync(this.#file, line + '\n');
  }

  /** These have ended; `left` are the lines that have not. */
  settle(ids: string[], left: Map<string, string>) {
    if (left.size === 0) {
      ftruncateSync(this.#file, 0);
      this.#bytes = 0;
      return;
    }
    this.#bytes += writeSync(this.#file, ids.map((id) => `-${id}\n`).join(''));
    // Looked at in full only now and then: the file has doubled at least since it was written anew.
    if (this.#bytes > COMPACT_BYTES_MIN) {
      let live = 0;
      for (const line of left.values()) live += line.length;
      if (this.#bytes > 2 * live + COMPACT_BYTES_MIN) {
        closeSync(this.#file);
        this.#file = this.#rewritten(left.values());
      }
    }
  }

  close() {
    closeSync(this.#file);
    rmSync(this.#path + '.lock', { force: true });
    open.delete(this.#path);
  }
}

function lock(path: string) {
  const file = path + '.lock';
  if (open.has(path)) throw new Error(`the spool ${path} is in use by this process`);
  for (;;) {
    try {
      writeFileSync(file, String(process.pid), { flag: 'wx' });
      open.add(path);
      return;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    }
    const pid = Number(readFileSync(file, 'utf8'));
    if (pid && pid !== process.pid && isAlive(pid)) throw new Error(`the spool ${path} is in use by process ${pid}`);
    rmSync(file, { force: true });
  }
}

function isAlive(pid: number) {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}
