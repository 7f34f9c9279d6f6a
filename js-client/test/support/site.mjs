// A web site over HTTPS, of another origin than the gateway: pages with the client, and a front that can fail before the gateway.
import { readFileSync } from 'node:fs';
import { createServer } from 'node:https';
import { Agent, request as forward } from 'node:https';
import { createServer as listener } from 'node:net';
import { join } from 'node:path';
import { ROOT } from './gateway.mjs';

const TYPES = { html: 'text/html; charset=utf-8', js: 'text/javascript', css: 'text/css', svg: 'image/svg+xml' };

export async function freePort() {
  const probe = listener();
  await new Promise((done) => probe.listen(0, '127.0.0.1', done));
  const { port } = probe.address();
  await new Promise((done) => probe.close(done));
  return port;
}

/** A page that has the client as `lakegate`, and nothing of it running. */
const LAB = `<!doctype html><html lang="en"><title>Lab</title><meta name="viewport" content="width=device-width">
<script src="/dist/lakegate-core.js"></script><p>Lab`;

/** A menu of `sections` with the plain script; strict CSP comes with it. */
const menuPage = (url, key, script = 'lakegate') => `<!doctype html><html lang="pt-PT"><title>Menu</title>
<meta name="viewport" content="width=device-width">
<link rel="stylesheet" href="/menu.css">
<main data-menu="dinner" data-menu-restaurant="tasca-do-lago" data-menu-currency="EUR">
${['appetizers', 'soups', 'mains', 'desserts'].map((section, index) => `<section data-menu-section="${section}"><h2>Section ${section}</h2>
${[0, 1, 2].map((item) => `<article data-menu-item="${section}-${item}" data-menu-price="${900 + 100 * index + item}"><h3>Dish ${item} &amp; more</h3>
<button data-menu-action="order">Order</button></article>`).join('\n')}</section>`).join('\n')}
</main><script defer src="/dist/${script}.js" data-url="${url}" data-key="${key}" data-flush-ms="300"></script>`;

/** An application that is rendered after its modules have begun to look. */
const spaPage = `<!doctype html><html lang="en"><title>App</title><meta name="viewport" content="width=device-width">
<link rel="stylesheet" href="/menu.css"><body><script type="module" src="/spa.js"></script>`;
const spaScript = (url, key) => `import { createClient } from '/dist/index.js';
import { menu } from '/dist/menu.js';
const client = createClient({ url: '${url}', key: '${key}', flushMs: 50 }).set({ restaurant_id: 'tasca-do-lago' });
window.tracked = menu(client);
setTimeout(() => document.body.insertAdjacentHTML('beforeend',
  '<main data-menu="lunch"><section data-menu-section="s"><h2>S</h2><article class="tall" data-menu-item="lunch-soup"><h3>Soup</h3></article></section></main>'));`;

/** A menu with every fault that a person makes, and the plain script from `folder`. What the console is warned of is in `warnings`. */
const wrongPage = (url, key, folder, more) => `<!doctype html><html lang="pt_PT"><title>Wrong</title>
<meta name="viewport" content="width=device-width">
<script src="/record.js"></script>
<main id="menu" data-menu="my dinner" data-menu-restaurant="" data-menu-currency="euro">
<article id="lost" data-menu-item="soup"><h3>Soup</h3></article>
<section id="mains" data-menu-section="mains"><h2>Mains</h2>
<article id="spaces" data-menu-item="Bacalhau à Brás" data-menu-price="14,50"><h3>Bacalhau à Brás</h3></article>
<article id="unnamed" data-menu-item data-menu-price="€ 9"><h3>Polvo à lagareiro</h3></article>
<article id="good" data-menu-item="arroz" data-menu-price="900"><h3>Arroz</h3><button data-menu-action="order">Order</button></article>
<article id="twin" data-menu-item="arroz" data-menu-price="about 9"><h3>Arroz</h3></article>
<article id="typo" data-menu-item="bife" data-menu-prise="900"><h3>Bife</h3></article>
</section>
<section id="again" data-menu-section="mains"><h2>Mains</h2></section>
<button id="stray" data-menu-action="order">Order</button>
</main>
<main id="second" data-menu="lunch"></main>
<section id="outside" data-menu-section="desserts"></section>
<script defer src="${folder}/lakegate.js" data-url="${url}" data-key="${key}" data-flush-ms="300"${more}></script>`;
const RECORD = `window.warnings = [];
const warn = console.warn;
console.warn = (...words) => {
  warnings.push(words.map((word) => (word instanceof Element ? '#' + (word.id || word.localName) : typeof word == 'string' ? word : JSON.stringify(word))));
  warn(...words);
};`;

