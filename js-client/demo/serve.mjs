// `make demo`: a restaurant's menu, the gateway behind it, and a page that shows what arrives in the lake.
import { execFile, spawn } from 'node:child_process';
import { createHash, randomUUID } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs, promisify } from 'node:util';
import { come } from './guests.mjs';
import { menuPage } from './page.mjs';

const HERE = dirname(fileURLToPath(import.meta.url));
const ROOT = resolve(HERE, '../..');
const { values: options } = parseArgs({
  options: {
    port: { type: 'string', default: '8080' },
    gateway: { type: 'string', default: '8443' },
    // So many visits of guests who never were, over the last week.
    guests: { type: 'string', default: '0' },
    'data-dir': { type: 'string', default: join(ROOT, 'data') },
  },
});
const BINARY = resolve(ROOT, process.env.LAKEGATE_BIN ?? 'target/release/lakegate');
const KEY = 'demo';
const GUESTS_KEY = randomUUID();
const FILES = {
  '/': ['index.html', 'text/html'], '/stage.css': ['stage.css', 'text/css'], '/stage.js': ['stage.js', 'text/javascript'],
  '/menu.css': ['menu.css', 'text/css'], '/order.js': ['order.js', 'text/javascript'], '/lakegate.js': ['../dist/lakegate.js', 'text/javascript'],
  '/lakegate-debug.js': ['../dist/lakegate-debug.js', 'text/javascript'],
};

const folder = mkdtempSync(join(tmpdir(), 'lakegate-demo-'));
const site = createServer(serve);
const listeners = new Set();
const known = new Set();
let gateway;
let stopping = false;

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
    return send('text/html', menuPage(pathname.slice(1), { url: `http://localhost:${gateway.port}/v1/events`, key: KEY }));
  }
  if (pathname === '/events') {
    response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-cache' }).write(':\n\n');
    listeners.add(response);
    return response.on('close', () => listeners.delete(response));
  }
  if (FILES[pathname]) return send(FILES[pathname][1], readFileSync(join(HERE, FILES[pathname][0])));
  response.writeHead(404).end();
}

async function rows() {
  const today = new Date().toISOString().slice(0, 10);
  const command = ['lake', 'export', '--type', 'menu', '--from', today, '--lake', join(options['data-dir'], 'lake')];
  // Before the first event there is no lake.
  const { stdout } = await promisify(execFile)(BINARY, command, { maxBuffer: 1 << 28 }).catch(() => ({ stdout: '' }));
  return stdout.split('\n').filter(Boolean).map((line) => JSON.parse(line));
}

let busy = false;
async function look() {
  if (busy || listeners.size === 0) return;
  busy = true;
  const fresh = (await rows()).filter((row) => !known.has(row.event_uuid)).sort((a, b) => a.created_at - b.created_at);
  for (const row of fresh) known.add(row.event_uuid);
  if (fresh.length > 0) for (const response of listeners) response.write(`data: ${JSON.stringify(fresh)}\n\n`);
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
[[keys]]
name = "guests"
secret_sha256 = "${sha256(GUESTS_KEY)}"
`);
// What is there already is not news.
for (const row of await rows()) known.add(row.event_uuid);
gateway = spawn(BINARY, ['serve', '--config', config, '--plaintext', '--listen', `127.0.0.1:${options.gateway}`, '--admin', '127.0.0.1:0',
  '--schemas', join(ROOT, 'schemas'), '--data-dir', options['data-dir']], { stdio: ['ignore', 'pipe', 'pipe'] });
let said = '';
async function ready(port) {
  gateway.port = port;
  if (Number(options.guests) > 0) {
    const count = await come(Number(options.guests), { url: `http://localhost:${port}/v1/events`, key: GUESTS_KEY });
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
