// Numbers and times as people read them, as `lakegate top` writes them. What is not known is a dash.

const isKnown = (number) => typeof number === 'number' && Number.isFinite(number);

function scaled(number, step, units) {
  if (!isKnown(number)) return '–';
  if (number > 0 && number < 0.005) return '<0.01' + units[0];
  let unit = 0;
  while (number >= step - 0.5 && unit + 1 < units.length) [number, unit] = [number / step, unit + 1];
  return number.toFixed(Number.isInteger(number) || number >= 99.95 ? 0 : number >= 0.95 ? 1 : 2) + units[unit];
}

/** `0.25`, `12`, `3.4k` */
export const count = (number) => scaled(number, 1000, ['', 'k', 'M', 'G', 'T']);

/** `512 B`, `4.5 MiB` */
export const bytes = (number) => scaled(number, 1024, [' B', ' KiB', ' MiB', ' GiB', ' TiB']);

/** Every digit. */
export const whole = (number) => number.toLocaleString('en');

/** `1 event`, `2 events` */
export const several = (number, what) => `${whole(number)} ${what}${number === 1 ? '' : 's'}`;

/** `250 µs`, `1.2 ms`, `3.4 s`, `2 h 05 min` */
export function time(seconds) {
  if (!isKnown(seconds)) return '–';
  if (seconds === 0) return '0 s';
  if (seconds < 0.0009995) return `${(seconds * 1e6).toFixed(0)} µs`;
  if (seconds < 0.9995) return `${(seconds * 1e3).toFixed(seconds < 0.009995 ? 1 : 0)} ms`;
  if (seconds < 120) return `${seconds.toFixed(seconds < 9.95 ? 1 : 0)} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 120) return `${minutes} min`;
  if (minutes < 2880) return `${Math.floor(minutes / 60)} h ${String(minutes % 60).padStart(2, '0')} min`;
  return `${Math.floor(minutes / 1440)} d ${Math.floor((minutes / 60) % 24)} h`;
}

/** How long ago a time was. */
export function ago(iso) {
  if (!iso) return 'never';
  const seconds = (Date.now() - Date.parse(iso)) / 1000;
  return seconds < 5 ? 'just now' : `${time(seconds)} ago`;
}

/** Date and time in UTC, as in all that the gateway writes. */
export const moment = (iso) => `${iso.slice(0, 10)} ${iso.slice(11, 19)} UTC`;