const CSS = 'body{margin:0}h2{margin:0;height:40px}article{height:180px;border-bottom:1px solid}.tall{height:3000px}';

export class Site {
  /** What the front does with events: `pass`, a status with which it refuses them, `login` with a page as a hotel's network has it, or `drop` the connection. */
  fault = 'pass';
  /** Requests that the front has seen. */
  seen = [];
  #server;
  #agent = new Agent({ keepAlive: true, rejectUnauthorized: false });

  constructor(port, gateway, key) {
    Object.assign(this, { port, gateway, key });
    this.origin = `https://localhost:${port}`;
  }

  /** Where the front takes events. */
  get url() {
    return `${this.origin}/v1/events`;
  }

  async start() {
    this.#server = createServer(this.gateway.tls, (request, response) => {
      const { pathname, searchParams } = new URL(request.url, this.origin);
      if (pathname === '/v1/events') return this.#front(request, response);
      const csp = {
        'content-security-policy': `default-src 'none'; script-src 'self'; style-src 'self'; connect-src ${this.gateway.origin} 'self'`,
      };
      const send = (type, text, headers = {}) => response.writeHead(200, { 'content-type': TYPES[type], ...headers }).end(text);
      if (pathname === '/lab') return send('html', LAB, csp);
      if (pathname === '/menu') return send('html', menuPage(searchParams.get('url') ?? this.gateway.url, this.key, searchParams.get('script') ?? undefined), csp);
      if (pathname === '/wrong') {
        const more = searchParams.has('debug') ? ` data-debug="${searchParams.get('debug')}"` : '';
        return send('html', wrongPage(this.gateway.url, this.key, searchParams.get('folder') ?? '/dist', more), csp);
      }
      if (pathname === '/record.js') return send('js', RECORD);
      // The script alone, as somebody has it who copied one file.
      if (pathname === '/alone/lakegate.js') return send('js', readFileSync(join(ROOT, 'js-client/dist/lakegate.js')));
      if (pathname === '/spa') return send('html', spaPage, csp);
      if (pathname === '/spa.js') return send('js', spaScript(this.gateway.url, this.key));
      if (pathname === '/menu.css') return send('css', CSS);
      if (pathname === '/next') return send('html', '<!doctype html><title>Next</title><p>Next');
      if (/^\/dist\/[a-z-]+\.js$/.test(pathname)) return send('js', readFileSync(join(ROOT, 'js-client', pathname)));
      response.writeHead(404).end();
    });
    await new Promise((done) => this.#server.listen(this.port, '127.0.0.1', done));
    return this;
  }

  async #front(request, response) {
    const chunks = [];
    for await (const chunk of request) chunks.push(chunk);
    const body = Buffer.concat(chunks);
    this.seen.push({ bytes: body.length, headers: request.headers, status: this.fault });
    if (this.fault === 'drop') return request.socket.destroy();
    if (this.fault === 'login') return response.writeHead(200, { 'content-type': 'text/html' }).end('<!doctype html><p>Log in');
    if (this.fault !== 'pass') return response.writeHead(this.fault, { 'retry-after': '1' }).end('{}');
    const headers = { ...request.headers, host: `localhost:${this.gateway.port}`, origin: this.origin };
    const onward = forward(
      { host: '127.0.0.1', port: this.gateway.port, path: request.url, method: request.method, headers, agent: this.#agent },
      (answer) => {
        response.writeHead(answer.statusCode, answer.headers);
        answer.pipe(response);
      },
    );
    onward.on('error', () => request.socket.destroy());
    onward.end(body);
  }

  stop() {
    this.#server.closeAllConnections();
    this.#server.close();
    this.#agent.destroy();
  }
}
