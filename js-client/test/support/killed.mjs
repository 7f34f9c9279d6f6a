// Browsers that are killed: started without a driver, with a profile that outlives them, on a page that acts by itself.
// Drivers give each session a profile of its own (WebKit's keeps none at all), and a killed browser must find its own again.
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { MINI_BROWSER, PROGRAMS, display } from './browsers.mjs';
import { fields } from './events.mjs';
import { Gateway, ROOT } from './gateway.mjs';
import { freePort } from './site.mjs';
import { until } from './until.mjs';

const KEY = 'a-key-that-everyone-can-read';

const COMMANDS = {
  chromium: (profile) => [PROGRAMS.chromium, '--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
    '--disable-background-networking', '--disable-component-update', '--disable-sync', `--user-data-dir=${profile}`],
  firefox: (profile) => [PROGRAMS.firefox, '--headless', '--no-remote', '--profile', profile],
  webkit: () => [MINI_BROWSER],
};

/** Settings of Firefox for a first start without questions, downloads or a session to restore. */
const FIREFOX = `user_pref("browser.shell.checkDefaultBrowser", false);
user_pref("browser.sessionstore.resume_from_crash", false);
user_pref("toolkit.startup.max_resumed_crashes", -1);
user_pref("browser.aboutwelcome.enabled", false);
user_pref("datareporting.policy.dataSubmissionEnabled", false);
user_pref("app.update.enabled", false);
user_pref("network.proxy.type", 0);
`;

/** One browser with one profile, that is started, killed and started again. */
export class Killable {
  #process;

  constructor(name) {
    this.name = name;
    this.profile = mkdtempSync(join(tmpdir(), `lakegate-killed-${name}-`));
    if (name === 'firefox') writeFileSync(join(this.profile, 'user.js'), FIREFOX);
  }

  async start(url) {
    if (this.name === 'webkit') this.screen ??= await display();
    const home = {};
    for (const [variable, folder] of [['XDG_DATA_HOME', 'data'], ['XDG_CACHE_HOME', 'cache'], ['XDG_CONFIG_HOME', 'config']]) {
      home[variable] = join(this.profile, folder);
      mkdirSync(home[variable], { recursive: true });
    }
    const [program, ...args] = COMMANDS[this.name](this.profile);
    // A group of its own: all its processes are killed at one stroke.
    this.#process = spawn(program, [...args, url], {
      detached: true, stdio: 'ignore',
      env: { ...process.env, HOME: this.profile, ...home, ...this.screen?.environment },
    });
  }

  async kill() {
    if (this.#process?.exitCode !== null || this.#process.signalCode) return;
    const gone = new Promise((done) => this.#process.once('exit', done));
    process.kill(-this.#process.pid, 'SIGKILL');
    await gone;
  }

  close() {
    this.screen?.close();
    rmSync(this.profile, { recursive: true, force: true, maxRetries: 5 });
  }
}

/** In the page: tracks, and tells its server the event_uuids; again a second later, where `later` says so. */
const ACT = `
const query = new URLSearchParams(location.search);
const say = (what, body = '') => fetch('/' + what, { method: 'POST', body });
addEventListener('error', (event) => say('failed', String(event.message)));
addEventListener('unhandledrejection', (event) => say('failed', String(event.reason)));
const storage = query.get('durable') ? await (await import('/dist/durable.js')).durable() : localStorage;
const { createClient } = await import('/dist/index.js');
const client = createClient({ url: query.get('url'), key: query.get('key'), storage, debug: false, flushMs: +query.get('flush') });
const track = (count) => JSON.stringify(Array.from({ length: count }, (_, index) =>
  client.track('menu:section:reached', { ...FIELDS, section_index: index })));
const stored = () => Object.keys(storage).filter((name) => name.startsWith('lakegate:')).length;
const count = +query.get('count');
if (count) {
  say('first', track(count));
  if (query.get('later')) setTimeout(() => say('later', track(count)), 1000);
} else {
  say('found', String(stored()));
  setInterval(() => stored() || say('idle'), 100);
}`;

/** A gateway, and a server with a page that tracks or, with \`count=0\`, sends what an earlier one left. */
export class Scene {
  #server;
  #said = {};

  async start(dist = join(ROOT, 'js-client/dist')) {
    this.port = await freePort();
    const sha256 = createHash('sha256').update(KEY).digest('hex');
    this.gateway = await new Gateway({
      plaintext: true,
      config: `[[keys]]\nname = "menu"\nkind = "browser"\nsecret_sha256 = "${sha256}"\n` +
        `allowed_origins = ["http://localhost:${this.port}"]\nallowed_events = ["menu:*", "client:*"]\n`,
    }).start();
    this.#server = createServer(async (request, response) => {
      const { pathname } = new URL(request.url, 'http://localhost');
      if (request.method === 'POST') {
        const chunks = [];
        for await (const chunk of request) chunks.push(chunk);
        this.#said[pathname.slice(1)] = Buffer.concat(chunks).toString();
        return response.writeHead(204).end();
      }
      const files = {
        '/act': ['text/html', '<!doctype html><title>Act</title><script type="module" src="/act.js"></script>'],
        '/act.js': ['text/javascript', ACT.replace('FIELDS', JSON.stringify(fields()))],
      };
      const [type, text] = files[pathname] ?? [];
      if (text) return response.writeHead(200, { 'content-type': type }).end(text);
      if (!/^\/dist\/[a-z-]+\.js$/.test(pathname)) return response.writeHead(404).end();
      response.writeHead(200, { 'content-type': 'text/javascript' }).end(readFileSync(join(dist, pathname.slice('/dist/'.length))));
    });
    await new Promise((done) => this.#server.listen(this.port, '127.0.0.1', done));
    return this;
  }

  /** The page's address; forgets what an earlier page said. */
  page(options) {
    this.#said = {};
    const query = new URLSearchParams({ url: this.gateway.url, key: KEY, flush: 2000, ...options });
    return `http://localhost:${this.port}/act?${query}`;
  }

  /** Waits until the page has said this. */
  said(what, seconds = 40) {
    return until(`the page says ${what}`, () => {
      if (this.#said.failed) throw new Error(`in the page: ${this.#said.failed}`);
      return what in this.#said && { text: this.#said[what] };
    }, seconds, 2);
  }

  async stop() {
    this.#server.closeAllConnections();
    this.#server.close();
    await this.gateway.stop();
    this.gateway.remove();
  }
}
