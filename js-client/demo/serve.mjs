// `make demo`: a restaurant's menu, the gateway behind it, and a page that shows what arrives in the lake.
import { spawn } from 'node:child_process';
import { createHash, randomUUID } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { Arrivals } from './arrivals.mjs';
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
const KEY = 'demo';
const GUESTS_KEY = randomUUID();
const FILES = {
  '/': ['index.html', 'text/html'], '/stage.css': ['stage.css', 'text/css'], '/stage.js': ['stage.js', 'text/javascript'], '/bad.js': ['bad.js', 'text/javascript'],
  '/menu.css': ['menu.css', 'text/css'], '/order.js': ['order.js', 'text/javascript'], '/lakegate.js': ['../dist/lakegate.js', 'text/javascript'],
  '/lakegate-debug.js': ['../dist/lakegate-debug.js', 'text/javascript'],
};

const folder = mkdtempSync(join(tmpdir(), 'lakegate-demo-'));
const site = createServer(serve);
const listeners = new Set();
const arrivals = new Arrivals(BINARY, options['data-dir']);
let gateway;
let stopping = false;

const url = () => `http://localhost:${gateway.port}/v1/events`;

function stop(code) {
  if (stopping) return;
  stopping = true;
  for (const response of listeners) response.end();
  site.close();
  site.closeAllConnections();
  clearInterval(looking);
  // It delivers what it has before it ends.
  if (gateway?.exitCode === null) gateway.kill('SIGTERM');
  rmSync(folder, { recursive: true, force: true });
  process.exitCode = code;
}
process.on('SIGINT', () => stop(0));
process.on('SIGTERM', () => stop(0));

function serve(request, response) {
  const { pathname } = new URL(request.url, 'http://localhost');
  const send = (type, text) => response.writeHead(200, { 'content-type': `${type}; charset=utf-8`, 'cache-control': 'no-cache' }).end(text);
  if (pathname === '/pt' || pathname === '/en') {
    return send('text/html', menuPage(pathname.slice(1), { url: url(), key: KEY }));
  }
  if (pathname === '/events') {
    response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-cache' });
    response.write(`event: gateway\ndata: ${JSON.stringify({ url: url(), key: KEY })}\n\n`);
    tell([response], arrivals.recent);
    listeners.add(response);
    return response.on('close', () => listeners.delete(response));
  }
  if (FILES[pathname]) return send(FILES[pathname][1], readFileSync(join(HERE, FILES[pathname][0])));
  response.writeHead(404).end();
}

function tell(pages, found) {
  if (found.length > 0) for (const response of pages) response.write(`data: ${JSON.stringify(found)}\n\n`);
}

let busy = false;
async function look() {
  if (busy || listeners.size === 0) return;
  busy = true;
  const found = await arrivals.fresh();
  // Who came while it looked is told too; who comes from now on gets it with what is recent.
  tell(listeners, found);
  busy = false;
}

await new Promise((done, fail) => site.once('error', fail).listen(Number(options.port), '127.0.0.1', done)).catch((error) => {
  console.error(`cannot listen: ${error.message}; PORT=… names another port`);
  process.exit(1);
});
const port = site.address().port;
const sha256 = (secret) => createHash('sha256').update(secret).digest('hex');
const config = join(folder, `${randomUUID()}.toml`);
writeFileSync(config, `[lake]
flush_age_ms = 400
[[keys]]
name = "demo"
kind = "browser"
secret_sha256 = "${sha256(KEY)}"
allowed_origins = ["http://localhost:${port}"]
allowed_events = ["menu:*", "client:*"]
# As with make run, for who wants to send events of their own.
[[keys]]
name = "dev"
secret_sha256 = "${sha256('dev')}"
[[keys]]
name = "guests"
secret_sha256 = "${sha256(GUESTS_KEY)}"
`);
await arrivals.begin();
gateway = spawn(BINARY, ['serve', '--config', config, '--plaintext', '--listen', `127.0.0.1:${options.gateway}`, '--admin', '127.0.0.1:0',
  '--schemas', join(ROOT, 'schemas'), '--data-dir', options['data-dir']], { stdio: ['ignore', 'pipe', 'pipe'] });
let said = '';
async function ready(port) {
  gateway.port = port;
  if (Number(options.guests) > 0) {
    const count = await come(Number(options.guests), { url: url(), key: GUESTS_KEY });
    console.log(`${options.guests} guests came: ${count} events`);
  }
  console.log(`The menu and what arrives: http://localhost:${site.address().port}   (Ctrl-C ends it)`);
}
for (const stream of [gateway.stdout, gateway.stderr]) {
  stream.on('data', (data) => {
    said += data;
    const found = /events: POST http:\/\/127\.0\.0\.1:(\d+)/.exec(said);
    if (found && /ready/.test(said) && !gateway.port) ready(Number(found[1])).catch((error) => (console.error(error.message), stop(1)));
  });
}
gateway.once('exit', (code) => {
  if (!stopping) console.error(`the gateway ended:\n${said}`);
  stop(stopping ? 0 : (code ?? 1));
});
const looking = setInterval(look, 500);
