// The console: which view is shown, and the figures that all of them read.
import { ask } from './api.js';
import { el, put, said, write } from './dom.js';
import { several, time } from './format.js';
import * as overview from './overview.js';
import * as live from './live.js';
import * as rejections from './rejections.js';
import * as schemas from './schemas.js';
import * as find from './find.js';
import * as ledger from './ledger.js';
import * as keys from './keys.js';
import * as fleet from './fleet.js';

/** @typedef {import('./types.js').Report} Report */
/** @typedef {import('./types.js').Context} Context */

/** @type {Record<string, import('./types.js').View>} */
const VIEWS = { overview, live, rejections, schemas, find, ledger, keys, fleet };
const POLL_MS = 1000;
const HISTORY = 120;

/** @param {string} id */
const node = (id) => /** @type {HTMLElement} */ (document.getElementById(id));
const [main, state, views] = [node('main'), node('state'), node('views')];

/** @type {Report | undefined} */
let report;
/** @type {Set<(report: Report | undefined) => void>} */
const readers = new Set();
/** @type {Context} */
const context = {
  settings: { version: '', gateway: '', allow_changes: false, shows_payloads: false, fleet: 0, first_event: { url: '', takes_dev: false } },
  report: () => report,
  history: [],
  reports(on) {
    readers.add(on);
    if (report) on(report);
    return () => readers.delete(on);
  },
};

/** What the line beside the name says, whatever view is shown. */
function tell() {
  const [words, kind] = !report ? ['Away: it does not answer', 'bad']
    : !report.ready ? ['Not ready', 'bad']
    : report.conditions.length ? [`Ready, ${several(report.conditions.length, 'warning')}`, 'warn']
    : ['Ready', 'good'];
  state.className = `state ${kind}`;
  write(state, words);
  document.title = `${kind === 'good' ? '' : `${words} · `}${VIEWS[here()[0]]?.title} · Lakegate`;
}

async function poll() {
  // Nobody reads a page in the background.
  if (!document.hidden) {
    try {
      report = /** @type {Report} */ (await ask('/admin/overview'));
      context.history.push(report.events.received_per_second ?? null);
      if (context.history.length > HISTORY) context.history.shift();
      write(node('about'), `Version ${context.settings.version}, up for ${time(report.gateways[0]?.uptime_seconds)}`);
    } catch {
      report = undefined;
    }
    tell();
    for (const read of readers) read(report);
  }
  setTimeout(poll, POLL_MS);
}

/** The view that the address names, and what stands behind it: `#/find/UUID`. @returns {[string, string]} */
function here() {
  const [, name = '', argument = ''] = /^#\/(\w+)(?:\/(.*))?$/.exec(location.hash) ?? [];
  try {
    return Object.hasOwn(VIEWS, name) ? [name, decodeURIComponent(argument)] : ['overview', ''];
  } catch {
    return [name, ''];
  }
}

/** @type {void | (() => void)} */
let leave;

/** @param {boolean} isFirst */
function show(isFirst) {
  const [name, argument] = here();
  const view = /** @type {import('./types.js').View} */ (VIEWS[name]);
  leave?.();
  for (const link of views.querySelectorAll('a')) link.hash === `#/${name}` ? link.setAttribute('aria-current', 'page') : link.removeAttribute('aria-current');
  const title = el('h1', { tabindex: '-1' }, view.title);
  const root = el('div', { class: `view ${name}` });
  main.replaceChildren(title, el('p', { class: 'hint' }, view.hint), root);
  leave = view.show(root, context, argument);
  tell();
  if (!isFirst) {
    scrollTo(0, 0);
    // So that a screen reader says where one is, and Tab goes on from here.
    title.focus({ preventScroll: true });
  }
}

put(views, ...Object.entries(VIEWS).map(([name, { title }]) => el('li', {}, el('a', { href: `#/${name}` }, title))));
// The link over all is for keyboards; the address names views.
document.querySelector('.skip')?.addEventListener('click', (event) => {
  event.preventDefault();
  main.focus();
});
try {
  context.settings = await ask('/admin/console');
  addEventListener('hashchange', () => show(false));
  show(true);
  poll();
} catch (error) {
  put(main, el('h1', {}, 'The console cannot ask the gateway'), el('p', {}, said(error)));
  write(state, 'No answer');
}
