// Chromium, Firefox and WebKit behind one interface: the browsers of Debian, with real tabs that really close.
import { spawn } from 'node:child_process';
import { accessSync, existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import puppeteer from 'puppeteer-core';
import { freePort } from './site.mjs';
import { until } from './until.mjs';

export const PROGRAMS = {
  chromium: '/usr/bin/chromium',
  firefox: '/usr/bin/firefox-esr',
  webkit: '/usr/bin/WebKitWebDriver',
};
// /usr/lib/x86_64-linux-gnu/… and its likes.
export const MINI_BROWSER = readdirSync('/usr/lib').map((folder) => `/usr/lib/${folder}/webkit2gtk-4.1/MiniBrowser`).find(existsSync) ?? 'MiniBrowser';
// A phone, portrait.
const VIEWPORT = { width: 390, height: 780 };

/** Why a browser cannot run here; undefined if it can. */
export function missing(name) {
  for (const program of name === 'webkit' ? [PROGRAMS.webkit, MINI_BROWSER, '/usr/bin/Xvfb'] : [PROGRAMS[name]]) {
    try {
      accessSync(program);
    } catch {
      return `${program} is not there: apt-get install chromium firefox-esr webkit2gtk-driver xvfb`;
    }
  }
}

export const launch = (name) => (name === 'webkit' ? WebKit.launch() : Puppeteer.launch(name));

/** A screen for WebKit, which has no headless mode: what a program needs to find it, and its end. */
export async function display() {
  // It chooses a free display itself, and says which once it is there.
  const screen = spawn('/usr/bin/Xvfb', ['-displayfd', '3', '-screen', '0', '1280x900x24', '-nolisten', 'tcp'], {
    stdio: ['ignore', 'ignore', 'ignore', 'pipe'],
  });
  const number = await new Promise((done, fail) => {
    screen.stdio[3].once('data', (number) => done(String(number).trim()));
    screen.once('exit', (code) => fail(new Error(`Xvfb ended with ${code}`)));
  });
  const environment = {
    DISPLAY: `:${number}`, WEBKIT_DISABLE_COMPOSITING_MODE: '1', WEBKIT_DISABLE_SANDBOX_THIS_IS_DANGEROUS: '1',
    LIBGL_ALWAYS_SOFTWARE: '1', NO_AT_BRIDGE: '1',
  };
  return { environment, close: () => screen.kill() };
}

/** As a click on a link would. A page from the back/forward cache leaves without the events that drivers wait for. */
async function leave(tab, url) {
  await tab.run((to) => void setTimeout(() => (location.href = to)), url);
  await until(`the page ${url}`, async () => {
    const here = await tab.run(() => location.href + ' ' + document.readyState).catch(() => '');
    return here === `${url} complete`;
  });
}

/** A tab. `run` calls a function in the page and gives what it returns. */
class PuppeteerTab {
  constructor(page) {
    this.page = page;
  }
  goto(url) {
    return this.page.goto(url, { waitUntil: 'load' });
  }
  run(what, ...args) {
    return this.page.evaluate(what, ...args);
  }
  leave(url) {
    return leave(this, url);
  }
  async back() {
    await this.page.evaluate(() => history.back()).catch(() => {});
  }
  close() {
    return this.page.close();
  }
  /** Another tab comes before it. */
  async hide() {
    this.other = await this.page.browser().newPage();
    await this.other.bringToFront();
  }
  async show() {
    await this.page.bringToFront();
    await this.other.close();
  }
}

class Puppeteer {
  static async launch(name) {
    const self = new this();
    self.name = name;
    self.profile = mkdtempSync(join(tmpdir(), `lakegate-${name}-`));
    self.browser = await puppeteer.launch({
      browser: name === 'chromium' ? 'chrome' : 'firefox',
      executablePath: PROGRAMS[name],
      headless: true,
      acceptInsecureCerts: true,
      defaultViewport: VIEWPORT,
      userDataDir: name === 'chromium' ? self.profile : undefined,
      args: name === 'chromium'
        ? ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
            '--disable-component-update', '--disable-sync']
        : [],
      ignoreDefaultArgs: name === 'chromium' ? ['--disable-features=BackForwardCache', '--disable-back-forward-cache'] : [],
      extraPrefsFirefox: { 'network.proxy.type': 0 },
    });
    return self;
  }
  async tab(url) {
    const tab = new PuppeteerTab(await this.browser.newPage());
    await tab.goto(url);
    return tab;
  }
  async close() {
    await this.browser.close();
    rmSync(this.profile, { recursive: true, force: true });
  }
}

