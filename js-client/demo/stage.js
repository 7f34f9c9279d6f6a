// Shows what the server reads from the lake and from the dead letters, in the order in which the gateway received it.
import { sendBadEvent } from '/bad.js';

const TINTS = {
  'menu:page:opened': '#7fb7be', 'menu:section:reached': '#f0b070', 'menu:item:viewed': '#9db26a', 'menu:item:ordered': '#e98a5b', 'menu:visit:progress': '#a6aedb',
};
const REJECTED = '#ff7d6b';
const SHOWN = 60;
const counts = new Map();
/** The newest first, each with its row: the same order as the rows have on the page. */
const shown = [];
const list = document.querySelector('#events');

const says = (event) =>
  event.item_name ? `${event.item_name}${event.action ? ` · ${event.action}` : ''}`
  : event.section_name ? `${event.section_name} · ${event.depth_percent ?? 0} % down`
  : Array.isArray(event.items) ? `${(event.active_ms / 1000).toFixed(1)} s, ${event.depth_percent} % down, ${event.items.length} dishes`
  : event.viewport ? `${event.locale} · ${event.viewport.width_px} px wide · ${event.navigation ?? ''}`
  : `from ${event.source}`;

/** Newest first by receipt; what came in one request, by when it happened; what happened at once, by identity. The same on every screen. */
const isBefore = (one, other) => {
  for (const name of ['received', 'created', 'id']) if (one[name] !== other[name]) return one[name] > other[name];
  return false;
};

function element(name, className, text) {
  const made = document.createElement(name);
  made.className = className;
  made.textContent = text;
  return made;
}

/** 21:14:03.120 on the clock of who looks. */
function time(received) {
  const made = element('time', 'time', '');
  const date = new Date(received);
  made.dateTime = received;
  made.textContent = `${date.toLocaleTimeString('en-GB', { hour12: false })}.${String(date.getMilliseconds()).padStart(3, '0')}`;
  return made;
}

/** Why it was rejected: each fault with its place in the event. */
function reasons({ code, errors, detail, pointer, schema }) {
  const made = document.createElement('ul');
  made.className = 'reasons';
  for (const error of errors?.length ? errors : [{ detail, pointer }]) {
    made.append(element('li', '', `${error.pointer ? `${error.pointer}: ` : ''}${error.detail}`));
  }
  made.append(element('li', 'code', `${code}${schema ? `, by ${schema}` : ''}`));
  return made;
}

function row({ received, name, event, rejected, raw }) {
  const item = document.createElement('li');
  item.style.setProperty('--tint', rejected ? REJECTED : (TINTS[name] ?? '#8aa0a3'));
  if (rejected) item.className = 'rejected';
  const details = document.createElement('details');
  const summary = document.createElement('summary');
  const said = rejected ? `rejected: ${rejected.pointer ? `${rejected.pointer}: ` : ''}${rejected.detail}` : says(event);
  summary.append(time(received), element('span', 'kind', name.replace('menu:', '')), element('span', 'says', said));
  details.append(summary);
  // Made when somebody opens it: sixty rows of JSON are not read.
  details.addEventListener('toggle', () => {
    if (details.children.length > 1) return;
    if (rejected) details.append(reasons(rejected));
    const json = element('pre', '', event ? JSON.stringify(event, null, 2) : raw);
    json.tabIndex = 0;
    details.append(json);
  });
  item.append(details);
  return item;
}

function show(arrival) {
  const kind = arrival.rejected ? 'rejected' : arrival.name.replace('menu:', '');
  counts.set(kind, (counts.get(kind) ?? 0) + 1);
  arrival.row = row(arrival);
  const place = shown.findIndex((other) => isBefore(arrival, other));
  list.insertBefore(arrival.row, place < 0 ? null : shown[place].row);
  shown.splice(place < 0 ? shown.length : place, 0, arrival);
  while (shown.length > SHOWN) shown.pop().row.remove();
}

const source = new EventSource('/events');
source.addEventListener('gateway', ({ data }) => {
  const { url, key } = JSON.parse(data);
  document.querySelector('#bad').onclick = async () => {
    document.querySelector('#sent').textContent = await sendBadEvent(url, key);
  };
  document.querySelector('#own').textContent = `curl ${url} -H 'X-Api-Key: dev' -H 'Content-Type: application/json' -d '{…}'`;
  // It begins anew after a break: what is shown comes again.
  shown.splice(0).forEach(({ row }) => row.remove());
  counts.clear();
});
source.addEventListener('message', ({ data }) => {
  list.querySelector('.none')?.remove();
  for (const arrival of JSON.parse(data)) show(arrival);
  document.querySelector('#counts').replaceChildren(...[...counts].map(([kind, count]) => {
    const item = document.createElement('li');
    item.append(element('b', '', count), kind);
    return item;
  }));
});
