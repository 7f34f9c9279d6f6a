// Rejected events, grouped by their cause, each with an example and the patch to try.
import { ask, query } from './api.js';
import { codeLink, failed, h, keyed, pairs, put } from './dom.js';
import { drawn } from './event.js';
import { first } from './first.js';
import { ago, several } from './format.js';
import { understood } from './patch.js';
import { conditions, repair } from './repair.js';
import { watch } from './stream.js';

export const title = 'Rejections';
export const hint = 'Events that were not accepted, by their cause. Each is kept whole until it is repaired or dropped.';

const SHOWN_MAX = 100;
const READ_MS = 400;
/** Very many letters take the gateway a while: it rests so many times longer than it reads. */
const REST_FACTOR = 4;

const keyOf = ({ event_name, schema_version, code, pointer, source }) => JSON.stringify([event_name, schema_version, code, pointer, source]);
const last = ({ last_received, last_repeated }) => (last_repeated > last_received ? last_repeated : last_received);

/** The event of a letter: read, if it is JSON. */
function eventOf({ raw, raw_head }) {
  const text = raw ?? raw_head ?? 'Its bytes are no text: `lakegate dead-letters show` prints them.';
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

/** What a fault says, in parts. */
function explained({ pointer, detail }) {
  const { text, expected, actual, meant } = understood(detail);
  const parts = expected ? [['Expected', expected], ['Actual', actual]] : [['What', text]];
  return h('div.fault', pairs([['Where', pointer || 'the event itself'], ...parts, ...(meant ? [['Did you mean', meant]] : [])]));
}

/** @type {import('./main.js').View['show']} */
export function show(root, { settings }) {
  const [summary, empty, list] = [h('p.note', { role: 'status' }, 'Reading the dead letters …'), h('div'), h('ul.groups')];
  root.append(summary, empty, list);
  let [isDue, rest] = [true, 0];
  /** @type {any[]} the groups that are shown */
  let known = [];

  async function open(group, inside) {
    try {
      const where = [...conditions(group), ...(group.example_event_uuid ? [`event_uuid=${group.example_event_uuid}`] : [])];
      const { letters: [letter] } = await ask(`/admin/dead-letters/letters?${where.map((condition) => query({ where: condition })).join('&')}`);
      if (!letter) return put(inside, h('p', 'It is repaired meanwhile.'));
      const { line } = letter;
      const [event, faults] = [eventOf(line), line.errors ?? [line]];
      inside.replaceChildren(h('p', codeLink(line.code), line.schema && ` by the schema ${line.schema}`, `, received ${ago(line.received_datetime)} with the key ${line.source}`), ...faults.map(explained),
        h('h2', 'An example'), drawn(event, faults.map(({ pointer }) => pointer), 'An example of such an event'), repair(group, letter, event, settings, read));
    } catch (error) {
      put(inside, failed(error));
    }
  }

  function make(group) {
    const inside = h('div.inside', 'Reading …');
    let isRead = false;
    return h('li.card', h('details', { toggle: () => {
      if (!isRead) open(group, inside);
      isRead = true;
    } }, h('summary'), inside));
  }

  const update = (item, group) => put(item.querySelector('summary'),
    h('b.many', several(group.count + group.repeats, 'time')), h('span.name', group.event_name ?? 'no name', group.schema_version && ` / ${group.schema_version}`),
    h('span.says', `${group.code}${group.pointer ? ` at ${group.pointer}` : ''}: ${group.example_detail}`), h('span.soft', `key ${group.source}, ${ago(last(group))}`));

  async function read() {
    try {
      const { groups, letters } = await ask('/admin/dead-letters');
      groups.sort((one, other) => last(other).localeCompare(last(one)));
      put(summary, letters ? `${several(letters, 'dead letter')} to repair, of ${several(groups.length, 'cause')}. ${groups.length > SHOWN_MAX ? `The newest ${SHOWN_MAX} are shown.` : ''}` : 'No dead letter is open.');
      if (!letters !== empty.hasChildNodes()) put(empty, !letters && first(settings, 'To see a rejection, send an event with a mistyped name:', true));
      // A cause that is repaired while somebody reads it stays until the page is left.
      const there = new Set(groups.map(keyOf));
      const open = new Set([...list.children].filter((item) => item.querySelector('[open]')).map((item) => item.dataset.key));
      known = [...known.filter((group) => !there.has(keyOf(group)) && open.has(keyOf(group))), ...groups.slice(0, SHOWN_MAX)];
      keyed(list, known, keyOf, make, update);
    } catch (error) {
      put(summary, error.message);
    }
  }

  // Nothing is read until something is rejected.
  const due = () => (isDue = true);
  const stop = watch('outcome=rejected&rate=5', due, due);
  const reading = setInterval(async () => {
    if (!isDue || Date.now() < rest || document.hidden) return;
    [isDue, rest] = [false, Infinity];
    const began = Date.now();
    await read();
    rest = Date.now() + (Date.now() - began) * REST_FACTOR;
  }, READ_MS);
  return () => {
    clearInterval(reading);
    stop();
  };
}
