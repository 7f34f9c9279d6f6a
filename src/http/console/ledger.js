// The ledger: nothing is lost, in numbers.
import { ask, every } from './api.js';
import { field, h, part, put, table } from './dom.js';
import { first } from './first.js';
import { moment, several, whole } from './format.js';

export const title = 'Ledger';
export const hint = 'What became of every event, by the minute in which it came.';

const TIMES = { '15m': 'the last 15 minutes', '1h': 'the last hour', '6h': 'the last 6 hours', '23h': 'the last 23 hours' };
const ANSWERS = ['accepted', 'duplicate', 'rejected', 'retry'];
const ENDINGS = ['delivered', 'spooled', 'refused', 'lost', 'erased', 'skipped', 'dropped'];
const ROWS_MAX = 60;
const READ_MS = 5000;

/** The sums of numbers by name. @returns {[string, any][]} */
function sums(parts) {
  const sums = new Map();
  for (const [name, row] of parts.flatMap((part) => Object.entries(part ?? {}))) {
    const sum = sums.get(name) ?? {};
    for (const [what, number] of Object.entries(row)) sum[what] = (sum[what] ?? 0) + number;
    sums.set(name, sum);
  }
  return [...sums].sort(([, one], [, other]) => (other.accepted ?? 0) - (one.accepted ?? 0)).slice(0, ROWS_MAX);
}

/** A table of names with numbers. */
function numbers(head, columns, caption) {
  const { root, fill } = table(caption, [head, ...columns.map((name) => `#${name}`)]);
  return { root, fill: (rows) => fill(rows, ([name]) => name, ([name, row]) => [name, ...columns.map((column) => whole(row[column] ?? 0))]) };
}

/** @type {import('./main.js').View['show']} */
export function show(root, { settings }) {
  const since = h('select', { id: 'since', change: () => read() }, Object.entries(TIMES).map(([value, words]) => h('option', { value }, words)));
  const [balance, equation, empty] = [h('p.verdict', { role: 'status' }, 'Reading …'), h('p.lead'), h('div')];
  const sinks = numbers('Sink', ENDINGS, 'Accepted events, by where they are in each sink');
  const [keys, names, minutes] = [['Key', 'Events by the key that sent them'], ['Event name', 'Events by name'], ['Minute (UTC)', `Events by minute, the newest ${ROWS_MAX}`]].map(([head, caption]) => numbers(head, ANSWERS, caption));
  root.append(h('div.controls', field('Time', since)), balance, equation, empty, part('By sink', sinks.root), part('By key', keys.root), part('By event name', names.root), part('By minute', minutes.root));

  async function read() {
    try {
      const { imbalance, minutes: rows } = await ask(`/admin/ledger?since=${since.value}&by=key&by=event_name`);
      const sum = (what) => rows.reduce((all, minute) => all + minute[what], 0);
      const came = sum('received') + sum('replayed');
      const open = came - ANSWERS.reduce((all, what) => all + sum(what), 0);
      balance.className = `verdict ${imbalance ? 'bad' : 'good'}`;
      put(balance, imbalance ? `${several(imbalance, 'event')} cannot be accounted for: this is a bug` : 'It balances: no event is lost');
      put(equation, `${whole(sum('received'))} received + ${whole(sum('replayed'))} replayed = ${ANSWERS.map((what) => `${whole(sum(what))} ${what}`).join(' + ')}${open ? ` + ${whole(open)} of this moment without an answer` : ''}`);
      if (!came !== empty.hasChildNodes()) put(empty, !came && first(settings, 'No event came in this time. This command sends one; its minute appears here.'));
      sinks.fill(sums(rows.map((row) => row.sinks)));
      keys.fill(sums(rows.map((row) => row.keys)));
      names.fill(sums(rows.map((row) => row.event_names)));
      minutes.fill(rows.slice(-ROWS_MAX).reverse().map((row) => [moment(row.minute).slice(0, 16), row]));
    } catch (error) {
      balance.className = 'verdict bad';
      put(balance, error.message);
    }
  }
  return every(READ_MS, read);
}
