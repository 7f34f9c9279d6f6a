// Guests who never were: visits of the demo's menu over the last five weeks, so that the answers have something to draw and to compare.
import { createHash } from 'node:crypto';
import { RESTAURANT, SECTIONS } from './dishes.mjs';

const DAYS = 35;
/** How many guests come on a day, by weekday from Sunday on: the weekend is full, Monday is quiet. */
const GUESTS = [9, 4, 5, 6, 7, 10, 12];
const HOURS = [12, 12, 13, 13, 13, 14, 19, 20, 20, 20, 21, 21, 22];
/** Out of how many guests one goes on to the next section. */
const GO_ON = 0.82;
const BATCH = 500;

/** The same numbers for the same seed. */
function dice(seed) {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** The events of `count` visits that ended before `now` (Unix seconds). A dish is liked by its place in the alphabet. */
export function visits(count, now, seed = 1) {
  const roll = dice(seed);
  const uuid = () => {
    const hex = createHash('sha256').update(`${now} ${roll()} ${roll()}`).digest('hex');
    return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-4${hex.slice(13, 16)}-a${hex.slice(17, 20)}-${hex.slice(20, 32)}`;
  };
  const events = [];
  for (let visit = 0; visit < count; visit++) {
    let time;
    do {
      const midnight = Math.floor(now / 86400) * 86400 - Math.floor(roll() * DAYS) * 86400;
      time = midnight + HOURS[Math.floor(roll() * HOURS.length)] * 3600 + roll() * 3600;
    } while (time > now - 1800 || roll() > GUESTS[new Date(time * 1000).getUTCDay()] / 12);
    const language = roll() < 0.6 ? 'pt' : 'en';
    const begin = time;
    const shared = {
      session_id: uuid(), visit_id: uuid(), restaurant_id: RESTAURANT.id, menu_id: 'dinner', page_path: `/${language}`,
      locale: language, utc_offset_minutes: 0,
    };
    const active = () => ({ active_ms: Math.round((time - begin) * 1000) });
    const add = (event_name, fields) => events.push({ event_uuid: uuid(), event_name, created_at: Math.round(time * 1000) / 1000, ...shared, ...fields });
    add('menu:page:opened', { viewport: { width_px: 390, height_px: 780 }, navigation: 'navigate', section_count: SECTIONS.length });
    const items = [];
    let deepest = {};
    for (const [section_index, section] of SECTIONS.entries()) {
      if (section_index > 0 && roll() > GO_ON) break;
      const here = { section_id: section.id, section_index, section_name: section.name[language] };
      time += 1 + roll() * 2;
      add('menu:section:reached', { ...here, ...active(), depth_percent: Math.round((100 * (section_index + 1)) / SECTIONS.length) });
      deepest = { deepest_section_id: section.id, deepest_section_index: section_index };
      for (const [item_index, [item_id, price_minor, pt, en]] of section.items.entries()) {
        const liked = (item_id.charCodeAt(0) % 7) / 7;
        const seconds = roll() * (2 + 6 * liked);
        time += seconds;
        const dish = { ...here, item_id, item_index, item_name: language === 'pt' ? pt : en, price_minor, currency: 'EUR' };
        if (seconds >= 1) add('menu:item:viewed', { ...dish, ...active(), dwell_ms: 1000, view_number: 1 });
        if (seconds >= 1 && roll() < 0.04 + 0.22 * liked) add('menu:item:ordered', { ...dish, ...active(), action: 'order', quantity: 1 });
        items.push({ item_id, section_id: section.id, dwell_ms: Math.round(seconds * 1000), view_count: seconds >= 1 ? 1 : 0 });
      }
    }
    const depth_percent = Math.round((100 * ((deepest.deepest_section_index ?? -1) + 1)) / SECTIONS.length);
    add('menu:visit:progress', { progress_index: 0, reason: 'pagehide', ...active(), depth_percent, ...deepest, items });
  }
  return events;
}

/** Posts the visits of `count` guests. */
export async function come(count, { url, key }) {
  const events = visits(count, Math.floor(Date.now() / 1000));
  for (let first = 0; first < events.length; first += BATCH) {
    const response = await fetch(url, {
      method: 'POST', headers: { 'x-api-key': key, 'content-type': 'application/json' }, body: JSON.stringify(events.slice(first, first + BATCH)),
    });
    if (response.status !== 202) throw new Error(`the gateway answered ${response.status}: ${await response.text()}`);
  }
  return events.length;
}
