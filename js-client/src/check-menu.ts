// Looks for marks of a page that menu.ts cannot use, and says in the console which element, which attribute, and what to write.

/** Lines after which the console says no more: a page of a thousand wrong prices must stay usable. */
const TOLD_MAX = 100;
/** Marks that are looked at: a page that has more, or changes all the time, must not become slow. */
const MARKS_MAX = 5000;
/** How long changes of the page are gathered before it is looked at again. */
const AGAIN_MS = 300;
/** How long an application may take to draw its menu, before it is said that there is none. */
const ABSENT_MS = 3000;

/** What the schemas take as an id: `common/id.json`. */
const ID = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;
const LOCALE = /^[A-Za-z]{2,3}(-[A-Za-z0-9]{1,8})*$/;
const MARKED = '[data-menu],[data-menu-section],[data-menu-item],[data-menu-action],[data-menu-price]';
/** The attributes that menu.ts reads. */
const ATTRIBUTES = new Set(['menu', 'menuRestaurant', 'menuCurrency', 'menuSection', 'menuItem', 'menuPrice', 'menuAction']);

const attributeOf = (name: string) => 'data-' + name.replace(/[A-Z]/g, (letter) => '-' + letter.toLowerCase());

/** An id that the schemas take, as near as can be to what was written. */
const idFrom = (text: string) =>
  text.normalize('NFD').replace(/[\u0300-\u036f]/g, '').trim().toLowerCase().replace(/[^a-z0-9._-]+/g, '-').replace(/^[^a-z0-9]+|-+$/g, '').slice(0, 64);

/** Digits after the point that a currency has: two for EUR, none for JPY. */
const digitsOf = (currency: string | undefined) => {
  try {
    return new Intl.NumberFormat('en', { style: 'currency', currency: currency?.trim() || 'EUR' }).resolvedOptions().maximumFractionDigits ?? 2;
  } catch {
    return 2;
  }
};

/** The whole number of smallest units that a text such as `€ 14,50` means; undefined where it means none. */
const minorFrom = (text: string, currency: string | undefined) => {
  const [, whole, part = ''] = /^\D*?(\d+)(?:[.,](\d{1,3}))?\D*$/.exec(text) ?? [];
  const digits = digitsOf(currency);
  return whole && part.length <= digits ? +(whole + part.padEnd(digits, '0')) : undefined;
};

