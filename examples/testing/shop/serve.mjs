// The menu at http://localhost:5173/ (PORT). Its events go to LAKEGATE_URL.
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { pathToFileURL } from 'node:url';

const LIBRARY = new URL('../../../js-client/dist/lakegate.js', import.meta.url);

/** Serves the menu at a port, 0 for one that is free. Returns the server. */
export async function serve(port) {
  const events = process.env.LAKEGATE_URL ?? 'http://localhost:8080/v1/events';
  const files = {
    '/': ['text/html; charset=utf-8', () => readFileSync(new URL('menu.html', import.meta.url), 'utf8').replace('http://localhost:8080/v1/events', events)],
    '/lakegate.js': ['text/javascript; charset=utf-8', () => readFileSync(LIBRARY)],
  };
  const server = createServer(({ url }, response) => {
    const [type, body] = files[url] ?? [];
    response.writeHead(type ? 200 : 404, { 'content-type': type ?? 'text/plain' }).end(body?.());
  });
  await new Promise((done, fail) => server.once('error', fail).listen(port, '127.0.0.1', done));
  return server;
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) void serve(Number(process.env.PORT ?? 5173));
