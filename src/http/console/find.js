// Where is my event? Everything that is known of one, in the order in which it happened.
import { ask } from './api.js';
import { codeLink, failed, field, h, input, part, put } from './dom.js';
import { moment, several } from './format.js';

export const title = 'Find';
export const hint = 'Where is my event? Give its event_uuid.';

const kind = (status) => (/^(delivered|accepted|spooled)$/.test(status) ? 'accepted' : 'rejected');
const place = ({ file, row_group, row }) => [' in ', h('code', file), `, row group ${row_group}, row ${row}`];
const withKey = (key) => key && ` with the key ${key}`;

/** What happened, each with its time. */
function steps({ accepted, sent_again, rejected, in_lakes }) {
  const steps = [];
  const step = (time, kind, name, ...words) => steps.push([time, h(`li.${kind}`, h('strong', name), words)]);
  for (const letter of rejected) {
    step(letter.received, 'rejected', 'Rejected', ` at ${moment(letter.received)}`, withKey(letter.key), ': ', codeLink(letter.code), letter.pointer && ` at ${letter.pointer}`, `: ${letter.detail}. `,
      letter.repeats > 0 && `${several(letter.repeats, 'time')} more. `, letter.state === 'open' ? h('a', { href: '#/rejections' }, 'Repair it') : 'It is repaired.');
  }
  for (const { received, between = [], key, event_name, replayed_from, spool, sinks } of accepted) {
    step(received ?? between[0], 'accepted', replayed_from ? 'Replayed' : 'Accepted', ` as ${event_name ?? 'an event'}, received `, received ? `at ${moment(received)}` : `between ${between.map(moment).join(' and ')}`, withKey(key),
      spool && `. Number ${spool.seq} of the spool${spool.is_there ? ', and still there' : ''}`, '.');
    for (const { sink, status, at, shard, rows } of sinks) step(at === null ? '9' : received > at ? received : at, kind(status), sink, `: ${status}`, at && ` at ${moment(at)}`, shard && ` to the shard ${shard}`, (rows ?? []).map(place), '.');
  }
  for (const { times, first, last, key } of sent_again) step(first, 'duplicate', 'Sent again', ` ${several(times, 'time')}, the last at ${moment(last)}`, withKey(key), ': a duplicate, and stored once.');
  for (const row of in_lakes) step(row.received, 'accepted', row.sink, place(row), `, received at ${moment(row.received)}`, withKey(row.key), '.');
  return steps.sort(([one], [other]) => one.localeCompare(other)).map(([, step]) => step);
}

/** @type {import('./main.js').View['show']} */
export function show(root, _, argument) {
  const uuid = input('uuid', { value: argument, size: 38 });
  const found = h('div', { role: 'status' });
  root.append(h('form.controls', { submit: go }, field('event_uuid', uuid), h('button.main', 'Find')), found);

  function go(event) {
    event.preventDefault();
    const hash = `#/find/${encodeURIComponent(uuid.value.trim())}`;
    // A second look at the same event may have another answer.
    if (location.hash === hash) look(uuid.value.trim());
    else location.hash = hash;
  }

  async function look(uuid) {
    put(found, h('p.soft', 'Looking …'));
    try {
      const story = await ask(`/admin/events/${encodeURIComponent(uuid)}`);
      put(found, h('section.card', h(`h2.big.${kind(story.status)}`, story.status.replaceAll('_', ' ')), h('p.lead', story.summary), h('ol.story', steps(story)), story.problems.map((problem) => h('p.why', problem))));
    } catch (error) {
      put(found, failed(error));
    }
  }

  if (argument) look(argument);
  else put(found, part('Which event?', h('p', 'Each event has an event_uuid from its sender. It is in the live view, in the answer to a rejected event, and in the lake. With it you learn when the event was accepted and delivered, and to which file, or why not.')));
}
