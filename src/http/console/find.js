// Where is my event? Everything that is known of one, in the order in which it happened.
import { ask } from './api.js';
import { codeLink, el, put, said } from './dom.js';
import { moment, several } from './format.js';

/** @typedef {import('./types.js').Story} Story */
/** @typedef {import('./types.js').Row} Row */

export const title = 'Find';
export const hint = 'Where is my event? Give its event_uuid.';

const GOOD = new Set(['delivered', 'accepted', 'spooled']);

/** @param {Row} row */
const place = ({ file, row_group, row }) => el('span', {}, 'in ', el('code', {}, file), `, row group ${row_group}, row ${row}`);

/** @param {Story} story */
function steps({ accepted, sent_again, rejected, in_lakes }) {
  /** @type {[string, HTMLElement][]} each with its time, to be sorted by */
  const steps = [];
  for (const letter of rejected) {
    steps.push([letter.received, el('li', { class: 'rejected' }, el('strong', {}, 'Rejected'), ` at ${moment(letter.received)}, with the key ${letter.key}: `, codeLink(letter.code), letter.pointer && ` at ${letter.pointer}`, `: ${letter.detail}. `,
      letter.repeats ? `${several(letter.repeats, 'time')} more. ` : '', letter.state === 'open' ? el('a', { href: '#/rejections' }, 'Repair it') : 'It is repaired.')]);
  }
  for (const event of accepted) {
    const when = event.received ? `at ${moment(event.received)}` : event.between ? `between ${moment(event.between[0])} and ${moment(event.between[1])}` : '';
    steps.push([event.received ?? event.between?.[0] ?? '', el('li', { class: 'accepted' }, el('strong', {}, event.replayed_from ? 'Replayed' : 'Accepted'), ` as ${event.event_name ?? 'an event'}, received ${when}`, event.key && ` with the key ${event.key}`,
      event.spool && `. Number ${event.spool.seq} of the spool${event.spool.is_there ? ', and still there' : ''}`, '.')]);
    for (const sink of event.sinks) {
      const rows = sink.rows?.flatMap((row) => [' ', place(row)]) ?? [];
      steps.push([`${sink.at ?? '9'}`, el('li', { class: GOOD.has(sink.status) ? 'accepted' : 'rejected' }, el('strong', {}, sink.sink), `: ${sink.status}`, sink.at && ` at ${moment(sink.at)}`, sink.shard && ` to the shard ${sink.shard}`, ...rows, '.')]);
    }
  }
  for (const { times, first, last, key } of sent_again) steps.push([first, el('li', {}, el('strong', {}, 'Sent again'), ` ${several(times, 'time')}, the last at ${moment(last)}`, key && ` with the key ${key}`, ': a duplicate, and stored once.')]);
  for (const row of in_lakes) steps.push([row.received, el('li', { class: 'accepted' }, el('strong', {}, row.sink), ': ', place(row), `, received at ${moment(row.received)} with the key ${row.key}.`)]);
  return steps.sort(([one], [other]) => one.localeCompare(other)).map(([, step]) => step);
}

/** @type {import('./types.js').View['show']} */
export function show(root, _, argument) {
  const input = el('input', { id: 'uuid', value: argument, placeholder: '01a1f059-0e41-719a-b0ae-3071d38cf734', autocomplete: 'off', spellcheck: 'false', size: 38 });
  const found = el('div', { role: 'status' });
  root.append(el('form', { class: 'controls', onsubmit: (/** @type {Event} */ event) => (event.preventDefault(), go()) }, el('label', { for: 'uuid' }, 'event_uuid', input), el('button', { class: 'main' }, 'Find')), found);

  function go() {
    const uuid = input.value.trim();
    // A second look at the same event is another answer.
    if (uuid && location.hash === `#/find/${encodeURIComponent(uuid)}`) look(uuid);
    else location.hash = `#/find/${encodeURIComponent(uuid)}`;
  }

  /** @param {string} uuid */
  async function look(uuid) {
    put(found, el('p', { class: 'soft' }, 'Looking …'));
    try {
      const story = /** @type {Story} */ (await ask(`/admin/events/${encodeURIComponent(uuid)}`));
      const { window, ledger } = story.known_since;
      put(found, el('section', { class: 'card' }, el('h2', { class: GOOD.has(story.status) ? 'good' : 'bad' }, story.status.replaceAll('_', ' ')), el('p', { class: 'lead' }, story.summary),
        el('ol', { class: 'story' }, ...steps(story)), ...story.problems.map((problem) => el('p', { class: 'why' }, problem)),
        el('p', { class: 'soft' }, window && `Identities are remembered since ${moment(window)}. `, ledger && `The ledger begins at ${moment(ledger)}.`)));
    } catch (error) {
      put(found, el('p', { class: 'why' }, said(error)));
    }
  }

  if (argument) look(argument);
  else put(found, el('section', { class: 'card' }, el('h2', {}, 'Which event?'), el('p', {}, 'Each event carries an event_uuid that its sender gave it. It is in the answer to a rejected event, in the live view, and in the lake. The console then tells when the event was accepted, when it was delivered and to which file, and why it was not.')));
}
