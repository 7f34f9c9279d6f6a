// The gateways of the fleet, side by side. This gateway asks the others.
import { ask, every } from './api.js';
import { badge, h, part, put, table } from './dom.js';
import { count, several, time } from './format.js';

export const title = 'Fleet';
export const hint = 'Several gateways side by side, and their sum.';

const READ_MS = 1000;
const STATES = { ready: ['accepted', 'ready'], not_ready: ['rejected', 'not ready'], away: ['rejected', 'does not answer'] };

/** @type {import('./main.js').View['show']} */
export function show(root, { settings }) {
  const [verdict, lead, reasons] = [h('p.verdict', { role: 'status' }, 'Asking …'), h('p.lead', '\u00a0'), h('ul.conditions')];
  const rows = table('The gateways', ['Gateway', 'State', '#Received a second', '#Waiting', '#Oldest', 'Up for', 'Version']);
  root.append(verdict, lead, reasons, part('Gateways', rows.root));
  if (!settings.fleet) root.append(part('Only this gateway is known', h('p', 'Name the others by the addresses of their listeners for operators. This gateway asks them, and nobody else:'), h('pre', h('code', '[admin]\nfleet = ["http://10.0.0.7:9090", "http://10.0.0.8:9090"]'))));

  async function read() {
    try {
      const { ready, gateways, events, spool, conditions } = await ask('/admin/fleet');
      const good = gateways.filter(({ state }) => state === 'ready').length;
      verdict.className = `verdict ${ready ? 'good' : 'bad'}`;
      put(verdict, `${good < gateways.length ? `${good} of ` : ''}${several(gateways.length, 'gateway')} ready`);
      put(lead, `Together ${count(events.received_per_second)} events a second; ${count(spool.lag_events)} wait to be delivered.`);
      put(reasons, conditions.map(({ gateway, code, blocks, detail }) => h(blocks ? 'li.bad' : 'li.warn', h('strong', `${gateway}: `), h('code', code), `: ${detail}`)),
        gateways.filter(({ error }) => error).map(({ address, error }) => h('li.bad', h('strong', `${address}: `), error)));
      rows.fill(gateways, ({ address }) => address, (gateway) => [gateway.address, badge(...STATES[gateway.state]), count(gateway.received_events_per_second), count(gateway.lag_events), time(gateway.lag_seconds), time(gateway.uptime_seconds), gateway.version]);
    } catch (error) {
      verdict.className = 'verdict bad';
      put(verdict, error.message);
    }
  }
  return every(READ_MS, read);
}
