import type { Client } from './index.js';

/** A menu that is tracked. */
export interface Menu {
  /** For single-page applications: the menu was opened anew, or another one in its place; a new visit begins. */
  open(): void;
  /** Looks no more. */
  stop(): void;
}

/** Starts and stops the clock of an element: whether it is in view now, if that has changed. What it has to report. */
type Clock = (inView?: boolean) => object | false;

/** An item counts as viewed after this time in view without a break (IAB/MRC: one second). */
const VIEW_MS = 1000;
/** The schema's bound of `items` in one report. */
const ITEMS_MAX = 500;
/** Parts of an element at whose crossing the browser reports; fine, since a tall section fills half a phone with little of it. */
const STEPS = 50;

const SECTION = '[data-menu-section]';
const ITEM = SECTION + ' [data-menu-item]';

const all = (root: ParentNode, selector: string) => [...root.querySelectorAll<HTMLElement>(selector)];

/** Tracks the menu whose elements are marked `data-menu`, `data-menu-section`, `data-menu-item` and `data-menu-action`. */
export function menu(client: Client): Menu {
  const stopped = new AbortController();
  const clocks = new Map<Element, Clock>();
  let root: HTMLElement | null | undefined;
  let visit: object;
  let navigation = (performance.getEntriesByType('navigation')[0] as PerformanceNavigationTiming | undefined)?.type;
  let progress: number;
  let depth: number;
  // Milliseconds of the visit on a visible page, up to when it was last shown; since when it is, otherwise 0.
  let active: number;
  let shown = 0;
  let deepest: { [name: string]: any };

  const since = (start: number) => (start ? performance.now() - start : 0);
  const activeMs = () => Math.round(active + since(shown));

  /** What the visitor reads as the name: the first heading within. */
  const nameOf = (element: Element) => element.querySelector('h2,h3,h4')?.textContent!.trim().slice(0, 200) || undefined;

  /** Which section, or item, an element is. Asked each time, because menus are re-rendered. */
  const at = (element: HTMLElement): { [name: string]: any } => {
    const section = element.closest<HTMLElement>(SECTION)!;
    const price = element.dataset.menuPrice;
    return {
      section_id: section.dataset.menuSection,
      section_index: all(root!, SECTION).indexOf(section),
      section_name: nameOf(section),
      ...(element != section && {
        item_id: element.dataset.menuItem,
        item_index: all(section, ITEM).indexOf(element),
        item_name: nameOf(element),
        ...(price && { price_minor: +price, currency: root!.dataset.menuCurrency }),
      }),
    };
  };

  const track = (name: string, fields: object) =>
    client.track(name as any, {
      ...visit,
      locale: document.documentElement.lang || undefined,
      page_path: location.pathname,
      utc_offset_minutes: -new Date().getTimezoneOffset(),
      ...fields,
    } as any);

  /** What happened to an element, if it is still on the menu. */
  const act = (name: string, element: HTMLElement, fields: object) =>
    root?.contains(element) && track(name, { ...at(element), active_ms: activeMs(), ...fields });

  const counts = () => ({ section_count: all(root!, SECTION).length, item_count: all(root!, ITEM).length });

  const reach = () => {
    const part = (scrollY + innerHeight) / document.documentElement.scrollHeight;
    return (depth = Math.max(depth, Math.min(100, Math.round(part * 100))));
  };

  const watch = (element: HTMLElement): Clock => {
    const isItem = !element.matches(SECTION);
    let inView: boolean;
    let start = 0;
    let dwell = 0;
    let views = 0;
    let timer: ReturnType<typeof setTimeout>;
    const viewed = () => act('menu:item:viewed', element, { dwell_ms: Math.round(dwell + since(start)), view_number: ++views });
    return (next = inView) => {
      inView = next;
      if (!inView || !shown) {
        dwell += since(start);
        start = 0;
        clearTimeout(timer);
      } else if (!start) {
        start = performance.now();
        if (isItem) timer = setTimeout(viewed, VIEW_MS);
        else if (!views++) {
          const { section_id, section_index } = at(element);
          if (!(section_index < deepest.deepest_section_index)) {
            deepest = { deepest_section_id: section_id, deepest_section_index: section_index };
          }
          act('menu:section:reached', element, { depth_percent: reach() });
        }
      }
      return (
        isItem &&
        dwell > 1 && {
          item_id: element.dataset.menuItem,
          section_id: element.closest<HTMLElement>(SECTION)?.dataset.menuSection,
          dwell_ms: Math.round(dwell),
          view_count: views,
        }
      );
    };
  };

  const observer = new IntersectionObserver(
    (entries) => {
      reach();
      for (const { target, intersectionRatio, intersectionRect } of entries) {
        // An item taller than the screen need only fill half of that.
        clocks.get(target)?.(intersectionRatio >= 0.5 || intersectionRect.height * 2 >= innerHeight);
      }
    },
    { threshold: [...Array(STEPS + 1)].map((_, step) => step / STEPS) },
  );

  /** Finds what is new on the page. */
  const look = () => {
    if (!root) show();
    else {
      for (const element of all(root, SECTION + ',' + ITEM)) {
        if (!clocks.has(element)) {
          clocks.set(element, watch(element));
          observer.observe(element);
        }
      }
    }
  };

  const show = () => {
    if (shown || document.hidden) return;
    if (root) {
      shown = performance.now();
      clocks.forEach((clock) => clock());
    } else if ((root = document.querySelector<HTMLElement>('[data-menu]'))) {
      const { menu, menuRestaurant } = root.dataset;
      visit = { ...client.ids(true), menu_id: menu, ...(menuRestaurant && { restaurant_id: menuRestaurant }) };
      deepest = {};
      progress = depth = active = 0;
      shown = performance.now();
      track('menu:page:opened', {
        viewport: { width_px: innerWidth, height_px: innerHeight },
        navigation,
        referrer: /^[^/]+\/\/[^/?#]+/.exec(document.referrer)?.[0],
        entry: /[?&]entry=([^\W_][\w.-]{0,63})/.exec(location.search)?.[1],
        ...counts(),
      });
      look();
    }
  };

  const hide = (reason?: string) => {
    if (shown) {
      active = activeMs();
      shown = 0;
      track('menu:visit:progress', {
        progress_index: progress++,
        reason,
        active_ms: active,
        depth_percent: reach(),
        ...deepest,
        ...counts(),
        items: [...clocks.values()].map((clock) => clock()).filter(Boolean).slice(0, ITEMS_MAX),
      });
    }
  };

  const open = (how?: 'navigate' | 'back_forward') => {
    hide();
    navigation = how || 'navigate';
    observer.disconnect();
    clocks.clear();
    root = null;
    show();
  };

  // Before the client's own listeners: what is tracked here leaves with its last request.
  const hear = (type: string, listener: (event: any) => void) => addEventListener(type, listener, { capture: true, signal: stopped.signal });
  hear('visibilitychange', () => (document.hidden ? hide('hidden') : show()));
  hear('pagehide', () => hide('pagehide'));
  hear('pageshow', (event: PageTransitionEvent) => event.persisted && open('back_forward'));
  hear('click', ({ target }) => {
    const button = (target as Element).closest<HTMLElement>('[data-menu-action]');
    const item = button?.closest<HTMLElement>(ITEM);
    if (item) act('menu:item:ordered', item, { action: button!.dataset.menuAction });
  });
  const mutations = new MutationObserver(look);
  mutations.observe(document, { childList: true, subtree: true });
  show();

  return {
    open: () => open(),
    stop() {
      hide();
      stopped.abort();
      observer.disconnect();
      mutations.disconnect();
    },
  };
}
