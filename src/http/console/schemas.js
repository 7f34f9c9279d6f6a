// The registry: which events there are, their versions and fields, and who sends what.
import { ask, query } from './api.js';
import { el, part, put, said, table, write } from './dom.js';
import { drawn, steps } from './event.js';
import { several, whole } from './format.js';
import { watch } from './stream.js';

/** @typedef {import('./types.js').Listed} Listed */
/** @typedef {import('./types.js').Schema} Schema */
/** @typedef {{ name: string, type: string, required: boolean, words: string }} Field */

export const title = 'Schemas';
export const hint = 'The events that the gateway knows, with their versions and fields, and who sends them.';

const RATE = 100;
const DRAW_MS = 500;
const DEPTH_MAX = 8;

/** @param {Schema} schema */
function typeOf(schema) {
  if (schema.enum) return schema.enum.map(String).join(' | ');
  if (schema.const !== undefined) return String(schema.const);
  return [schema.type ?? []].flat().join(' or ') + (schema.format ? ` (${schema.format})` : '');
}

/** All fields of a schema, with those of the objects in it. @param {Schema} root @returns {Field[]} */
function fields(root) {
  /** @type {Map<string, Field>} */
  const found = new Map();
  /** @param {Schema} schema @returns {Schema} */
  const resolved = (schema) => {
    const { $ref, ...rest } = schema ?? {};
    if (typeof $ref !== 'string' || !$ref.startsWith('#')) return schema ?? {};
    return { ...steps($ref.slice(1)).reduce((part, step) => part?.[step], root), ...rest };
  };
  /** @param {Schema} part @param {string} before @param {number} depth */
  const walk = (part, before, depth) => {
    if (depth > DEPTH_MAX) return;
    const schema = resolved(part);
    for (const [name, member] of Object.entries(schema.properties ?? {})) {
      const field = resolved(member);
      found.set(before + name, { name: before + name, type: typeOf(field), required: found.get(before + name)?.required ?? false, words: field.description ?? '' });
      walk(field, `${before}${name}.`, depth + 1);
      if (field.items) walk(field.items, `${before}${name}[].`, depth + 1);
    }
    for (const branch of [schema.allOf, schema.anyOf, schema.oneOf].flatMap((all) => all ?? [])) walk(branch, before, depth + 1);
    for (const name of schema.required ?? []) {
      const field = found.get(before + name);
      if (field) field.required = true;
    }
  };
  walk(root, '', 0);
  return [...found.values()];
}

/** The names of the fields that an event has, as `fields` writes them. @param {any} value @param {string} before @param {Set<string>} into */
function present(value, before, into) {
  if (Array.isArray(value)) for (const element of value) present(element, `${before.slice(0, -1)}[].`, into);
  else if (value !== null && typeof value === 'object') {
    for (const [name, member] of Object.entries(value)) {
      into.add(before + name);
      present(member, `${before}${name}.`, into);
    }
  }
}

