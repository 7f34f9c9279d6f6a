// An event, drawn: its JSON, with a fault marked.
import { el } from './dom.js';

/** @param {string} pointer */
export const steps = (pointer) => pointer.split('/').slice(1).map((step) => step.replaceAll('~1', '/').replaceAll('~0', '~'));

/** The value at a JSON pointer; undefined if there is none. @param {any} value @param {string} pointer */
export const valueAt = (value, pointer) =>
  steps(pointer).reduce((around, step) => (around !== null && typeof around === 'object' && Object.hasOwn(around, step) ? around[step] : undefined), value);

/**
 * Indented JSON. Values at the JSON pointers of `faults` are marked.
 * @param {unknown} value @param {string[]} [faults] @param {string} [label]
 */
export function drawn(value, faults = [], label = 'The event as JSON') {
  const code = el('code');
  /** @param {any} value @param {string} pointer @param {string} indent @param {HTMLElement} into */
  const draw = (value, pointer, indent, into) => {
    const isFault = pointer !== '' && faults.includes(pointer);
    const target = isFault ? el('mark') : into;
    if (value === null || typeof value !== 'object' || !Object.keys(value).length) target.append(JSON.stringify(value));
    else {
      const isArray = Array.isArray(value);
      const entries = Object.entries(value);
      target.append(isArray ? '[' : '{');
      entries.forEach(([name, member], at) => {
        target.append(`\n${indent}  `, isArray ? '' : el('b', {}, JSON.stringify(name)), isArray ? '' : ': ');
        draw(member, `${pointer}/${name.replaceAll('~', '~0').replaceAll('/', '~1')}`, `${indent}  `, target);
        if (at + 1 < entries.length) target.append(',');
      });
      target.append(`\n${indent}${isArray ? ']' : '}'}`);
    }
    if (isFault) into.append(target);
  };
  if (typeof value === 'string') code.append(value);
  else draw(value, '', '', code);
  return el('pre', { class: 'json', tabindex: '0', role: 'region', 'aria-label': label }, code);
}
