// The keys: who sends, when last, and with what success. No secret is here, and no part of one.
import { ask } from './api.js';
import { el, part, put, said, table } from './dom.js';
import { first } from './first.js';
import { ago, count, moment, whole } from './format.js';

/** @typedef {import('./types.js').Key} Key */
/** @typedef {import('./types.js').KeyRate} KeyRate */

export const title = 'Keys';
export const hint = 'Who sends, when last, and with what success. Counts are since the start of the gateway.';

const READ_MS = 2000;

/** @param {Key} key */
function state({ enabled, secrets }) {
  if (!enabled) return el('span', { class: 'badge rejected' }, 'disabled');
  if (secrets.length && secrets.every(({ expired }) => expired)) return el('span', { class: 'badge rejected' }, 'expired');
  const ends = secrets.flatMap(({ not_after, expired }) => (not_after && !expired ? [not_after] : [])).sort()[0];
  return el('span', { class: 'badge accepted' }, ends ? `good; a secret ends ${moment(ends)}` : 'good');
}

/** @type {import('./types.js').View['show']} */
export function show(root, context) {
  const note = el('p', { class: 'note' }, 'Reading …');
  const rows = table('The keys of the configuration', ['Key', 'Kind', 'State', 'Last used', '#Events a second', '#Accepted', '#Duplicate', '#Rejected', '#Retry', 'Requests refused']);
  const empty = el('div');
  root.append(note, empty, part('All keys', rows.root));

  /** @type {Key[]} */
  let keys = [];
  function draw() {
    /** @type {Map<string, KeyRate>} */
    const rates = new Map((context.report()?.keys ?? []).map((rate) => [rate.key, rate]));
    rows.fill(keys, ({ name }) => name, (key) => [
      key.name, key.kind, state(key), ago(key.secrets.map(({ last_used }) => last_used ?? '').sort().at(-1)), count(rates.get(key.name)?.events_per_second ?? 0),
      ...[key.accepted, key.duplicate, key.rejected, key.retry].map(whole), key.refused_requests.map(({ code, count }) => `${whole(count)} ${code}`).join(', ') || 'none',
    ]);
  }

  async function read() {
    try {
      const answer = await ask('/admin/keys');
      keys = answer.keys;
      const unused = keys.filter(({ secrets }) => secrets.every(({ last_used }) => !last_used)).length;
      put(note, `${keys.length}${answer.truncated ? ' and more' : ''} in force, ${unused} of them not used since the start.`);
      const isQuiet = unused === keys.length;
      if (isQuiet !== empty.hasChildNodes()) put(empty, isQuiet && first(context.settings, 'No key was used since the start of the gateway. This command uses one.'));
      draw();
    } catch (error) {
      put(note, said(error));
    }
  }

  read();
  const reading = setInterval(() => !document.hidden && read(), READ_MS);
  const end = context.reports(draw);
  return () => {
    clearInterval(reading);
    end();
  };
}