/** Looks for marks that menu.ts cannot use: at once, and whenever the page changes. Each is told once for its element. */
export function checkMenu() {
  const seen = new WeakMap<Element, Set<string>>();
  let count = 0;
  const warn = (element: Element, text: string) => {
    const texts = seen.get(element) ?? new Set();
    seen.set(element, texts);
    if (texts.has(text) || ++count > TOLD_MAX) return;
    texts.add(text);
    console.warn(`lakegate: ${text}${count == TOLD_MAX ? ' (no more are told)' : ''}`, element);
  };

  const checkId = (element: HTMLElement, name: string) => {
    const id = element.dataset[name];
    if (id == undefined || ID.test(id)) return;
    const heading = element.querySelector('h2,h3,h4')?.textContent ?? '';
    const better = idFrom(id) || (id ? '' : idFrom(heading)) || 'some-id';
    const fault = id ? `"${id}" is no id` : 'the id is missing';
    warn(element, `${attributeOf(name)}: ${fault}. Write letters, digits, dot, hyphen and underscore, such as ${attributeOf(name)}="${better}".`);
  };

  /** One element with one id, or two that would be counted as one. */
  const checkTwins = (elements: HTMLElement[], name: string) => {
    const ids = new Set<string>();
    for (const element of elements) {
      const id = element.dataset[name]!;
      if (id && ids.has(id)) warn(element, `${attributeOf(name)}="${id}" is there twice, and both are counted as one. Give this one another id.`);
      ids.add(id);
    }
  };

  const checkPrice = (element: HTMLElement, currency: string | undefined) => {
    const price = element.dataset.menuPrice;
    if (!price) return;
    // As menu.ts reads it: 1450, and also 1450.0 and 1e3.
    if (!Number.isInteger(+price) || +price < 0 || +price > 999999999999 || !price.trim()) {
      const minor = minorFrom(price, currency);
      const better = minor == undefined ? 'Write data-menu-price="1450" for 14.50 EUR.' : `Write data-menu-price="${minor}".`;
      warn(element, `data-menu-price="${price}" is no whole number of the currency's smallest unit. ${better}`);
    }
    if (!element.matches('[data-menu-item]')) warn(element, 'data-menu-price is read only beside data-menu-item, on the same element.');
    if (!currency) warn(element, 'data-menu-price needs a currency. Write data-menu-currency="EUR" on the element with data-menu.');
  };

  const check = () => {
    const root = document.querySelector<HTMLElement>('[data-menu]');
    const all = (within: ParentNode, selector: string) => [...within.querySelectorAll<HTMLElement>(selector)];
    const lang = document.documentElement.lang;
    if (lang && !(LOCALE.test(lang) && lang.length < 36)) warn(document.documentElement, `lang="${lang}" is no language. Write <html lang="pt-PT">.`);
    for (const element of all(document, MARKED).slice(0, MARKS_MAX)) {
      for (const name of ['menu', 'menuRestaurant', 'menuSection', 'menuItem', 'menuAction']) checkId(element, name);
      for (const name of Object.keys(element.dataset)) {
        if (/^menu([A-Z]|s$)/.test(name) && !ATTRIBUTES.has(name)) warn(element, `${attributeOf(name)} is not known, and nothing reads it.`);
      }
      checkPrice(element, root?.dataset.menuCurrency);
      const has = (name: string) => element.dataset[name] != undefined;
      if (has('menu') && element != root) warn(element, 'Only the first element with data-menu is tracked. Put all sections into one.');
      if (!has('menu') && !root?.contains(element)) warn(element, 'This is outside of the element with data-menu, and is not tracked.');
      else if (has('menuItem') && !element.parentElement?.closest('[data-menu-section]')) {
        warn(element, `data-menu-item="${element.dataset.menuItem}" is in no section, and is not tracked. Put it into an element with data-menu-section.`);
      } else if (has('menuAction') && !element.closest('[data-menu-section] [data-menu-item]')) {
        warn(element, 'data-menu-action is in no item, and clicks are not tracked. Put it into an element with data-menu-item.');
      }
      if ((has('menuItem') || has('menuSection')) && getComputedStyle(element).display == 'contents') {
        warn(element, 'An element with display: contents has no area, and is never seen. Mark an element that has one.');
      }
    }
    if (!root) return;
    const { menuCurrency } = root.dataset;
    if (menuCurrency != undefined && !/^[A-Z]{3}$/.test(menuCurrency)) {
      warn(root, `data-menu-currency="${menuCurrency}" is no currency. Write its three capital letters, such as data-menu-currency="EUR".`);
    }
    const sections = all(root, '[data-menu-section]');
    if (!sections.length) warn(root, 'The menu has no section, so that only its opening is tracked. Mark its parts with data-menu-section.');
    checkTwins(sections, 'menuSection');
    for (const section of sections) {
      const items = all(section, '[data-menu-item]').filter((item) => item.closest('[data-menu-section]') == section);
      checkTwins(items, 'menuItem');
    }
  };

  // Once for many changes, and not while the page is being drawn.
  let timer: ReturnType<typeof setTimeout> | undefined;
  const soon = () => {
    timer ??= setTimeout(() => {
      timer = undefined;
      check();
    }, AGAIN_MS);
  };
  const observer = new MutationObserver(soon);
  const attributes = ['lang', ...[...ATTRIBUTES].map(attributeOf)];
  observer.observe(document, { childList: true, subtree: true, attributes: true, attributeFilter: attributes });
  check();
  const absent = () => {
    if (document.querySelector('script[data-url][data-key]') && !document.querySelector('[data-menu]')) {
      warn(document.documentElement, 'No element has data-menu, so that nothing is tracked. Mark the menu: <main data-menu="dinner" data-menu-restaurant="…">.');
    }
  };
  setTimeout(absent, ABSENT_MS);
}
