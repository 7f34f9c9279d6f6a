// What the gateway does at the moment, and whether all is well.
import { badge, codeLink, h, keyed, pairs, part, put, spark, table } from './dom.js';
import { first } from './first.js';
import { bytes, count, several, time } from './format.js';

export const title = 'Overview';
export const hint = 'What the gateway does at this moment.';

const FIGURES = Object.entries({ received: 'Received', accepted: 'Accepted', duplicate: 'Duplicates', rejected: 'Rejected', retry: 'Send again', delivered: 'Delivered' });
const STAGES = Object.entries({ request: 'Answer a request', validate: 'Validate its events', append: 'Store them durably', sync: 'Sync the disk', delivery: 'Deliver a batch' });
const REJECTED_MANY = 0.05;
const HISTORY = 120;

/** Whether all is well, in a sentence. */
function verdict({ ready, conditions, events }) {
  const share = events.rejected_per_second / events.received_per_second;
  if (!ready) return ['Events are not taken', 'bad'];
  if (conditions.length) return [`Events are taken, with ${several(conditions.length, 'warning')}`, 'warn'];
  if (share > REJECTED_MANY) return [`Events are taken, but ${(share * 100).toFixed(0)} % are rejected`, 'warn'];
  return ['All is well', 'good'];
}

/** @type {import('./main.js').View['show']} */
export function show(root, { settings, report, history, readers }) {
  const [judged, lead, conditions, space, none, quiet] = [h('p.verdict', 'Asking …'), h('p.lead', '\u00a0'), h('ul.conditions'), h('div'), h('p.soft'), h('div')];
  const values = FIGURES.map(() => h('b', '–'));
  const figures = h('dl.figures', FIGURES.map(([name, words], at) => h(`div.${name}`, h('dt', name === 'rejected' ? h('a', { href: '#/rejections' }, words) : words), h('dd', values[at], ' a second'))));
  const [chart, peak] = [spark(), h('p.soft', '\u00a0')];
  const latency = table('The time of each step, at most', ['Step', '#Half', '#9 of 10', '#99 of 100']);
  const sinks = table('Where events are delivered to', ['Sink', 'State', '#Delivered a second', '#Waiting', '#Oldest', '#Tries again a second']);
  const reasons = table('Events and requests that were not taken', ['Code', 'What', '#A second']);
  root.append(judged, lead, conditions, figures, quiet, part('Events received, the last two minutes', chart.svg, peak),
    h('div.columns', part('Latency', latency.root), part('Space', space)), part('Delivery', sinks.root), part('Not taken', none, reasons.root));

  function read(report) {
    const [words, kind] = report ? verdict(report) : ['The gateway does not answer', 'bad'];
    judged.className = `verdict ${kind}`;
    put(judged, words);
    if (!report) return put(lead, 'It is asked again each second.');
    const { events, spool, process } = report;
    put(lead, `${count(events.received_per_second)} events a second come in, and ${spool.lag_events ? `${count(spool.lag_events)} wait to be delivered, the oldest for ${time(spool.oldest_seconds)}` : 'none waits to be delivered'}.`);
    keyed(conditions, report.conditions, ({ code, place }) => `${code} ${place}`, () => h('li'), (item, { code, place, detail, blocks }) => {
      item.className = blocks ? 'bad' : 'warn';
      put(item, h('strong', blocks ? 'Blocks: ' : 'Warning: '), codeLink(code), place && ` (${place})`, `: ${detail}`);
    });
    FIGURES.forEach(([name], at) => put(values[at], count(events[`${name}_per_second`])));
    figures.classList.toggle('rejects', events.rejected_per_second > 0);
    chart.draw(history, HISTORY);
    const most = Math.max(0, ...history);
    put(peak, most ? `At most ${count(most)} a second.` : 'None came.');
    const isQuiet = !most && history.length > 1;
    if (isQuiet !== quiet.hasChildNodes()) put(quiet, isQuiet && first(settings, 'None has come since this page was opened. This command sends one: it is in the live view at once, and in the lake within a minute.'));
    latency.fill(STAGES, ([name]) => name, ([name, words]) => [words, ...['p50', 'p90', 'p99'].map((quantile) => time(report.latency[name][`${quantile}_seconds`]))]);
    put(space, h('meter', { max: 1, low: 0.5, high: 0.8, optimum: 0, value: (spool.bytes / spool.quota_bytes).toFixed(3), 'aria-label': 'How full the spool is' }), pairs([
      ['Spool', `${bytes(spool.bytes)} of ${bytes(spool.quota_bytes)}`],
      ['Full without delivery', spool.headroom_seconds === null ? 'not at this rate' : `in ${time(spool.headroom_seconds)}`],
      ['Left on the disk', bytes(spool.disk_left_bytes)], ['Dead letters', bytes(spool.dead_letters_bytes)], ['Memory', bytes(process.resident_memory_bytes)],
    ]));
    sinks.fill(report.sinks, ({ sink }) => sink, (sink) => [sink.sink, sink.up ? badge('accepted', 'up') : badge('rejected', 'does not answer'), count(sink.delivered_events_per_second), count(sink.lag_events), time(sink.lag_seconds), count(sink.retries_per_second)]);
    const codes = [['rejected', report.rejections], ['to be sent again', report.retries], ['request refused', report.refusals]].flatMap(([what, rates]) => rates.map((rate) => ({ ...rate, what })));
    put(none, !codes.length && 'At the moment all is taken.');
    reasons.root.hidden = !codes.length;
    reasons.fill(codes, ({ code, what }) => code + what, ({ code, what, per_second }) => [codeLink(code), what, count(per_second)]);
  }
  if (report) read(report);
  readers.add(read);
  return () => readers.delete(read);
}
