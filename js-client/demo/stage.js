// Shows what the server reads from the lake.
const TINTS = { 'page:opened': '#7fb7be', 'section:reached': '#f0b070', 'item:viewed': '#dfe6c8', 'item:ordered': '#e98a5b', 'visit:progress': '#8a94c8' };
const SHOWN = 60;
const counts = new Map();
const list = document.querySelector('#events');

const says = (event) =>
  event.item_name ? `${event.item_name}${event.action ? ` · ${event.action}` : ''}`
  : event.section_name ? `${event.section_name} · ${event.depth_percent} % down`
  : event.items ? `${(event.active_ms / 1000).toFixed(1)} s, ${event.depth_percent} % down, ${event.items.length} dishes`
  : `${event.locale} · ${event.viewport?.width_px} px wide · ${event.navigation ?? ''}`;

function row(event) {
  const kind = event.event_name.replace('menu:', '');
  counts.set(kind, (counts.get(kind) ?? 0) + 1);
  const item = document.createElement('li');
  item.style.setProperty('--tint', TINTS[kind] ?? '#45585b');
  item.title = JSON.stringify(event, null, 2);
  for (const [name, text] of [['time', event.created_datetime.slice(11, 23)], ['kind', kind], ['says', says(event)]]) {
    const part = document.createElement('span');
    part.className = name;
    part.textContent = text;
    item.append(part);
  }
  return item;
}

new EventSource('/events').onmessage = ({ data }) => {
  list.querySelector('.none')?.remove();
  for (const event of JSON.parse(data)) list.prepend(row(event));
  while (list.children.length > SHOWN) list.lastChild.remove();
  document.querySelector('#counts').replaceChildren(...[...counts].map(([kind, count]) => {
    const item = document.createElement('li');
    const number = document.createElement('b');
    number.textContent = count;
    item.append(number, kind);
    return item;
  }));
};
