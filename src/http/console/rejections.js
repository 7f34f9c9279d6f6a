// Rejected events, grouped by their cause, each with an example and the patch to try.
import { ask, query } from './api.js';
import { codeLink, el, keyed, pairs, put, said, write } from './dom.js';
import { drawn } from './event.js';
import { first } from './first.js';
import { ago, several } from './format.js';
import { understood } from './patch.js';
import { conditions, repair } from './repair.js';
import { watch } from './stream.js';

/** @typedef {import('./types.js').Group} Group */
/** @typedef {import('./types.js').Letter} Letter */

export const title = 'Rejections';
export const hint = 'Events that were not accepted, by their cause. Each is kept whole until it is repaired or dropped.';

const SHOWN_MAX = 100;
const READ_MS = 400;
// A list of very many letters takes the gateway a while: it is not asked for again and again.
const REST_FACTOR = 4;

/** @param {Group} group */
const keyOf = ({ event_name, schema_version, code, pointer, source }) => JSON.stringify([event_name, schema_version, code, pointer, source]);

/** @param {Group} group */
const last = (group) => [group.last_received, group.last_repeated ?? ''].sort()[1] ?? '';

/** The event of a letter: read, if it is JSON. @param {Letter['line']} line @returns {unknown} */
function eventOf(line) {
  const raw = line.raw ?? line.raw_head ?? 'The bytes of this event are no text. `lakegate dead-letters show` prints them.';
  try {
    return JSON.parse(raw);
  } catch {
    return raw;
  }
}

/** What a fault says, in parts. @param {{ pointer: string, detail: string }} fault */
function explained({ pointer, detail }) {
  const { text, expected, actual, meant } = understood(detail);
  return el('div', { class: 'fault' }, pairs([
    ['Where', pointer ? el('code', {}, pointer) : 'the event itself'],
    .../** @type {[string, string][]} */ (expected === undefined ? [['What', text]] : [['Expected', expected], ['Actual', actual]]),
    .../** @type {[string, string][]} */ (meant === undefined ? [] : [['Did you mean', meant]]),
  ]));
}

/** @type {import('./types.js').View['show']} */
export function show(root, { settings }) {
  const summary = el('p', { class: 'note', role: 'status' }, 'Reading the dead letters …');
  const list = el('ul', { class: 'groups' });
  const empty = el('div');
  root.append(summary, empty, list);
  let isGone = false;
  /** @type {Group[]} what is shown */
  let known = [];

  /** @param {Group} group @param {HTMLElement} inside */
  async function open(group, inside) {
    try {
      const where = conditions(group);
      if (group.example_event_uuid) where.push(`event_uuid=${group.example_event_uuid}`);
      const asked = where.map((condition) => query({ where: condition })).join('&');
      const [letter] = /** @type {{ letters: Letter[] }} */ (await ask(`/admin/dead-letters/letters?limit=1&${asked}`)).letters;
      if (!letter) return put(inside, el('p', {}, 'It is repaired meanwhile.'));
      const { line } = letter;
      const event = eventOf(line);
      const faults = line.errors?.length ? line.errors : [{ pointer: line.pointer, detail: line.detail }];
      put(inside, el('p', {}, codeLink(line.code), line.schema ? ` by the schema ${line.schema}` : '', `, received ${ago(line.received_datetime)} with the key ${line.source}`));
      inside.append(...faults.map(explained), el('h3', {}, 'An example'), drawn(event, faults.map(({ pointer }) => pointer), 'An example of such an event'), repair(group, letter, event, settings, read));
    } catch (error) {
      put(inside, el('p', { class: 'why' }, said(error)));
    }
  }

  /** @param {Group} group */
  function make(group) {
    const inside = el('div', { class: 'inside' }, el('p', { class: 'soft' }, 'Reading …'));
    const details = el('details', {}, el('summary'), inside);
    details.addEventListener('toggle', () => {
      if (details.open && !details.dataset.read) {
        details.dataset.read = 'yes';
        open(group, inside);
      }
    });
    return el('li', { class: 'card' }, details);
  }

  /** @param {HTMLElement} item @param {Group} group */
  function update(item, group) {
    put(/** @type {Element} */ (item.querySelector('summary')),
      el('b', { class: 'many' }, several(group.count + group.repeats, 'time')), el('span', { class: 'name' }, group.event_name ?? 'no name', group.schema_version && ` / ${group.schema_version}`),
      el('span', { class: 'says' }, `${group.code}${group.pointer ? ` at ${group.pointer}` : ''}: ${group.example_detail}`), el('span', { class: 'soft' }, `key ${group.source}, ${ago(last(group))}`));
  }

  async function read() {
    try {
      const { groups, letters } = /** @type {{ groups: Group[], letters: number }} */ (await ask('/admin/dead-letters'));
      if (isGone) return;
      groups.sort((one, other) => last(other).localeCompare(last(one)));
      const most = groups.length > SHOWN_MAX ? ` The ${SHOWN_MAX} newest causes are shown.` : '';
      write(summary, letters ? `${several(letters, 'dead letter')} to repair, of ${several(groups.length, 'cause')}.${most}` : 'No dead letter is open.');
      if (!letters !== empty.hasChildNodes()) put(empty, !letters && first(settings, 'Every event that came is accepted, or repaired. To see what a rejection looks like, send an event with a mistyped name:', true));
      // A cause that is repaired while somebody reads it stays until the page is left.
      const there = new Set(groups.map(keyOf));
      const read = known.filter((group) => !there.has(keyOf(group)) && [...list.children].some((item) => /** @type {HTMLElement} */ (item).dataset.key === keyOf(group) && item.querySelector('details[open]')));
      known = [...read, ...groups.slice(0, SHOWN_MAX)];
      keyed(list, known, keyOf, make, (item, group) => (there.has(keyOf(group)) ? update(item, group) : undefined));
    } catch (error) {
      write(summary, said(error));
    }
  }

  // Nothing is read until something is rejected.
  let isDue = true;
  let rest = 0;
  const stop = watch('outcome=rejected&rate=5', { event: () => void (isDue = true), left: () => void (isDue = true) });
  const reading = setInterval(async () => {
    if (!isDue || Date.now() < rest || document.hidden) return;
    [isDue, rest] = [false, Infinity];
    const began = Date.now();
    await read();
    rest = Date.now() + (Date.now() - began) * REST_FACTOR;
  }, READ_MS);
  return () => {
    isGone = true;
    clearInterval(reading);
    stop();
  };
}
