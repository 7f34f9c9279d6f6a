// The registry: which events there are, their versions and fields, and who sends what.
import { ask, query } from './api.js';
import { failed, field, h, input, part, put, table } from './dom.js';
import { steps } from './event.js';
import { several, whole } from './format.js';
import { watch } from './stream.js';

export const title = 'Schemas';
export const hint = 'The events that the gateway knows, with their versions and fields, and who sends them.';

const RATE = 100;
const DRAW_MS = 500;
const DEPTH_MAX = 8;
/** What the gateway writes itself: no sender sends it. */
const ADDED = new Set(['created_datetime', 'event_type', 'event_subtype', 'received_datetime', 'source']);

const typeOf = ({ enum: values, const: value, type = [], format }) => values?.join(' | ') ?? (value !== undefined ? String(value) : [type].flat().join(' or ') + (format ? ` (${format})` : ''));

/** All fields of a schema, with those of the objects in it: by name, as `lines[].sku`. @returns {Map<string, any>} */
function fieldsOf(root) {
  const found = new Map();
  const resolved = ({ $ref = '', ...rest }) => ($ref[0] === '#' ? { ...resolved(steps($ref).reduce((part, step) => part?.[step], root) ?? {}), ...rest } : rest);
  const walk = (part, before, depth) => {
    if (depth > DEPTH_MAX) return;
    const schema = resolved(part);
    for (const [name, member] of Object.entries(schema.properties ?? {})) {
      const property = resolved(member);
      found.set(before + name, { name: before + name, type: typeOf(property), words: property.description, ...found.get(before + name) });
      walk(property, `${before}${name}.`, depth + 1);
      if (property.items) walk(property.items, `${before}${name}[].`, depth + 1);
    }
    for (const branch of [schema.allOf, schema.anyOf, schema.oneOf].flat()) if (branch) walk(branch, before, depth + 1);
    for (const name of schema.required ?? []) if (found.has(before + name)) found.get(before + name).required = true;
  };
  walk(root, '', 0);
  return found;
}

/** The names of the fields that an event has, written in the same way. */
function present(value, before, into) {
  if (Array.isArray(value)) for (const element of value) present(element, `${before.slice(0, -1)}[].`, into);
  else if (value && typeof value === 'object') {
    for (const [name, member] of Object.entries(value)) {
      into.add(before + name);
      present(member, `${before}${name}.`, into);
    }
  }
  return into;
}

const countUp = (counts, name) => counts.set(name, (counts.get(name) ?? 0) + 1);

/** Shows one event. Gives the end of it. */
async function one(root, { event_name, title, versions, latest }) {
  const name = encodeURIComponent(event_name);
  const schema = await ask(`/v1/schemas/${name}/${latest}`);
  const fields = fieldsOf(schema);
  const [sample, differences] = [h('p.note', { role: 'status' }), h('div')];
  const senders = table('Who sends which version, in the sample', ['Key', 'Version', '#Events seen']);
  const body = table(`The fields of ${event_name} / ${latest}`, ['Field', 'Type', 'Needed', 'Seen', 'Meaning']);
  const [from, to] = ['from', 'to'].map((id, at) => h('select', { id, change: () => compare() }, versions.map((version) => h('option', { selected: version === versions.at(at - 2) }, version))));
  root.append(h('p', h('a', { href: '#/schemas' }, 'All schemas')), part(`${event_name} / ${latest}`, h('p.lead', title), h('p', schema.description)), part('Who sends it', sample, senders.root), part('Fields', body.root));
  if (versions.length > 1) root.append(part('What changed', h('div.controls', field('From version', from), field('to version', to)), differences));

  const compare = () => ask(`/admin/schemas/${name}/diff?${query({ from: from.value, to: to.value })}`).then(({ changes }) => {
    put(differences, changes.length ? h('ul', changes.map(({ field, detail }) => h('li', h('code', field || 'the event'), `: ${detail}`))) : h('p', 'Nothing.'));
  }, (error) => put(differences, failed(error)));
  if (versions.length > 1) compare();

  // Nothing is counted while nobody looks: this is a sample of what comes in from now on.
  const [sent, seen, since] = [new Map(), new Map(), new Date().toISOString().slice(11, 19)];
  let events = 0;
  const stop = watch(query({ rate: String(RATE), event: event_name }), ({ key, schema_version, payload, outcome }) => {
    if (outcome === 'rejected') return;
    events += 1;
    countUp(sent, `${key} ${schema_version ?? 'none'}`);
    for (const name of present(payload, '', new Set())) countUp(seen, name);
  });
  const fill = () => {
    const never = [...fields.keys()].filter((name) => !seen.has(name) && !ADDED.has(name)).join(', ');
    put(sample, !events ? `None has come since ${since} UTC. What comes in is counted here while this page is open.` : `${several(events, 'event')} since ${since} UTC, a sample of what comes in. ${never ? `Never seen among them: ${never}.` : 'Each field was seen.'}`);
    senders.root.hidden = !events;
    senders.fill([...sent].sort(([, one], [, other]) => other - one), ([sender]) => sender, ([sender, number]) => {
      const [key, version] = sender.split(' ');
      return [key, version === String(latest) ? `${version}, the newest` : version, whole(number)];
    });
    body.fill([...fields.values()], ({ name }) => name, ({ name, type, required, words }) => [name, type, required ? 'yes' : 'no', ADDED.has(name) ? 'added' : !events ? '–' : seen.has(name) ? `${Math.round((100 * seen.get(name)) / events)} %` : 'never', words]);
  };
  fill();
  const drawing = setInterval(fill, DRAW_MS);
  return () => {
    clearInterval(drawing);
    stop();
  };
}

/** @type {import('./main.js').View['show']} */
export function show(root, _, argument) {
  let isGone = false;
  let stop = () => {};
  ask('/v1/schemas').then(async ({ schemas }) => {
    const listed = schemas.find(({ event_name }) => event_name === argument);
    if (listed) {
      stop = await one(root, listed);
      return isGone && stop();
    }
    const list = table('The events of the registry', ['Event', 'Title', 'Versions']);
    const draw = () => list.fill(schemas.filter(({ event_name, title }) => `${event_name} ${title}`.toLowerCase().includes(search.value.toLowerCase())), ({ event_name }) => event_name,
      ({ event_name, title, versions }) => [h('a', { href: `#/schemas/${encodeURIComponent(event_name)}` }, event_name), title, versions.join(', ')]);
    const search = input('search', { input: draw });
    if (argument) root.append(h('p.why', `No schema is named ${argument}.`));
    root.append(h('div.controls', field('Search', search)), part(several(schemas.length, 'event'), list.root));
    draw();
  }).catch((error) => root.append(failed(error)));
  return () => {
    isGone = true;
    stop();
  };
}
