// Explains to a developer, in the console, why an event was rejected or dropped, and what to do.
import type { Outcome } from './types.js';

/** Lines after which the console says no more: a page, or a service, that sends a thousand wrong events must stay usable. */
const TOLD_MAX = 100;

/** What to do, by the code of the error. */
const TO_DO: Record<string, string> = {
  forbidden_event: 'Add its name to allowed_events of the key.',
  unknown_event: 'Correct the name, or make its schema: lakegate schemas new NAME.',
  invalid_event_name: 'Write the name as parts of letters, digits, _ and -, separated by colons.',
  schema_violation: 'Correct the field, or change the schema of the event.',
  unknown_schema_version: 'Remove schema_version, or add this version to the registry.',
  event_too_large: 'Send less in one event.',
  queue_full: 'Too many events wait. Look for failed requests in the network tab; maxQueue is the limit.',
  too_old: 'It waited longer than maxAgeMs. Look for failed requests in the network tab.',
  too_large: 'Send less in one event, or raise maxBytes.',
  invalid: 'Its fields cannot be written as JSON: look for a cycle or a BigInt.',
  refused: 'The gateway could not read the event.',
};

/** Which mark of the page a field of a menu event comes from. */
const MARKS: Record<string, string> = {
  restaurant_id: 'data-menu-restaurant, on the element with data-menu',
  menu_id: 'data-menu',
  section_id: 'data-menu-section',
  item_id: 'data-menu-item',
  price_minor: 'data-menu-price',
  currency: 'data-menu-currency, on the element with data-menu',
  action: 'data-menu-action',
  locale: '<html lang>',
};

let told = 0;

/** Says why an event was rejected or dropped, and what to do. `what` is the event as it was sent, or its name. */
export function tell(status: Outcome['status'], error: Outcome['error'], what: string, url: string) {
  if (++told > TOLD_MAX) return;
  let event: any;
  try {
    event = JSON.parse(what);
  } catch {
    // The name of an event that never was in the queue.
    event = { event_name: what };
  }
  const { code = '', pointer, detail } = error ?? {};
  // A missing field is named by the text only: the pointer is that of the object.
  const field = pointer?.slice(1) || Object.keys(MARKS).find((name) => detail?.includes(`"${name}"`)) || '';
  const mark = /^menu:/.test(event?.event_name) && MARKS[field.split('/').at(-1)!];
  const toDo = (mark && `Correct ${mark}.`) || TO_DO[code] || '';
  // The error page of the gateway; nowhere, if the address is none.
  const base = URL.canParse(url, globalThis.location?.href) && new URL(url, globalThis.location?.href);
  const page = base ? ` ${new URL('/errors#' + code, base)}` : '';
  const last = told == TOLD_MAX ? ' (no more are told)' : '';
  console.warn(
    `lakegate: ${event?.event_name} was ${status}: ${code}${pointer ? ` at ${pointer}` : ''}${detail ? `: ${detail}` : ''}. ` +
      `${toDo}${page}${last}`,
    event,
  );
}
