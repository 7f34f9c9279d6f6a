// The console: which view is shown, and the figures that all of them read.
import { ask, every } from './api.js';
import { failed, h, put } from './dom.js';
import { several, time } from './format.js';
import * as overview from './overview.js';
import * as live from './live.js';
import * as rejections from './rejections.js';
import * as schemas from './schemas.js';
import * as find from './find.js';
import * as ledger from './ledger.js';
import * as keys from './keys.js';
import * as fleet from './fleet.js';

/**
 * What a view is given: what it is shown in, what all views know, and what stands behind its name in the address. It gives its end.
 * @typedef {{ settings: any, report: any, history: number[], readers: Set<(report: any) => void> }} Context
 * @typedef {{ title: string, hint: string, show(root: HTMLElement, context: Context, argument: string): void | (() => void) }} View
 */

/** @type {Record<string, View>} */
const VIEWS = { overview, live, rejections, schemas, find, ledger, keys, fleet };
const POLL_MS = 1000;
/** Seconds of the chart. */
const HISTORY = 120;

const [main, state, views, about] = ['main', 'state', 'views', 'about'].map((id) => /** @type {HTMLElement} */ (document.getElementById(id)));
/** @type {Context} */
const context = { settings: {}, report: undefined, history: [], readers: new Set() };

/** The view that the address names, and what stands behind it: `#/find/UUID`. */
function here() {
  const [, name = '', argument = ''] = /^#\/(\w+)(?:\/(.*))?$/.exec(location.hash) ?? [];
  return Object.hasOwn(VIEWS, name) ? [name, decodeURIComponent(argument)] : ['overview', ''];
}

/** What the line beside the name says, whatever view is shown. */
function tell() {
  const { report } = context;
  const [words, kind] = !report ? ['Away: it does not answer', 'bad'] : !report.ready ? ['Not ready', 'bad']
    : report.conditions.length ? [`Ready, ${several(report.conditions.length, 'warning')}`, 'warn'] : ['Ready', 'good'];
  state.className = `state ${kind}`;
  put(state, words);
  document.title = `${VIEWS[here()[0]].title} · ${words} · Lakegate`;
}

async function poll() {
  context.report = await ask('/admin/overview').catch(() => undefined);
  if (context.report) {
    context.history.push(context.report.events.received_per_second ?? 0);
    if (context.history.length > HISTORY) context.history.shift();
    put(about, `Version ${context.settings.version}, up for ${time(context.report.gateways[0].uptime_seconds)}`);
  }
  tell();
  for (const read of context.readers) read(context.report);
}

/** @type {void | (() => void)} */
let leave;

function show(isFirst) {
  const [name, argument] = here();
  leave?.();
  for (const link of views.querySelectorAll('a')) link.ariaCurrent = link.hash === `#/${name}` ? 'page' : null;
  const title = h('h1', { tabindex: -1 }, VIEWS[name].title);
  const root = h(`div.view.${name}`);
  main.replaceChildren(title, h('p.hint', VIEWS[name].hint), root);
  leave = VIEWS[name].show(root, context, argument);
  if (isFirst) return;
  tell();
  scrollTo(0, 0);
  // So that a screen reader says where one is, and Tab goes on from here.
  title.focus({ preventScroll: true });
}

put(views, Object.entries(VIEWS).map(([name, { title }]) => h('li', h('a', { href: `#/${name}` }, title))));
// The link over all is for keyboards; the address names views.
document.querySelector('.skip')?.addEventListener('click', (event) => {
  event.preventDefault();
  main.focus();
});
try {
  context.settings = await ask('/admin/console');
  addEventListener('hashchange', () => show(false));
  show(true);
  every(POLL_MS, poll);
} catch (error) {
  put(main, h('h1', 'The gateway does not answer the console'), failed(error));
}
