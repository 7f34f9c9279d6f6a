// What the gateway does at the moment, and whether all is well.
import { codeLink, el, keyed, pairs, part, put, spark, table, write } from './dom.js';
import { first } from './first.js';
import { UNKNOWN, bytes, count, several, time } from './format.js';

/** @typedef {import('./types.js').Report} Report */

export const title = 'Overview';
export const hint = 'What the gateway does at this moment.';

/** Names of figures, and where a reader finds more. @type {[string, string, string?][]} */
const FIGURES = [
  ['Received', 'received'], ['Accepted', 'accepted'], ['Duplicates', 'duplicate'], ['Rejected', 'rejected', '#/rejections'], ['To be sent again', 'retry'], ['Delivered', 'delivered'],
];
/** @type {[string, string][]} */
const STAGES = [
  ['request', 'Answer a request'], ['validate', 'Validate its events'], ['append', 'Store them durably'], ['sync', 'Sync the disk'], ['delivery', 'Deliver a batch'],
];
const REJECTED_MANY = 0.05;
const HISTORY = 120;

/** Whether all is well, in a sentence. @param {Report} report @returns {[string, string]} */
function verdict({ ready, conditions, events }) {
  const share = (events.rejected_per_second ?? 0) / (events.received_per_second || 1);
  if (!ready) return ['Events are not taken', 'bad'];
  if (conditions.length) return [`Events are taken, with ${several(conditions.length, 'warning')}`, 'warn'];
  if (share > REJECTED_MANY) return [`Events are taken, but ${(share * 100).toFixed(0)} % are rejected`, 'warn'];
  return ['All is well', 'good'];
}

/** @type {import('./types.js').View['show']} */
export function show(root, context) {
  const { history, settings } = context;
  const [judged, lead] = [el('p', { class: 'verdict' }, 'Asking …'), el('p', { class: 'lead' }, '\u00a0')];
  const conditions = el('ul', { class: 'conditions' });
  const values = new Map(FIGURES.map(([, name]) => [name, el('b', {}, UNKNOWN)]));
  const figures = el('dl', { class: 'figures' }, ...FIGURES.map(([words, name, link]) =>
    el('div', { class: name }, el('dt', {}, link ? el('a', { href: link }, words) : words), el('dd', {}, values.get(name), ' a second'))));
  const chart = spark();
  const peak = el('p', { class: 'soft' }, '\u00a0');
  const latency = table('How long each step takes, at most, for half, nine tenths and 99 of 100', ['Step', '#Half', '#9 of 10', '#99 of 100']);
  const space = el('div');
  const sinks = table('Where events are delivered to', ['Sink', 'State', '#Delivered a second', '#Waiting', '#Oldest', '#Tries again a second']);
  const reasons = table('Events and requests that were not taken', ['Code', 'What', '#A second']);
  const none = el('p', { class: 'soft' });
  const quiet = el('div');
  put(root, judged, lead, conditions, figures, part('Events received, the last two minutes', chart.svg, peak), quiet,
    el('div', { class: 'columns' }, part('Latency', latency.root), part('Space', space)), part('Delivery', sinks.root), part('Not taken', none, reasons.root));

  return context.reports((report) => {
    if (!report) {
      judged.className = 'verdict bad';
      write(judged, 'The gateway does not answer');
      write(lead, 'It is asked again each second. What is below is what it said last.');
      return;
    }
    const { events, spool } = report;
    const [words, kind] = verdict(report);
    judged.className = `verdict ${kind}`;
    write(judged, words);
    const waiting = spool.lag_events ? `${count(spool.lag_events)} wait to be delivered, the oldest for ${time(spool.oldest_seconds)}` : 'none waits to be delivered';
    write(lead, `${count(events.received_per_second)} events a second come in, and ${waiting}.`);
    keyed(conditions, report.conditions, ({ code, place }) => `${code} ${place}`, () => el('li'), (item, { code, place, detail, blocks }) => {
      item.className = blocks ? 'bad' : 'warn';
      put(item, el('strong', {}, blocks ? 'Blocks: ' : 'Warning: '), codeLink(code), place && ` (${place})`, `: ${detail}`);
    });
    for (const [name, value] of values) write(value, count(events[`${name}_per_second`]));
    figures.classList.toggle('rejects', (events.rejected_per_second ?? 0) > 0);
    chart.draw(history, HISTORY);
    const most = Math.max(0, ...history.map((rate) => rate ?? 0));
    write(peak, most ? `At most ${count(most)} a second.` : 'None came.');
    const isQuiet = !most && history.length > 1;
    if (isQuiet !== quiet.hasChildNodes()) put(quiet, isQuiet && first(settings, 'No event has come since this page was opened. This command sends one; it is on the live view at once, and in the lake within a minute.'));
    latency.fill(STAGES, ([name]) => name, ([name, words]) => [words, ...['p50', 'p90', 'p99'].map((quantile) => time(report.latency[name]?.[`${quantile}_seconds`]))]);
    const share = (spool.bytes ?? 0) / (spool.quota_bytes || 1);
    put(space, el('meter', { min: 0, max: 1, high: 0.8, low: 0.5, optimum: 0, value: share.toFixed(3), 'aria-label': 'How full the spool is' }), pairs([
      ['Spool', `${bytes(spool.bytes)} of ${bytes(spool.quota_bytes)}`],
      ['Full, if nothing is delivered', spool.headroom_seconds === null ? 'not at this rate' : `in ${time(spool.headroom_seconds)}`],
      ['Left on the disk', bytes(spool.disk_left_bytes)],
      ['Dead letters', bytes(spool.dead_letters_bytes)],
      ['Memory, connections', `${bytes(report.process.resident_memory_bytes)}, ${count(report.process.connections)}`],
    ]));
    sinks.fill(report.sinks, ({ sink }) => sink, (sink) => [
      sink.sink, el('span', { class: `badge ${sink.up ? 'accepted' : 'rejected'}` }, sink.up ? 'up' : 'does not answer'), count(sink.delivered_events_per_second), count(sink.lag_events),
      time(sink.lag_seconds), count(sink.retries_per_second),
    ]);
    const codes = [['rejected', report.rejections], ['to be sent again', report.retries], ['request refused', report.refusals]].flatMap(([what, rates]) =>
      /** @type {import('./types.js').CodeRate[]} */ (rates).map((rate) => ({ ...rate, what: String(what) })));
    write(none, codes.length ? '' : 'At the moment all is taken.');
    reasons.root.hidden = !codes.length;
    reasons.fill(codes, ({ code, what }) => `${code} ${what}`, ({ code, what, per_second }) => [codeLink(code), what, count(per_second)]);
  });
}
