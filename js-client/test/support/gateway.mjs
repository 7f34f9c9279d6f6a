// The real gateway on free loopback ports, and what lies in its lake.
import { execFile, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { until } from './until.mjs';

const run = promisify(execFile);
export const ROOT = resolve(dirname(fileURLToPath(import.meta.url)), '../../..');
const BINARY = resolve(ROOT, process.env.LAKEGATE_BIN ?? 'target/debug/lakegate');
// Loopback only: a proxy of the machine's must not come between, and no setting of its user's may count.
const ENVIRONMENT = Object.fromEntries(
  Object.entries(process.env).filter(([name]) => !/_proxy$/i.test(name) && !name.startsWith('LAKEGATE_')),
);

export class Gateway {
  #process;
  #listen = '127.0.0.1:0';

  constructor({ plaintext = false, config = '' } = {}) {
    this.plaintext = plaintext;
    this.folder = mkdtempSync(join(tmpdir(), 'lakegate-js-'));
    this.config = config;
  }

  async start() {
    const file = join(this.folder, 'lakegate.toml');
    writeFileSync(file, `${this.config}\n[lake]\nflush_age_ms = 200\n`);
    const log = [];
    this.#process = spawn(
      BINARY,
      ['serve', '--config', file, '--listen', this.#listen, '--admin', '127.0.0.1:0', '--data-dir', join(this.folder, 'data'),
        '--schemas', join(ROOT, 'schemas'), ...(this.plaintext ? ['--plaintext'] : [])],
      { cwd: this.folder, env: ENVIRONMENT, stdio: ['ignore', 'pipe', 'pipe'] },
    );
    const gone = new Promise((done) => this.#process.once('exit', done));
    this.exited = gone;
    for (const stream of [this.#process.stdout, this.#process.stderr]) stream.on('data', (data) => log.push(data));
    const said = () => Buffer.concat(log).toString();
    await until('the gateway is ready', () => {
      if (this.#process.exitCode !== null) throw new Error(`the gateway ended:\n${said()}`);
      return /"message":"ready"/.test(said());
    });
    this.port = Number(/events: POST https?:\/\/127\.0\.0\.1:(\d+)/.exec(said())[1]);
    this.adminPort = Number(/metrics: http:\/\/127\.0\.0\.1:(\d+)/.exec(said())[1]);
    // The same port after a restart.
    this.#listen = `127.0.0.1:${this.port}`;
    return this;
  }

  get origin() {
    return `${this.plaintext ? 'http' : 'https'}://localhost:${this.port}`;
  }

  get pid() {
    return this.#process.pid;
  }

  get url() {
    return `${this.origin}/v1/events`;
  }

  /** Where operators find the console. */
  get console() {
    return `http://localhost:${this.adminPort}/`;
  }

  /** The certificate that it made for this machine, and its key. */
  get tls() {
    const read = (name) => readFileSync(join(this.folder, 'data/tls', name));
    return { cert: read('cert.pem'), key: read('key.pem') };
  }

  get certificate() {
    return join(this.folder, 'data/tls/cert.pem');
  }

  /** Ends it as an operator would; what is spooled is in the lake then. */
  async stop() {
    if (this.#process?.exitCode === null) this.#process.kill('SIGTERM');
    await this.exited;
  }

  async kill() {
    if (this.#process?.exitCode === null) this.#process.kill('SIGKILL');
    await this.exited;
  }

  /** Every row of the lake, in no order. */
  async lake() {
    const root = join(this.folder, 'data/lake');
    const { stdout } = await run(BINARY, ['lake', 'export', '--lake', root], { env: ENVIRONMENT, maxBuffer: 1 << 28 }).catch(
      (error) => {
        // Before the first file is written there is no lake.
        if (/no lake|No such file|does not exist|no files|not found/i.test(error.stderr)) return { stdout: '' };
        throw error;
      },
    );
    return stdout.split('\n').filter(Boolean).map((line) => JSON.parse(line));
  }

  /** Waits until these are in the lake; each once. Gives their rows in the order of `ids`. */
  async delivered(ids, seconds = 20) {
    let rows = new Map();
    const missing = () => ids.filter((id) => !rows.has(id)).length;
    await until(() => `${missing()} of ${ids.length} events are not in the lake`, async () => {
      rows = group(await this.lake());
      return missing() === 0;
    }, seconds);
    const twice = ids.filter((id) => rows.get(id).length > 1);
    if (twice.length) throw new Error(`${twice.length} of ${ids.length} events are in the lake twice`);
    return ids.map((id) => rows.get(id)[0]);
  }

  remove() {
    rmSync(this.folder, { recursive: true, force: true });
  }
}

function group(rows) {
  const groups = new Map();
  for (const row of rows) groups.set(row.event_uuid, [...(groups.get(row.event_uuid) ?? []), row]);
  return groups;
}
