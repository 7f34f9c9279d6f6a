// The keys: who sends, when last, and with what success. No secret is here, and no part of one.
import { ask, every } from './api.js';
import { badge, h, part, put, table } from './dom.js';
import { first } from './first.js';
import { ago, count, moment, whole } from './format.js';

export const title = 'Keys';
export const hint = 'Who sends, when last, and with what success. Counts are since the start of the gateway.';

const READ_MS = 2000;

function state({ enabled, secrets }) {
  if (!enabled) return badge('rejected', 'disabled');
  if (secrets.length && secrets.every(({ expired }) => expired)) return badge('rejected', 'expired');
  const [end] = secrets.flatMap(({ not_after, expired }) => (not_after && !expired ? not_after : [])).sort();
  return badge('accepted', end ? `good; a secret ends ${moment(end)}` : 'good');
}

/** @type {import('./main.js').View['show']} */
export function show(root, context) {
  const [note, empty] = [h('p.note', 'Reading …'), h('div')];
  const rows = table('The keys of the configuration', ['Key', 'Kind', 'State', 'Last used', '#Events a second', '#Accepted', '#Duplicate', '#Rejected', '#Retry', 'Requests refused']);
  root.append(note, empty, part('All keys', rows.root));

  async function read() {
    try {
      const { keys, truncated } = await ask('/admin/keys');
      const unused = keys.filter(({ secrets }) => secrets.every(({ last_used }) => !last_used)).length;
      put(note, `${keys.length}${truncated ? ' and more' : ''} in force, ${unused} of them not used since the start.`);
      const isQuiet = unused === keys.length;
      if (isQuiet !== empty.hasChildNodes()) put(empty, isQuiet && first(context.settings, 'No key was used since the start of the gateway. This command uses one.'));
      const rates = new Map(context.report?.keys.map((rate) => [rate.key, rate.events_per_second]));
      rows.fill(keys, ({ name }) => name, (key) => [
        key.name, key.kind, state(key), ago(key.secrets.map(({ last_used }) => last_used ?? '').sort().at(-1)), count(rates.get(key.name) ?? 0),
        ...['accepted', 'duplicate', 'rejected', 'retry'].map((what) => whole(key[what])), key.refused_requests.map(({ code, count }) => `${whole(count)} ${code}`).join(', ') || 'none',
      ]);
    } catch (error) {
      put(note, error.message);
    }
  }
  return every(READ_MS, read);
}
