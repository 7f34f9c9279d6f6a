// Bad events: those of the schemas' examples.

import { any, uuidv7 } from './events.js';

const bad = JSON.parse(open(__ENV.BAD_EVENTS));

// One of them as JSON text, and what is to be said about it. Its identity is new, all else is as its example has it.
export function badEvent() {
  const { event, code, pointer } = any(bad);
  return { text: JSON.stringify({ ...event, event_uuid: uuidv7() }), code, pointer };
}
