// What the gateway has taken and refused since the demo began, as its own commands tell it: rows of the lake, and dead letters.
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);
/** As many as the page shows. */
const KEPT = 60;

export class Arrivals {
  #known = new Set();
  /** The newest of all, for a page that is opened later. */
  recent = [];

  constructor(binary, dataDir) {
    Object.assign(this, { binary, dataDir });
    this.since = new Date().toISOString();
  }

  async #lines(...command) {
    // Before the first event there is no lake, and before the gateway is ready there are no dead letters.
    const { stdout } = await run(this.binary, command, { maxBuffer: 1 << 28 }).catch(() => ({ stdout: '' }));
    return stdout;
  }

  async #rows() {
    // Today's, and those that are on their way at midnight.
    const from = new Date(Date.now() - 600_000).toISOString().slice(0, 10);
    const text = await this.#lines('lake', 'export', '--from', from, '--lake', join(this.dataDir, 'lake'));
    // Guests who never were did not come today.
    return text.split('\n').filter(Boolean).map((line) => JSON.parse(line)).filter(({ source }) => source !== 'guests').map((event) => {
      return { id: event.event_uuid, received: event.received_datetime, created: event.created_datetime, name: event.event_name, event };
    });
  }

  async #deadLetters() {
    const text = await this.#lines('dead-letters', 'show', '--data-dir', this.dataDir, '--limit', '1000', '--where', `since=${this.since}`, 'state=any');
    return objects(text).map(({ letter, line: { raw, ...rejected } }) => ({
      id: letter, received: rejected.received_datetime, created: '', name: rejected.event_name ?? 'unreadable', rejected, raw, event: parsed(raw),
    }));
  }

  /** What is there already is not news. */
  async begin() {
    for (const { id } of await this.#rows()) this.#known.add(id);
  }

  /** What came since the last look. */
  async fresh() {
    const found = (await Promise.all([this.#rows(), this.#deadLetters()])).flat().filter(({ id }) => !this.#known.has(id));
    for (const { id } of found) this.#known.add(id);
    this.recent = [...this.recent, ...found].sort((one, other) => (one.received < other.received ? -1 : 1)).slice(-KEPT);
    return found;
  }
}

const parsed = (raw) => {
  try {
    return JSON.parse(raw);
  } catch {
    return undefined;
  }
};

/** The objects that `dead-letters show` prints, one after the other, each over several lines. */
const objects = (text) => text.split(/^(?=\{$)/m).filter((part) => part.trim()).map((part) => JSON.parse(part));
