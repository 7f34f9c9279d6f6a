// `make demo`: a restaurant's menu, and beside it the console of `lakegate dev`, to which its events go.
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { dirname, join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { come } from './guests.mjs';
import { menuPage } from './page.mjs';

const HERE = dirname(fileURLToPath(import.meta.url));
const ROOT = resolve(HERE, '../..');
const { values: options } = parseArgs({
  options: {
    port: { type: 'string', default: '8080' },
    gateway: { type: 'string', default: '8443' },
    // So many visits of guests who never were, over the last five weeks.
    guests: { type: 'string', default: '0' },
    'data-dir': { type: 'string', default: join(ROOT, 'data') },
  },
});
const BINARY = resolve(ROOT, process.env.LAKEGATE_BIN ?? 'target/release/lakegate');
// The keys of every rig, for pages and for programs.
const [PAGE_KEY, KEY] = ['dev-browser', 'dev'];
const FILES = {
  '/stage.css': ['stage.css', 'text/css'], '/bad.js': ['bad.js', 'text/javascript'], '/menu.css': ['menu.css', 'text/css'],
  '/order.js': ['order.js', 'text/javascript'], '/lakegate.js': ['../dist/lakegate.js', 'text/javascript'],
  '/lakegate-debug.js': ['../dist/lakegate-debug.js', 'text/javascript'],
};

/** Where events go and where the console is, once the rig says so. */
const rig = { url: '', console: '' };
let gateway;
let isStopping = false;

function stop(code) {
  if (isStopping) return;
  isStopping = true;
  site.close();
  site.closeAllConnections();
  // It delivers what it has before it ends.
  if (gateway?.exitCode === null) gateway.kill('SIGTERM');
  process.exitCode = code;
}
process.on('SIGINT', () => stop(0));
process.on('SIGTERM', () => stop(0));

const file = (name) => readFileSync(join(HERE, name));

const site = createServer((request, response) => {
  const { pathname } = new URL(request.url, 'http://localhost');
  const send = (type, text) => response.writeHead(200, { 'content-type': `${type}; charset=utf-8`, 'cache-control': 'no-cache' }).end(text);
  if (pathname === '/pt' || pathname === '/en') return send('text/html', menuPage(pathname.slice(1), { url: rig.url, key: PAGE_KEY }));
  if (pathname === '/') {
    const page = file('index.html').toString().replaceAll('CONSOLE', rig.console).replace('EVENTS', rig.url).replace('KEY', PAGE_KEY);
    return send('text/html', page);
  }
  if (FILES[pathname]) return send(FILES[pathname][1], file(FILES[pathname][0]));
  response.writeHead(404).end();
});
await new Promise((done, fail) => site.once('error', fail).listen(Number(options.port), '127.0.0.1', done)).catch((error) => {
  console.error(`cannot listen: ${error.message}; PORT=… names another port`);
  process.exit(1);
});

async function begin() {
  if (Number(options.guests) > 0) {
    const count = await come(Number(options.guests), { url: rig.url, key: KEY });
    console.log(`${options.guests} guests came: ${count} events`);
  }
  console.log(`The menu and what arrives: http://localhost:${site.address().port}   (Ctrl-C ends it)`);
}

gateway = spawn(BINARY, ['dev', '--no-open', '--listen', `127.0.0.1:${options.gateway}`, '--admin', '127.0.0.1:0',
  '--schemas', join(ROOT, 'schemas'), '--data-dir', options['data-dir']], { stdio: ['ignore', 'pipe', 'inherit'] });
createInterface({ input: gateway.stdout }).on('line', (line) => {
  // Also each rejection, later on.
  console.log(line);
  const said = /^(?:events|console) +(http:\/\/\S+)/.exec(line);
  if (said) rig[line.startsWith('events') ? 'url' : 'console'] = said[1];
  if (line === 'ready') begin().catch((error) => (console.error(error.message), stop(1)));
});
gateway.once('error', (error) => (console.error(`cannot start ${BINARY}: ${error.message}`), stop(1)));
gateway.once('exit', (code) => {
  if (!isStopping) console.error('the gateway ended');
  stop(isStopping ? 0 : (code ?? 1));
});
