// Posts events, keeps the books that the gateway's are compared with, and holds every answer against what it has to be.

import { check } from 'k6';
import http from 'k6/http';
import { Counter } from 'k6/metrics';

const KEY = 'dev';
const URL = `${__ENV.GATEWAY}/v1/events`;

const counters = {
  sent: new Counter('events_sent'),
  accepted: new Counter('events_accepted'),
  duplicates: new Counter('events_duplicates'),
  rejected: new Counter('events_rejected'),
  retry: new Counter('events_retry'),
  // Events of requests without an answer that can be read.
  unanswered: new Counter('events_unanswered'),
};

// All statuses that say what became of each event; 503 and 429 are failures here.
http.setResponseCallback(http.expectedStatuses(202, 207, 422));

const array = (texts) => `[${texts.join(',')}]`;
const lines = (texts) => texts.join('\n');

// How a body is written and sent. A page can neither set a header nor ask first (preflight): plain text, the key in the address.
const PAGE = { headers: { 'Content-Type': 'text/plain;charset=UTF-8', Origin: 'https://menu.example' } };
const keyed = (type, more) => ({ headers: { 'Content-Type': type, 'X-Api-Key': KEY }, ...more });
export const FORMS = {
  page: { url: `${URL}?key=${KEY}`, body: array, params: PAGE },
  json: { url: URL, body: array, params: keyed('application/json') },
  ndjson: { url: URL, body: lines, params: keyed('application/x-ndjson') },
  jsonGzip: { url: URL, body: array, params: keyed('application/json', { compression: 'gzip' }) },
  ndjsonGzip: { url: URL, body: lines, params: keyed('application/x-ndjson', { compression: 'gzip' }) },
};
export const SERVICE_FORMS = [FORMS.json, FORMS.ndjson, FORMS.jsonGzip, FORMS.ndjsonGzip];

// Posts `texts`. `expected` has the events that are not to be accepted: by index, what `results` says of them.
export function post(texts, form, expected = {}) {
  counters.sent.add(texts.length);
  const answer = http.post(form.url, form.body(texts), { ...form.params, tags: { name: 'POST /v1/events' } });
  const said = outcomes(answer);
  if (said === null) {
    counters.unanswered.add(texts.length);
  } else {
    for (const outcome of ['accepted', 'duplicates', 'rejected', 'retry']) counters[outcome].add(said[outcome]);
  }
  const unread = `no outcomes: ${answer.error || answer.status}`;
  const wrong = said === null ? unread : mistake(answer.status, said, texts.length, expected);
  check(answer, { 'every event has the outcome it should have': () => wrong === null });
  if (wrong !== null) console.error(wrong);
}

function outcomes(answer) {
  try {
    const said = answer.json();
    return Array.isArray(said.results) ? said : null;
  } catch {
    return null;
  }
}

// What is wrong with an answer, in words; null where nothing is.
function mistake(status, said, total, expected) {
  const results = Object.fromEntries(said.results.map((result) => [result.index, result]));
  for (const index of new Set([...Object.keys(results), ...Object.keys(expected)])) {
    const [was, should] = [description(results[index]), description(expected[index])];
    if (was !== should) return `event ${index} was ${was} and should be ${should}`;
  }
  const values = Object.values(expected);
  const rejected = values.filter((one) => one.status === 'rejected').length;
  const duplicates = values.length - rejected;
  const counts = [said.accepted, said.duplicates, said.rejected, said.retry].join();
  const right = [total - values.length, duplicates, rejected, 0].join();
  if (counts !== right) return `the counts were ${counts} and should be ${right}`;
  const code = rejected === 0 ? 202 : rejected === total ? 422 : 207;
  return status === code ? null : `the status was ${status} and should be ${code}`;
}

function description(result) {
  if (result === undefined) return 'accepted';
  return result.error ? `${result.status} ${result.error.code} at "${result.error.pointer ?? ''}"` : result.status;
}
