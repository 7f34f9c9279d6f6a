// Suggests the patch (RFC 6902) that would repair an event, from what the gateway says of its fault.
import { valueAt } from './event.js';

/** @typedef {{ op: string, path: string, from?: string, value?: unknown }} Operation */
/** @typedef {{ operations: Operation[], words: string, isForAll: boolean }} Suggestion `isForAll`: it mends all events with this fault alike. */

/** A name of a fault's text, which is quoted. @param {string | undefined} text @returns {string | undefined} */
function unquoted(text) {
  try {
    return text === undefined ? undefined : JSON.parse(text);
  } catch {
    return undefined;
  }
}

const QUOTED = '("(?:[^"\\\\]|\\\\.)*")';

/** What a fault says: what was expected and what was there, what the sender may have meant, and the name of a field. @param {string} detail */
export function understood(detail) {
  const [, meant] = new RegExp(`did you mean ${QUOTED}\\?$`, 's').exec(detail) ?? [];
  const text = detail.replace(/; did you mean .*\?$/s, '');
  const [, expected, actual] = /^expected (.*?), got (.*)$/s.exec(text) ?? [];
  return {
    text, expected, actual, meant: unquoted(meant),
    missing: unquoted(new RegExp(`required field ${QUOTED} is missing`).exec(text)?.[1]),
    unknown: unquoted(new RegExp(`^the field ${QUOTED} is not in the schema`).exec(text)?.[1]),
  };
}

/** @param {string} name */
const token = (name) => `/${name.replaceAll('~', '~0').replaceAll('/', '~1')}`;

/** The same value as another kind, if the schema wants that. @param {string} expected @param {unknown} value */
function converted(expected, value) {
  const text = String(value).trim();
  if (/^(an integer|a number)/.test(expected) && typeof value === 'string' && text && Number.isFinite(Number(text)) && (expected[2] === 'n' && expected[1] === ' ' || Number.isInteger(Number(text)))) return Number(text);
  if (/^a boolean/.test(expected) && (text === 'true' || text === 'false')) return text === 'true';
  if (/^a string/.test(expected) && (typeof value === 'number' || typeof value === 'boolean')) return String(value);
  return undefined;
}

/**
 * @param {{ pointer: string, detail: string }} fault @param {unknown} event its JSON, as read
 * @returns {Suggestion | undefined} nothing, if a patch cannot mend it
 */
export function suggestion({ pointer, detail }, event) {
  if (event === null || typeof event !== 'object') return undefined;
  const { expected, meant, missing, unknown } = understood(detail);
  if (unknown !== undefined) {
    const from = pointer + token(unknown);
    return meant === undefined
      ? { operations: [{ op: 'remove', path: from }], words: 'This removes the field, and its value with it. If the field should be kept, add it to the schema instead.', isForAll: true }
      : { operations: [{ op: 'move', from, path: pointer + token(meant) }], words: `This gives the field its right name, ${meant}.`, isForAll: true };
  }
  if (missing !== undefined) return { operations: [{ op: 'add', path: pointer + token(missing), value: null }], words: 'Put the right value in place of null: only you know it.', isForAll: false };
  const value = valueAt(event, pointer);
  if (!pointer || value === undefined) return undefined;
  const test = { op: 'test', path: pointer, value };
  if (meant !== undefined) return { operations: [test, { op: 'replace', path: pointer, value: meant }], words: `This writes ${meant}, which the sender probably meant.`, isForAll: true };
  const other = expected === undefined ? undefined : converted(expected, value);
  if (other !== undefined) return { operations: [test, { op: 'replace', path: pointer, value: other }], words: `This writes the same value as ${expected}.`, isForAll: false };
  return { operations: [test, { op: 'replace', path: pointer, value }], words: 'Put the right value into the second line: only you know it.', isForAll: false };
}

/** An operation on each line. @param {Operation[]} operations */
export const written = (operations) => `[\n${operations.map((operation) => `  ${JSON.stringify(operation)}`).join(',\n')}\n]`;
