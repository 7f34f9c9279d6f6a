// The library of js-client/, as a service uses it. It names events itself, so the UUIDs on standard input do not count.
import { text } from 'node:stream/consumers';
import { createClient } from '../../../js-client/dist/node.js';

const { LAKEGATE_URL, LAKEGATE_KEY } = process.env;
const client = createClient({
  url: LAKEGATE_URL,
  key: LAKEGATE_KEY,
  flushMs: 1,
  on: ({ event_uuid, status, error }) => {
    if (status === 'rejected') console.error(`rejected: ${error.code} ${error.pointer} ${event_uuid}`);
    if (status === 'dropped') process.exitCode = 1;
  },
});
for (const line of (await text(process.stdin)).trim().split('\n')) {
  const { event_name, event_uuid, created_at, ...fields } = JSON.parse(line);
  client.track(event_name, fields);
}
if ((await client.close({ timeoutMs: 60_000 })) > 0) process.exitCode = 1;
