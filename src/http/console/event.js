// An event, drawn: its JSON, with the places of its faults marked.
import { box, h } from './dom.js';

/** The names in a JSON pointer. */
export const steps = (pointer) => pointer.split('/').slice(1).map((step) => step.replaceAll('~1', '/').replaceAll('~0', '~'));

/** A name as a step of a JSON pointer. */
export const token = (name) => `/${name.replaceAll('~', '~0').replaceAll('/', '~1')}`;

/** The value at a JSON pointer; undefined if there is none. */
export const valueAt = (value, pointer) => steps(pointer).reduce((around, step) => (around && Object.hasOwn(Object(around), step) ? around[step] : undefined), value);

function draw(value, pointer, indent, faults) {
  const parts = [];
  const entries = value && typeof value === 'object' ? Object.entries(value) : [];
  if (!entries.length) parts.push(JSON.stringify(value));
  else {
    const isArray = Array.isArray(value);
    parts.push(isArray ? '[' : '{');
    entries.forEach(([name, member], at) => {
      parts.push(`${at ? ',' : ''}\n${indent}  `, isArray ? '' : [h('b', JSON.stringify(name)), ': '], ...draw(member, pointer + token(name), `${indent}  `, faults));
    });
    parts.push(`\n${indent}${isArray ? ']' : '}'}`);
  }
  return pointer && faults.includes(pointer) ? [h('mark', parts)] : parts;
}

/** Indented JSON; a text that is none as it is. */
export const drawn = (value, faults = [], label = 'The event as JSON') => box(label, typeof value === 'string' ? value : draw(value, '', '', faults));
