// Makes the parts of the page. What a client sent comes in as text: nothing here, or elsewhere in the console, parses markup.

/** @typedef {Node | string | number | null | undefined | false} Child */

/** @param {Element} node @param {Record<string, unknown>} attributes */
function set(node, attributes) {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === 'function') node.addEventListener(name.slice(2), /** @type {EventListener} */ (value));
    else if (value === true) node.setAttribute(name, '');
    else if (value !== false && value !== null && value !== undefined) node.setAttribute(name, String(value));
  }
}

/** @param {Child[]} children */
const nodes = (children) => children.flatMap((child) => (child === null || child === undefined || child === false ? [] : typeof child === 'number' ? String(child) : child));

/**
 * A new element. An attribute whose value is a function, such as `onclick`, is a listener.
 * @template {keyof HTMLElementTagNameMap} T
 * @param {T} name @param {Record<string, unknown>} [attributes] @param {...Child} children
 * @returns {HTMLElementTagNameMap[T]}
 */
export function el(name, attributes = {}, ...children) {
  const node = document.createElement(name);
  set(node, attributes);
  node.append(...nodes(children));
  return node;
}

/** Writes a text, if it is another one: what stays the same is not drawn again. @param {Node} node @param {string} text */
export function write(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** Puts `children` into `node`, if they look otherwise than what is there. @param {Element} node @param {...Child} children */
export function put(node, ...children) {
  const draft = /** @type {Element} */ (node.cloneNode(false));
  draft.append(...nodes(children));
  if (!draft.isEqualNode(node)) node.replaceChildren(...draft.childNodes);
}

/**
 * Makes the children of `parent` those of `items`, in order. What is there already is kept, with its focus and its place.
 * @template T @param {Element} parent @param {T[]} items @param {(item: T) => string} key
 * @param {(item: T) => HTMLElement} make @param {(node: HTMLElement, item: T) => void} [update]
 */
export function keyed(parent, items, key, make, update) {
  const old = new Map([...parent.children].map((node) => [/** @type {HTMLElement} */ (node).dataset.key, /** @type {HTMLElement} */ (node)]));
  const wanted = new Set(items.map(key));
  for (const [name, node] of old) if (name === undefined || !wanted.has(name)) node.remove();
  let next = parent.firstElementChild;
  for (const item of items) {
    const name = key(item);
    let node = old.get(name);
    if (!node) {
      node = make(item);
      node.dataset.key = name;
    }
    update?.(node, item);
    if (node === next) next = next.nextElementSibling;
    else parent.insertBefore(node, next);
  }
}

/**
 * A table that scrolls by itself where it is wider than the page. A head that begins with `#` is of numbers.
 * @param {string} caption @param {string[]} heads
 */
export function table(caption, heads) {
  const body = el('tbody');
  const isNumber = heads.map((head) => head.startsWith('#'));
  const head = heads.map((text, column) => el('th', { scope: 'col', class: isNumber[column] ? 'number' : null }, text.replace(/^#/, '')));
  const inner = el('table', {}, el('caption', {}, caption), el('thead', {}, el('tr', {}, ...head)), body);
  const root = el('div', { class: 'scroll', role: 'region', 'aria-label': caption }, inner);
  // Who has no mouse must be able to scroll it, and should not stop at it otherwise.
  new ResizeObserver(() => (root.scrollWidth > root.clientWidth ? root.setAttribute('tabindex', '0') : root.removeAttribute('tabindex'))).observe(inner);
  /** @template T @param {T[]} items @param {(item: T) => string} key @param {(item: T) => Child[]} cells */
  const fill = (items, key, cells) =>
    keyed(body, items, key, () => el('tr', {}, ...heads.map((_, column) => (column ? el('td', { class: isNumber[column] ? 'number' : null }) : el('th', { scope: 'row' })))), (row, item) => {
      cells(item).forEach((cell, column) => put(/** @type {Element} */ (row.children[column]), cell));
    });
  return { root, fill };
}

/** A part of a view, with its own heading. @param {string} title @param {...Child} children */
export const part = (title, ...children) => el('section', { class: 'card' }, el('h2', {}, title), ...children);

/** Names with values. @param {[string, Child][]} pairs */
export const pairs = (pairs) => el('dl', { class: 'pairs' }, ...pairs.map(([name, value]) => el('div', {}, el('dt', {}, name), el('dd', {}, value))));

/** A command to copy. @param {string} text @param {string} label */
export function command(text, label) {
  const copied = el('span', { role: 'status', class: 'soft' });
  const copy = () => navigator.clipboard.writeText(text).then(() => write(copied, ' copied'), () => write(copied, ' select it and copy it'));
  // Only pages of this machine, or over TLS, have a clipboard.
  return el('div', { class: 'command' }, el('pre', { tabindex: '0', role: 'region', 'aria-label': label }, el('code', {}, text)), navigator.clipboard && el('button', { type: 'button', onclick: copy }, 'Copy'), copied);
}

/** A code with what it means, one click away. @param {string} code */
export const codeLink = (code) => el('a', { href: `/errors#${encodeURIComponent(code)}` }, el('code', {}, code));

/** @param {string} outcome */
export const badge = (outcome) => el('span', { class: `badge ${outcome}` }, outcome);

/** An error, for a reader. @param {unknown} error */
export const said = (error) => (error instanceof Error ? error.message : String(error));

const SVG = 'http://www.w3.org/2000/svg';
const [WIDTH, HEIGHT] = [240, 56];

/** A line of numbers that can be drawn again. Its numbers are told beside it. */
export function spark() {
  const svg = document.createElementNS(SVG, 'svg');
  set(svg, { class: 'spark', viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: 'none', 'aria-hidden': 'true' });
  const [area, line] = ['area', 'line'].map((name) => {
    const path = document.createElementNS(SVG, 'path');
    path.setAttribute('class', name);
    svg.append(path);
    return path;
  });
  /** @param {(number | null)[]} numbers @param {number} room how many fit */
  const draw = (numbers, room) => {
    const top = Math.max(1, ...numbers.map((number) => number ?? 0));
    const points = numbers.map((number, at) => `${(((at + room - numbers.length) * WIDTH) / (room - 1)).toFixed(1)} ${(HEIGHT - 2 - ((number ?? 0) / top) * (HEIGHT - 6)).toFixed(1)}`);
    const first = points[0]?.split(' ')[0] ?? WIDTH;
    line?.setAttribute('d', points.length > 1 ? `M${points.join('L')}` : '');
    area?.setAttribute('d', points.length > 1 ? `M${first} ${HEIGHT}L${points.join('L')}L${WIDTH} ${HEIGHT}Z` : '');
  };
  return { svg, draw };
}
