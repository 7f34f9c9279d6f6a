// Events to send: the templates that run.py took from the schemas' examples, each time under an identity of its own.

// `name`, and `rest`: the event as text from behind the fields that differ each time, written once so that k6 need not.
const templates = JSON.parse(open(__ENV.GOOD_EVENTS));

// Real traffic knows few names well and most names little: the one of rank r is there 1/r as often as the first.
const mixed = deck(templates);
const menu = deck(templates.filter(({ name }) => name.startsWith('menu:')));

function deck(templates) {
  return templates.flatMap((template, rank) => Array(Math.ceil(templates.length / (rank + 1))).fill(template));
}

export function any(list) {
  return list[Math.floor(Math.random() * list.length)];
}

function hex(bits) {
  return Math.floor(Math.random() * 2 ** bits).toString(16).padStart(bits / 4, '0');
}

// RFC 9562, version 7. 74 random bits: no run is long enough to make one twice.
export function uuidv7(now = Date.now()) {
  const time = now.toString(16).padStart(12, '0');
  return `${time.slice(0, 8)}-${time.slice(8)}-7${hex(12)}-${any('89ab')}${hex(12)}-${hex(48)}`;
}

function some(from, count) {
  const now = Date.now();
  return Array.from({ length: count }, () => `{"event_uuid":"${uuidv7(now)}","created_at":${now / 1000},${any(from).rest}`);
}

// `count` good events as JSON texts: of all names, or of those that a menu page sends.
export const events = (count) => some(mixed, count);
export const menuEvents = (count) => some(menu, count);
