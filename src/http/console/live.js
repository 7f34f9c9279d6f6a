// Events as they come in. At most some ten a second are shown, whatever comes: a page that rushes by cannot be read.
import { query } from './api.js';
import { badge, codeLink, el, pairs, put, write } from './dom.js';
import { drawn } from './event.js';
import { first } from './first.js';
import { clock, count, several } from './format.js';
import { watch } from './stream.js';

/** @typedef {import('./types.js').Live} Live */

export const title = 'Live';
export const hint = 'Events as they come in, with what became of each. Open one to read it; the list waits meanwhile.';

const RATE = 10;
const ROWS_MAX = 100;
const DRAW_MS = 250;
const NOTE_MS = 2000;

/** @param {Live} event */
function opened(event, settings = { shows_payloads: false }) {
  const [type, ...subtype] = (event.event_name ?? '').split(':');
  const isTaken = event.outcome === 'accepted';
  return [
    event.detail && el('p', { class: 'why' }, event.code && codeLink(event.code), event.pointer && ` at ${event.pointer}`, `: ${event.detail}`),
    drawn(event.payload ?? event.payload_head ?? 'This event cannot be shown: it is no JSON object, or too long.', event.pointer ? [event.pointer] : []),
    settings.shows_payloads ? null : el('p', { class: 'soft' }, 'Of each value only its kind is shown. ', el('code', {}, 'tail_payloads = true'), ' in ', el('code', {}, '[admin]'), ' shows the values.'),
    el('h3', {}, isTaken ? 'Added by the gateway' : 'What the gateway knows of it'),
    pairs([
      ['received_datetime', event.received_datetime], ['source (the key)', event.key],
      ['event_type', isTaken && type], ['event_subtype', isTaken && (subtype.join(':') || 'null')],
      ['schema_version', event.schema_version], ['bytes', event.bytes], ['replayed', event.replayed && 'yes, from the dead letters'],
    ].filter((pair) => pair[1] !== undefined && pair[1] !== false).map(([name, value]) => [String(name), String(value)])),
    event.event_uuid && el('p', {}, el('a', { href: `#/find/${encodeURIComponent(event.event_uuid)}` }, 'Where is this event?'), event.outcome === 'rejected' && ' · ', event.outcome === 'rejected' && el('a', { href: '#/rejections' }, 'Repair it')),
  ];
}

/** @type {import('./types.js').View['show']} */
export function show(root, context) {
  const list = el('ol', { class: 'events', 'aria-label': 'Events, the newest first' });
  const note = el('p', { class: 'note' }, 'Watching …');
  const trouble = el('p', { class: 'why', role: 'status' });
  const empty = el('div', {}, first(context.settings, 'No event has come yet. This command sends one, and it appears here.'));
  const pause = el('button', { type: 'button', 'aria-pressed': 'false', onclick: () => hold(!isPaused) }, 'Pause');
  const outcome = el('select', { id: 'outcome' }, el('option', { value: '' }, 'all'), ...['accepted', 'duplicate', 'rejected', 'retry'].map((name) => el('option', { value: name }, name)));
  const name = el('input', { id: 'event', placeholder: 'menu:*', autocomplete: 'off', spellcheck: 'false' });
  const key = el('input', { id: 'key', placeholder: 'web*', autocomplete: 'off', spellcheck: 'false' });
  const form = el('form', { class: 'controls', onsubmit: (/** @type {Event} */ event) => (event.preventDefault(), begin()), onchange: () => begin() },
    el('label', { for: 'outcome' }, 'Outcome', outcome), el('label', { for: 'event' }, 'Event name', name), el('label', { for: 'key' }, 'Key', key), pause);
  put(root);
  root.append(form, trouble, note, empty, list);

  let isPaused = false;
  /** @type {Live[]} */
  let waiting = [];
  let [shown, left, since] = [0, 0, Date.now()];
  /** @type {void | (() => void)} */
  let stop;

  /** @param {boolean} isHeld */
  function hold(isHeld) {
    isPaused = isHeld;
    pause.setAttribute('aria-pressed', String(isHeld));
    write(pause, isHeld ? 'Go on' : 'Pause');
    if (isHeld) write(note, 'The list waits.');
    else for (const details of list.querySelectorAll('details[open]')) details.removeAttribute('open');
  }

  function begin() {
    stop?.();
    waiting = [];
    stop = watch(query({ rate: String(RATE), outcome: outcome.value, event: name.value.trim(), key: key.value.trim() }), {
      event: (event) => void waiting.push(event),
      left: (matched, seen) => void (left += matched - seen),
      state: (words) => write(trouble, words),
    });
  }

  /** @param {Live} event */
  function row(event) {
    const details = el('details', { class: event.outcome },
      el('summary', {}, el('time', { datetime: event.received_datetime }, clock(event.received_datetime)), badge(event.outcome),
        el('span', { class: 'name' }, event.event_name ?? 'no name'), el('span', { class: 'key' }, event.key),
        el('span', { class: 'says' }, event.code ? `${event.code}${event.pointer ? ` at ${event.pointer}` : ''}` : event.event_uuid ?? '')));
    details.addEventListener('toggle', () => {
      if (!details.open) return;
      if (details.children.length === 1) details.append(el('div', { class: 'inside' }, ...opened(event, context.settings).filter((child) => child instanceof Node)));
      hold(true);
    });
    return el('li', {}, details);
  }

  const drawing = setInterval(() => {
    if (waiting.length > ROWS_MAX) waiting = waiting.slice(-ROWS_MAX);
    if (!isPaused && waiting.length) {
      shown += waiting.length;
      empty.hidden = true;
      list.prepend(...waiting.reverse().map(row));
      while (list.children.length > ROWS_MAX) list.lastElementChild?.remove();
      waiting = [];
    }
    const ms = Date.now() - since;
    if (ms < NOTE_MS || isPaused) return;
    const all = shown + left;
    write(note, !all ? 'Watching: none has come in the last seconds.'
      : left ? `A fair sample: ${count(shown / ms * 1000)} of ${count(all / ms * 1000)} events a second are shown.` : `${several(shown, 'event')} in the last ${Math.round(ms / 1000)} seconds, all of them shown.`);
    [shown, left, since] = [0, 0, Date.now()];
  }, DRAW_MS);
  begin();
  return () => {
    clearInterval(drawing);
    stop?.();
  };
}
