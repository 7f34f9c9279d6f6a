// Node's fetch, with the check that most programs make.
import { text } from 'node:stream/consumers';

const { LAKEGATE_URL, LAKEGATE_KEY } = process.env;
try {
  const headers = { 'x-api-key': LAKEGATE_KEY, 'content-type': 'application/x-ndjson' };
  const response = await fetch(LAKEGATE_URL, { method: 'POST', headers, body: await text(process.stdin) });
  process.exit(response.ok ? 0 : 1);
} catch {
  process.exit(1);
}
