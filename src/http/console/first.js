// What a reader sees where there is nothing yet: the command that sends a first event.
import { ask } from './api.js';
import { command, el } from './dom.js';

/** @typedef {import('./types.js').Settings} Settings */

/** A UUID of this moment (version 7). */
function uuid() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  new DataView(bytes.buffer).setBigUint64(0, (BigInt(Date.now()) << 16n) | 0x7000n | (BigInt(bytes[7] ?? 0) << 4n) | 0n);
  bytes[8] = (/** @type {number} */ (bytes[8]) & 0x3f) | 0x80;
  return [...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join('').replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-');
}

/** An event of the registry, as of now. */
async function example() {
  const { schemas } = await ask('/v1/schemas');
  for (const { event_name } of schemas) {
    const [found] = (await ask(`/v1/schemas/${encodeURIComponent(event_name)}`)).examples ?? [];
    if (found) return { ...found, event_uuid: uuid(), created_at: Math.floor(Date.now() / 1000) };
  }
  return { event_uuid: uuid(), event_name: 'menu:item:viewed', created_at: Math.floor(Date.now() / 1000) };
}

/** @param {string} text */
const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;

/**
 * The command for an event; `isWrong` for one that is rejected.
 * @param {Settings} settings @param {boolean} isWrong
 */
async function curl({ first_event: { url, certificate, takes_dev } }, isWrong) {
  const event = await example();
  if (isWrong) event.event_name = event.event_name.replace(/(.)(.)$/, '$2$1');
  const trust = certificate ? ` --cacert ${quoted(certificate)}` : '';
  return `curl${trust} ${url} \\\n  -H 'Authorization: Bearer ${takes_dev ? 'dev' : 'YOUR-KEY'}' \\\n  -H 'Content-Type: application/json' \\\n  -d ${quoted(JSON.stringify(event))}`;
}

/** A card with that command. @param {Settings} settings @param {string} words @param {boolean} [isWrong] */
export function first(settings, words, isWrong = false) {
  const card = el('section', { class: 'card first' }, el('h2', {}, isWrong ? 'Nothing is rejected' : 'Send an event'), el('p', {}, words));
  curl(settings, isWrong).then((text) => card.append(command(text, 'The command')), () => {});
  if (!settings.first_event.takes_dev) card.append(el('p', { class: 'soft' }, 'Put the secret of a key in place of YOUR-KEY. ', el('code', {}, 'lakegate keys new'), ' makes one.'));
  return card;
}
