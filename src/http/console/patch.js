// Suggests the patch (RFC 6902) that would repair an event, from what the gateway says of its fault.
import { token, valueAt } from './event.js';

/** The name that a text has in quotes, at the place of a pattern. */
function named(text, before, after) {
  const [, found] = new RegExp(`${before}("(?:[^"\\\\]|\\\\.)*")${after}`, 's').exec(text) ?? [];
  try {
    return found && JSON.parse(found);
  } catch {
    return undefined;
  }
}

/** What a fault says, in parts: what was expected and what was there, and what the sender may have meant. */
export function understood(detail) {
  const text = detail.replace(/; did you mean .*/s, '');
  const [, expected, actual] = /^expected (.*?), got (.*)$/s.exec(text) ?? [];
  return { text, expected, actual, meant: named(detail, 'did you mean ', '\\?') };
}

/** The same value as another kind, if the schema wants that. */
function converted(expected, value) {
  const number = typeof value === 'string' && value.trim() ? Number(value) : NaN;
  if (/^an integer/.test(expected) && Number.isInteger(number)) return number;
  if (/^a number/.test(expected) && Number.isFinite(number)) return number;
  if (/^a boolean/.test(expected) && /^(true|false)$/.test(value)) return value === 'true';
  if (/^a string/.test(expected) && /^(number|boolean)$/.test(typeof value)) return String(value);
  return undefined;
}

/**
 * The operations with words for them, and whether they mend all events with this fault alike. Undefined if no patch can mend it.
 * @returns {{ operations: any[], words: string, isForAll?: boolean } | undefined}
 */
export function suggestion({ pointer, detail }, event) {
  if (!event || typeof event !== 'object') return undefined;
  const { expected, meant } = understood(detail);
  const missing = named(detail, 'required field ', ' is missing');
  if (missing !== undefined) return { operations: [{ op: 'add', path: pointer + token(missing), value: null }], words: 'Put the right value in place of null: only you know it.' };
  const unknown = named(detail, '^the field ', ' is not in the schema');
  if (unknown !== undefined) {
    const from = pointer + token(unknown);
    if (meant === undefined) return { operations: [{ op: 'remove', path: from }], words: 'This removes the field with its value. If it should be kept, add it to the schema instead.', isForAll: true };
    return { operations: [{ op: 'move', from, path: pointer + token(meant) }], words: `This gives the field its right name, ${meant}.`, isForAll: true };
  }
  const old = valueAt(event, pointer);
  if (!pointer || old === undefined) return undefined;
  const replace = (value, words, isForAll) => ({ operations: [{ op: 'test', path: pointer, value: old }, { op: 'replace', path: pointer, value }], words, isForAll });
  if (meant !== undefined) return replace(meant, `This writes ${meant}, which the sender probably meant.`, true);
  const other = converted(expected, old);
  return other === undefined ? replace(old, 'Put the right value into the second line: only you know it.', false) : replace(other, `This writes the same value as ${expected}.`, false);
}
