// Makes the parts of the page. What a client sent comes in as text: nothing in the console parses markup.

const nodes = (children) => children.flat(3).filter((child) => (child ?? false) !== false);

/**
 * A new element of `tag.class.class`. An object before the children has its attributes; those that are functions are listeners.
 * @returns {any}
 */
export function h(tag, ...children) {
  const [name, ...classes] = tag.split('.');
  const node = document.createElement(name);
  if (classes.length) node.className = classes.join(' ');
  if (children[0]?.constructor === Object) {
    for (const [key, value] of Object.entries(children.shift())) {
      if (typeof value === 'function') node.addEventListener(key, value);
      else if ((value ?? false) !== false) node.setAttribute(key, value === true ? '' : value);
    }
  }
  node.append(...nodes(children));
  return node;
}

/** Puts children into a node, if they look otherwise than what is there: what stays the same is not drawn again. */
export function put(node, ...children) {
  const draft = node.cloneNode(false);
  draft.append(...nodes(children));
  if (!draft.isEqualNode(node)) node.replaceChildren(...draft.childNodes);
}

/** Makes the children of `parent` those of `items`, in order. A child whose key is there already is kept, with its focus. */
export function keyed(parent, items, key, make, update) {
  const old = new Map([...parent.children].map((node) => [node.dataset.key, node]));
  const wanted = new Set(items.map(key));
  for (const [name, node] of old) if (!wanted.has(name)) node.remove();
  let next = parent.firstElementChild;
  for (const item of items) {
    const node = old.get(key(item)) ?? make(item);
    node.dataset.key = key(item);
    update?.(node, item);
    if (node === next) next = next.nextElementSibling;
    else parent.insertBefore(node, next);
  }
}

/** A table that scrolls by itself where it is wider than the page. A head that begins with `#` is of numbers. */
export function table(caption, heads) {
  const kinds = heads.map((head) => (head[0] === '#' ? '.number' : ''));
  const body = h('tbody');
  const inner = h('table', h('caption', caption), h('thead', h('tr', heads.map((head, at) => h(`th${kinds[at]}`, { scope: 'col' }, head.replace('#', ''))))), body);
  const root = h('div.scroll', { role: 'region', 'aria-label': caption }, inner);
  // Who has no mouse must be able to scroll it, and should not stop at it otherwise.
  new ResizeObserver(() => (root.tabIndex = root.scrollWidth > root.clientWidth ? 0 : -1)).observe(inner);
  const row = () => h('tr', kinds.map((kind, at) => (at ? h(`td${kind}`) : h('th', { scope: 'row' }))));
  const fill = (items, key, cells) => keyed(body, items, key, row, (row, item) => cells(item).forEach((cell, at) => put(row.children[at], cell)));
  return { root, fill };
}

/** A part of a view, with its own heading. */
export const part = (title, ...children) => h('section.card', h('h2', title), children);

/** Names with values. */
export const pairs = (pairs) => h('dl.pairs', pairs.map(([name, value]) => h('div', h('dt', name), h('dd', value))));

/** A field for a text that no dictionary has. */
export const input = (id, more) => h('input', { id, autocomplete: 'off', spellcheck: 'false', ...more });

/** A label with its field. */
export const field = (words, control) => h('label', { for: control.id }, words, control);

/** A text that can be read by keyboard where it is longer than its box. */
export const box = (label, ...children) => h('pre', { tabindex: 0, role: 'region', 'aria-label': label }, h('code', children));

/** A command to copy. */
export function command(text, label) {
  const copied = h('span.soft', { role: 'status' });
  const copy = () => navigator.clipboard.writeText(text).then(() => put(copied, ' copied'));
  return h('div.command', box(label, text), h('button', { type: 'button', click: copy }, 'Copy'), copied);
}

/** A code with its meaning one click away. */
export const codeLink = (code) => h('a', { href: `/errors#${encodeURIComponent(code)}` }, h('code', code));

export const badge = (kind, words = kind) => h(`span.badge.${kind}`, words);

/** A link to what is known of an event. */
export const findLink = (uuid, words) => h('a', { href: `#/find/${encodeURIComponent(uuid)}` }, words);

export const failed = (error) => h('p.why', error.message);

const [WIDTH, HEIGHT] = [240, 56];

/** A line of numbers that can be drawn again. Its numbers are told beside it. */
export function spark() {
  const make = (name, attributes) => {
    const node = document.createElementNS('http://www.w3.org/2000/svg', name);
    for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
    return node;
  };
  const [area, line] = ['area', 'line'].map((name) => make('path', { class: name }));
  const svg = make('svg', { class: 'spark', viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: 'none', 'aria-hidden': 'true' });
  svg.append(area, line);
  const draw = (numbers, room) => {
    const top = Math.max(1, ...numbers);
    const points = numbers.map((number, at) => `${(((at + room - numbers.length) * WIDTH) / (room - 1)).toFixed(1)} ${(HEIGHT - 2 - (number / top) * (HEIGHT - 6)).toFixed(1)}`);
    if (points.length < 2) return;
    line.setAttribute('d', `M${points.join('L')}`);
    area.setAttribute('d', `M${points[0].split(' ')[0]} ${HEIGHT}L${points.join('L')}L${WIDTH} ${HEIGHT}Z`);
  };
  return { svg, draw };
}
