// Numbers and times as people read them, as `lakegate top` writes them.

export const UNKNOWN = '–';

/** @typedef {number | null | undefined} Known */

/** @param {Known} number @param {number} step @param {string[]} units */
function scaled(number, step, units) {
  if (number === null || number === undefined || !Number.isFinite(number)) return UNKNOWN;
  if (number > 0 && number < 0.005) return '<0.01' + units[0];
  let unit = 0;
  while (Math.abs(number) >= step - 0.5 && unit + 1 < units.length) [number, unit] = [number / step, unit + 1];
  const digits = Number.isInteger(number) || number >= 99.95 ? 0 : number >= 0.95 ? 1 : 2;
  return number.toFixed(digits) + units[unit];
}

/** `0.25`, `12`, `3.4k` @param {Known} number */
export const count = (number) => scaled(number, 1000, ['', 'k', 'M', 'G', 'T']);

/** `512 B`, `4.5 MiB` @param {Known} number */
export const bytes = (number) => scaled(number, 1024, [' B', ' KiB', ' MiB', ' GiB', ' TiB']);

/** Every digit. @param {number} number */
export const whole = (number) => number.toLocaleString('en');

/** `1 event`, `2 events` @param {number} number @param {string} one @param {string} [more] */
export const several = (number, one, more = one + 's') => `${whole(number)} ${number === 1 ? one : more}`;

/** `250 µs`, `1.2 ms`, `3.4 s`, `2 h 05 min` @param {Known} seconds */
export function time(seconds) {
  if (seconds === null || seconds === undefined || !Number.isFinite(seconds)) return UNKNOWN;
  if (seconds === 0) return '0 s';
  if (seconds < 0.0009995) return `${(seconds * 1e6).toFixed(0)} µs`;
  if (seconds < 0.9995) return `${(seconds * 1e3).toFixed(seconds < 0.009995 ? 1 : 0)} ms`;
  if (seconds < 120) return `${seconds.toFixed(seconds < 9.95 ? 1 : 0)} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 120) return `${minutes} min`;
  if (minutes < 2880) return `${Math.floor(minutes / 60)} h ${String(minutes % 60).padStart(2, '0')} min`;
  return `${Math.floor(minutes / 1440)} d ${Math.floor((minutes / 60) % 24)} h`;
}

/** How long ago a time was. @param {string | null | undefined} iso */
export function ago(iso) {
  if (!iso) return 'never';
  const seconds = (Date.now() - Date.parse(iso)) / 1000;
  return seconds < 5 ? 'just now' : `${time(Math.max(0, seconds))} ago`;
}

/** The time of day in UTC, as all that the gateway writes. @param {string} iso */
export const clock = (iso) => iso.slice(11, 23);

/** Date and time in UTC. @param {string} iso */
export const moment = (iso) => `${iso.slice(0, 10)} ${iso.slice(11, 19)} UTC`;
