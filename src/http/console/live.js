// Events as they come in. At most some ten a second are shown, whatever comes: a page that rushes by cannot be read.
import { query } from './api.js';
import { badge, codeLink, field, findLink, h, input, pairs, put } from './dom.js';
import { drawn } from './event.js';
import { first } from './first.js';
import { count, several } from './format.js';
import { watch } from './stream.js';

export const title = 'Live';
export const hint = 'Events as they come in, and what became of each. Open one to read it: the list waits.';

const RATE = 10;
const ROWS_MAX = 60;
const DRAW_MS = 250;
const NOTE_MS = 2000;

/** What an open row has. */
function opened(event, showsPayloads) {
  const { outcome, code, pointer, detail, event_uuid, payload, payload_head, event_name = '', schema_version } = event;
  const isTaken = outcome === 'accepted';
  const [type, subtype = null] = event_name.split(':');
  const known = [['received_datetime', event.received_datetime], ['source (the key)', event.key]];
  if (isTaken) known.push(['event_type', type], ['event_subtype', String(subtype)]);
  // Of an event that is not valid it may be any number.
  if (isTaken && payload?.created_at > 0) known.push(['created_datetime', new Date(payload.created_at * 1000).toISOString()]);
  if (schema_version) known.push(['schema_version', schema_version]);
  if (event.replayed) known.push(['replayed', 'from the dead letters']);
  return h('div.inside', detail && h('p.why', codeLink(code), pointer && ` at ${pointer}`, `: ${detail}`),
    drawn(payload ?? payload_head ?? 'No JSON object, or too long to be shown.', [pointer]),
    !showsPayloads && h('p.soft', 'Of each value only its kind is shown. ', h('code', 'tail_payloads = true'), ' in ', h('code', '[admin]'), ' shows the values.'),
    h('h2', isTaken ? 'Added by the gateway' : 'Known of it'), pairs(known),
    event_uuid && h('p', findLink(event_uuid, 'Where is this event?'), outcome === 'rejected' && [' · ', h('a', { href: '#/rejections' }, 'Repair it')]));
}

/** @type {import('./main.js').View['show']} */
export function show(root, { settings }) {
  const list = h('ol.events', { 'aria-label': 'Events, the newest first' });
  const [note, trouble] = [h('p.note', 'Watching …'), h('p.why', { role: 'status' })];
  const empty = h('div', first(settings, 'No event has come yet. This command sends one.'));
  const pause = h('button', { type: 'button', 'aria-pressed': false, click: () => hold(!isPaused) }, 'Pause');
  const outcome = h('select', { id: 'outcome' }, h('option', { value: '' }, 'all'), ['accepted', 'duplicate', 'rejected', 'retry'].map((name) => h('option', name)));
  const [name, key] = [['event', 'menu:*'], ['key', 'web*']].map(([id, placeholder]) => input(id, { placeholder }));
  const form = h('form.controls', { submit: (event) => event.preventDefault(), change: () => begin() }, field('Outcome', outcome), field('Event name', name), field('Key', key), pause);
  root.append(form, trouble, note, empty, list);

  let [isPaused, shown, left, since] = [false, 0, 0, Date.now()];
  /** @type {any[]} events that are not drawn yet */
  let waiting = [];
  let stop = () => {};

  function hold(isHeld) {
    isPaused = isHeld;
    pause.setAttribute('aria-pressed', isHeld);
    put(pause, isHeld ? 'Go on' : 'Pause');
    if (isHeld) put(note, 'The list waits.');
    else for (const details of list.querySelectorAll('[open]')) details.open = false;
  }

  function begin() {
    stop();
    waiting = [];
    stop = watch(query({ rate: String(RATE), outcome: outcome.value, event: name.value.trim(), key: key.value.trim() }), (event) => waiting.push(event), (more) => (left += more), (words) => put(trouble, words));
  }

  function row(event) {
    const time = event.received_datetime;
    const summary = h('summary', h('time', { datetime: time }, time.slice(11, 23)), badge(event.outcome), h('span.name', event.event_name ?? 'no name'), h('span.key', event.key),
      h('span.says', event.code ? `${event.code}${event.pointer ? ` at ${event.pointer}` : ''}` : event.event_uuid));
    return h('li', h(`details.${event.outcome}`, { toggle: ({ target }) => {
      if (!target.open) return;
      if (!summary.nextSibling) target.append(opened(event, settings.shows_payloads));
      hold(true);
    } }, summary));
  }

  const drawing = setInterval(() => {
    waiting = waiting.slice(-ROWS_MAX);
    if (!isPaused && waiting.length) {
      shown += waiting.length;
      empty.hidden = true;
      list.prepend(...waiting.reverse().map(row));
      while (list.children.length > ROWS_MAX) list.lastChild.remove();
      waiting = [];
    }
    const seconds = (Date.now() - since) / 1000;
    if (seconds * 1000 < NOTE_MS || isPaused) return;
    put(note, left ? `A fair sample: ${count(shown / seconds)} of ${count((shown + left) / seconds)} events a second are shown.` : shown ? `${several(shown, 'event')} in the last ${seconds.toFixed(0)} seconds, all of them shown.` : 'Watching: none has come in the last seconds.');
    [shown, left, since] = [0, 0, Date.now()];
  }, DRAW_MS);
  begin();
  return () => {
    clearInterval(drawing);
    stop();
  };
}
