// A server that answers what a test wants, for answers that a healthy gateway does not give.
import { createServer } from 'node:http';
import { gunzipSync } from 'node:zlib';

/** `answer(request, index)` gives `{ status, headers, body }`, or undefined to break the connection. */
export async function faults(answer) {
  const requests = [];
  const sockets = new Set();
  const server = createServer(async (request, response) => {
    const chunks = [];
    for await (const chunk of request) chunks.push(chunk);
    const raw = Buffer.concat(chunks);
    const text = (raw[0] === 0x1f ? gunzipSync(raw) : raw).toString();
    const seen = { at: Date.now(), path: request.url, headers: request.headers, gzip: raw[0] === 0x1f, bytes: raw.length, lines: text.split('\n') };
    requests.push(seen);
    const { status, headers, body, wait } = (await answer(seen, requests.length - 1)) ?? {};
    if (wait) await wait;
    if (!status) return request.socket.destroy();
    response.writeHead(status, headers).end(typeof body === 'string' ? body : JSON.stringify(body));
  });
  server.on('connection', (socket) => sockets.add(socket) && socket.on('close', () => sockets.delete(socket)));
  let connections = 0;
  server.on('connection', () => connections++);
  await new Promise((done) => server.listen(0, '127.0.0.1', done));
  return {
    requests,
    url: `http://127.0.0.1:${server.address().port}/v1/events`,
    connections: () => connections,
    close() {
      for (const socket of sockets) socket.destroy();
      server.close();
    },
  };
}

/** The answer of a gateway that accepts all, but for `results`. */
export const accepted = (lines, results = []) => ({
  status: results.length ? 207 : 202,
  body: { accepted: lines.length - results.length, duplicates: 0, rejected: 0, retry: 0, results },
});