/** @type {import('./types.js').View['show']} */
export function show(root, _, argument) {
  /** @type {void | (() => void)} */
  let stop;
  let isGone = false;
  const list = table('The events of the registry', ['Event', 'Title', 'Versions']);
  const filter = el('input', { id: 'filter', autocomplete: 'off', spellcheck: 'false', placeholder: 'menu', oninput: () => draw() });
  /** @type {Listed[]} */
  let all = [];
  const draw = () => list.fill(all.filter(({ event_name, title }) => `${event_name} ${title}`.toLowerCase().includes(filter.value.trim().toLowerCase())), ({ event_name }) => event_name, ({ event_name, title, versions }) => [
    el('a', { href: `#/schemas/${encodeURIComponent(event_name)}` }, event_name), title, versions.join(', '),
  ]);

  /** @param {Listed} listed */
  async function one({ event_name, title, versions, latest }) {
    const path = `/v1/schemas/${encodeURIComponent(event_name)}`;
    const schema = /** @type {Schema} */ (await ask(`${path}/${latest}`));
    if (isGone) return;
    const found = fields(schema);
    const body = table(`The fields of ${event_name} / ${latest}`, ['Field', 'Type', 'Needed', 'Seen', 'Meaning']);
    const senders = table('Who sends which version, in the sample', ['Key', 'Version', '#Events seen']);
    const sample = el('p', { class: 'note', role: 'status' }, 'Watching what comes in …');
    const differences = el('div');
    const [from, to] = ['from', 'to'].map((id, at) => el('select', { id, onchange: () => compare() }, ...versions.map((version) => el('option', { selected: version === versions.at(at - 2) }, String(version)))));
    root.append(el('p', {}, el('a', { href: '#/schemas' }, 'All schemas')), part(`${event_name} / ${latest}`, el('p', { class: 'lead' }, title), el('p', {}, schema.description ?? '')),
      part('Who sends it', sample, senders.root), part('Fields', body.root));
    if (versions.length > 1) root.append(part('What changed', el('div', { class: 'controls' }, el('label', { for: 'from' }, 'From version', from), el('label', { for: 'to' }, 'to version', to)), differences));
    if (schema.examples?.[0]) root.append(part('An example', drawn(schema.examples[0])));

    async function compare() {
      try {
        const { changes } = await ask(`/admin/schemas/${encodeURIComponent(event_name)}/diff?${query({ from: from?.value ?? '', to: to?.value ?? '' })}`);
        put(differences, changes.length ? el('ul', {}, ...changes.map((/** @type {import('./types.js').Change} */ change) => el('li', {}, el('code', {}, change.field || 'the event'), ` ${change.kind.replaceAll('_', ' ')}: ${change.detail}`))) : el('p', {}, 'Nothing.'));
      } catch (error) {
        put(differences, el('p', { class: 'why' }, said(error)));
      }
    }
    if (versions.length > 1) compare();

    // Nothing is counted while nobody looks: this is a sample of what comes in from now on.
    /** @type {Map<string, number>} */
    const sent = new Map();
    /** @type {Map<string, number>} */
    const seen = new Map();
    let events = 0;
    const since = new Date().toISOString().slice(11, 19);
    stop = watch(query({ rate: String(RATE), event: event_name }), { event({ key, schema_version, payload, outcome }) {
      if (outcome === 'rejected') return;
      events += 1;
      const sender = JSON.stringify([key, schema_version ?? null]);
      sent.set(sender, (sent.get(sender) ?? 0) + 1);
      /** @type {Set<string>} */
      const names = new Set();
      present(payload, '', names);
      for (const name of names) seen.set(name, (seen.get(name) ?? 0) + 1);
    } });
    const fill = () => {
      const never = found.filter(({ name }) => !seen.has(name));
      write(sample, !events ? `None has come since ${since} UTC. A sample of what comes in is counted here while this page is open.`
        : `${several(events, 'event')} since ${since} UTC, a sample of what comes in. ${never.length ? `Never seen among them: ${never.map(({ name }) => name).join(', ')}.` : 'Each field was seen.'}`);
      senders.root.hidden = !events;
      senders.fill([...sent].sort(([, one], [, other]) => other - one), ([sender]) => sender, ([sender, number]) => {
        const [key, version] = JSON.parse(sender);
        return [key, version === null ? 'none' : version === latest ? `${version}, the newest` : `${version}, an older one`, whole(number)];
      });
      body.fill(found, ({ name }) => name, ({ name, type, required, words }) => [name, type, required ? 'yes' : 'no', !events ? '–' : seen.has(name) ? `${Math.round((100 * (seen.get(name) ?? 0)) / events)} %` : 'never', words]);
    };
    fill();
    const drawing = setInterval(fill, DRAW_MS);
    const end = stop;
    stop = () => {
      clearInterval(drawing);
      end();
    };
  }

  ask('/v1/schemas').then(async ({ schemas }) => {
    all = schemas;
    if (isGone) return;
    const listed = all.find(({ event_name }) => event_name === argument);
    if (listed) return one(listed);
    if (argument) root.append(el('p', { class: 'why' }, `No schema is named ${argument}.`));
    root.append(el('div', { class: 'controls' }, el('label', { for: 'filter' }, 'Search', filter)), part(several(all.length, 'event'), list.root));
    draw();
    if (!all.length) root.append(el('p', {}, 'The registry is empty. ', el('code', {}, 'lakegate schemas new menu:item:viewed'), ' makes a first schema.'));
  }).catch((error) => root.append(el('p', { class: 'why' }, said(error))));
  return () => {
    isGone = true;
    stop?.();
  };
}
