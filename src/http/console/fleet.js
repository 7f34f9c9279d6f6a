// The gateways of the fleet, side by side. This gateway asks the others.
import { ask } from './api.js';
import { el, part, put, said, table, write } from './dom.js';
import { count, several, time } from './format.js';

/** @typedef {import('./types.js').Report} Report */

export const title = 'Fleet';
export const hint = 'Several gateways side by side, and their sum.';

const READ_MS = 1000;
/** @type {Record<string, [string, string]>} */
const STATES = { ready: ['accepted', 'ready'], not_ready: ['rejected', 'not ready'], away: ['rejected', 'does not answer'] };

/** @type {import('./types.js').View['show']} */
export function show(root, { settings }) {
  const verdict = el('p', { class: 'verdict', role: 'status' }, 'Asking …');
  const lead = el('p', { class: 'lead' });
  const rows = table('The gateways', ['Gateway', 'State', '#Received a second', '#Waiting', '#Oldest', 'Up for', 'Version']);
  const reasons = el('ul', { class: 'conditions' });
  const teach = settings.fleet ? null : el('section', { class: 'card first' }, el('h2', {}, 'Only this gateway is known'), el('p', {}, 'Name the others in the configuration, by the addresses of their listeners for operators. This gateway asks them, and nobody else:'),
    el('pre', {}, el('code', {}, '[admin]\nfleet = ["http://10.0.0.7:9090", "http://10.0.0.8:9090"]')));
  root.append(verdict, lead, reasons, part('Gateways', rows.root), ...(teach ? [teach] : []));
  let isGone = false;

  async function read() {
    if (!document.hidden) {
      try {
        const report = /** @type {Report} */ (await ask('/admin/fleet'));
        if (isGone) return;
        const good = report.gateways.filter(({ state }) => state === 'ready').length;
        verdict.className = `verdict ${report.ready ? 'good' : 'bad'}`;
        write(verdict, report.ready ? `${several(good, 'gateway')} ready` : `${good} of ${report.gateways.length} gateways ready`);
        write(lead, `Together ${count(report.events.received_per_second)} events a second; ${count(report.spool.lag_events)} wait to be delivered.`);
        put(reasons, ...report.conditions.map(({ gateway, code, blocks, detail }) => el('li', { class: blocks ? 'bad' : 'warn' }, el('strong', {}, `${gateway}: `), el('code', {}, code), `: ${detail}`)),
          ...report.gateways.filter(({ error }) => error).map(({ address, error }) => el('li', { class: 'bad' }, el('strong', {}, `${address}: `), error)));
        rows.fill(report.gateways, ({ address }) => address, ({ address, state, received_events_per_second, lag_events, lag_seconds, uptime_seconds, version }) => [
          address, el('span', { class: `badge ${STATES[state]?.[0]}` }, STATES[state]?.[1] ?? state), count(received_events_per_second), count(lag_events), time(lag_seconds), time(uptime_seconds), version ?? '',
        ]);
      } catch (error) {
        verdict.className = 'verdict bad';
        write(verdict, said(error));
      }
    }
    if (!isGone) setTimeout(read, READ_MS);
  }
  read();
  return () => void (isGone = true);
}