class WebKitTab {
  constructor(browser, handle) {
    Object.assign(this, { browser, handle });
  }
  async #here() {
    await this.browser.post('window', { handle: this.handle });
  }
  async goto(url) {
    await this.#here();
    await this.browser.post('url', { url });
  }
  async run(what, ...args) {
    await this.#here();
    const script = `const done = arguments[arguments.length - 1];
      Promise.resolve().then(() => (${what})(...Array.from(arguments).slice(0, -1))).then((value) => done({ value }), (error) => done({ error: String(error) }));`;
    const { value, error } = await this.browser.post('execute/async', { script, args });
    if (error) throw new Error(error);
    return value;
  }
  leave(url) {
    return leave(this, url);
  }
  async back() {
    await this.#here();
    await this.browser.post('back', {});
  }
  /** Its driver cannot put a tab behind another; a window that is minimised hides its page just so. */
  async hide() {
    await this.#here();
    await this.browser.post('window/minimize', {});
  }
  async show() {
    await this.#here();
    await this.browser.post('window/rect', VIEWPORT);
  }
  async close() {
    await this.#here();
    await this.browser.call('DELETE', 'window');
  }
}

class WebKit {
  name = 'webkit';
  #processes = [];
  #session;

  static async launch() {
    const self = new this();
    self.port = await freePort();
    const screen = await display();
    self.#processes.push({ kill: screen.close });
    const quiet = { stdio: 'ignore', env: { ...process.env, ...screen.environment } };
    const start = (program, ...args) => self.#processes.push(spawn(program, args, quiet));
    start(PROGRAMS.webkit, `--port=${self.port}`, '--host=127.0.0.1');
    self.base = `http://127.0.0.1:${self.port}/session`;
    await until('WebKitWebDriver', () => fetch(`http://127.0.0.1:${self.port}/status`).then((response) => response.ok, () => false));
    const capabilities = { alwaysMatch: {
      acceptInsecureCerts: true, 'webkitgtk:browserOptions': { binary: MINI_BROWSER, args: ['--automation'] },
    } };
    const { sessionId } = await self.#call('POST', self.base, { capabilities });
    self.#session = `${self.base}/${sessionId}`;
    // Closing the last window would end the session.
    self.first = await self.call('GET', 'window');
    return self;
  }
  async #call(method, url, body) {
    const response = await fetch(url, { method, body: body && JSON.stringify(body), headers: { 'content-type': 'application/json' } });
    const { value } = await response.json();
    if (value?.error) throw new Error(`${method} ${url}: ${value.error} ${value.message}`);
    return value;
  }
  call(method, path, body) {
    return this.#call(method, `${this.#session}/${path}`, body);
  }
  post(path, body) {
    return this.call('POST', path, body);
  }
  async tab(url) {
    await this.post('window', { handle: this.first });
    // A tab of its own window: beside another in one window it would be hidden.
    const { handle } = await this.post('window/new', { type: 'window' });
    await this.post('window', { handle });
    await this.post('window/rect', VIEWPORT);
    const tab = new WebKitTab(this, handle);
    await tab.goto(url);
    return tab;
  }
  async close() {
    await this.#call('DELETE', this.#session).catch(() => {});
    for (const child of this.#processes.reverse()) child.kill();
  }
}
