// The ledger: nothing is lost, in numbers.
import { ask, query } from './api.js';
import { el, keyed, part, put, said, table } from './dom.js';
import { first } from './first.js';
import { moment, several, whole } from './format.js';

/** @typedef {import('./types.js').Ledger} Ledger */
/** @typedef {import('./types.js').Answers} Answers */

export const title = 'Ledger';
export const hint = 'What became of every event, by the minute in which it came. It holds through restarts and outages.';

const TIMES = [['15m', 'the last 15 minutes'], ['1h', 'the last hour'], ['6h', 'the last 6 hours'], ['23h', 'the last 23 hours']];
const ROWS_MAX = 60;
const READ_MS = 5000;
const ENDINGS = ['delivered', 'spooled', 'refused', 'lost', 'erased', 'skipped', 'dropped'];

/** @param {string} what @param {string} caption */
const answers = (what, caption) => table(caption, [what, '#Accepted', '#Duplicate', '#Rejected', '#Retry']);

/** @param {Answers} row */
const cells = (row) => [row.accepted, row.duplicate, row.rejected, row.retry].map(whole);

/** @template {Record<string, number>} T @param {Record<string, T>[]} parts @returns {[string, T][]} the sums by name */
function sums(parts) {
  /** @type {Map<string, Record<string, number>>} */
  const sums = new Map();
  for (const [name, row] of parts.flatMap(Object.entries)) {
    const sum = sums.get(name) ?? {};
    for (const [what, number] of Object.entries(row)) sum[what] = (sum[what] ?? 0) + number;
    sums.set(name, sum);
  }
  return /** @type {[string, T][]} */ ([...sums]);
}

/** @type {import('./types.js').View['show']} */
export function show(root, { settings }) {
  const since = el('select', { id: 'since', onchange: () => read() }, ...TIMES.map(([value, words]) => el('option', { value }, words)));
  const balance = el('p', { class: 'verdict', role: 'status' }, 'Reading …');
  const equations = el('ul', { class: 'equations' });
  const empty = el('div');
  const sinks = table('Accepted events, by where they are in each sink', ['Sink', ...ENDINGS.map((ending) => `#${ending[0]?.toUpperCase()}${ending.slice(1)}`)]);
  const [keys, names, minutes] = [answers('Key', 'Events by the key that sent them'), answers('Event name', 'Events by name'), answers('Minute (UTC)', `Events by minute, the ${ROWS_MAX} newest`)];
  root.append(el('div', { class: 'controls' }, el('label', { for: 'since' }, 'Time', since)), balance, equations, empty, part('By sink', sinks.root), part('By key', keys.root), part('By event name', names.root), part('By minute', minutes.root));

  async function read() {
    try {
      const ledger = /** @type {Ledger} */ (await ask(`/admin/ledger?${query({ since: since.value })}&by=key&by=event_name`));
      /** @param {(minute: Ledger['minutes'][number]) => number} of */
      const sum = (of) => ledger.minutes.reduce((all, minute) => all + of(minute), 0);
      const came = sum((minute) => minute.received + minute.replayed);
      const answered = sum((minute) => minute.accepted + minute.duplicate + minute.rejected + minute.retry);
      const isRight = ledger.imbalance === 0;
      balance.className = `verdict ${isRight ? 'good' : 'bad'}`;
      put(balance, isRight ? 'It balances: no event is lost' : `It does not balance: ${several(ledger.imbalance, 'event')} cannot be accounted for. This is a bug.`);
      const accepted = sum((minute) => minute.accepted);
      keyed(equations, [
        `${whole(sum((minute) => minute.received))} received + ${whole(sum((minute) => minute.replayed))} replayed = ${whole(accepted)} accepted + ${whole(sum((minute) => minute.duplicate))} duplicate + ${whole(sum((minute) => minute.rejected))} rejected + ${whole(sum((minute) => minute.retry))} to be sent again`,
        ...(came === answered ? [] : [`${several(came - answered, 'event')} of this moment have no answer yet`]),
      ], (line) => line, (line) => el('li', {}, line));
      if (!came !== empty.hasChildNodes()) put(empty, !came && first(settings, 'No event came in this time. This command sends one; its minute appears here.'));
      sinks.fill(sums(ledger.minutes.map((minute) => minute.sinks)), ([name]) => name, ([name, row]) => [name, ...ENDINGS.map((ending) => whole(row[ending] ?? 0))]);
      /** @param {Record<string, Answers>[]} parts */
      const by = (parts) => sums(parts).sort(([, one], [, other]) => other.accepted + other.rejected - one.accepted - one.rejected).slice(0, ROWS_MAX);
      keys.fill(by(ledger.minutes.map((minute) => minute.keys ?? {})), ([name]) => name, ([name, row]) => [name, ...cells(row)]);
      names.fill(by(ledger.minutes.map((minute) => minute.event_names ?? {})), ([name]) => name, ([name, row]) => [name, ...cells(row)]);
      minutes.fill(ledger.minutes.slice(-ROWS_MAX).reverse(), ({ minute }) => minute, (row) => [moment(row.minute).slice(0, 16), ...cells(row)]);
    } catch (error) {
      balance.className = 'verdict bad';
      put(balance, said(error));
    }
  }

  read();
  const reading = setInterval(() => !document.hidden && read(), READ_MS);
  return () => clearInterval(reading);
}
