// What a reader sees where there is nothing yet: the command that sends a first event.
import { ask } from './api.js';
import { command, h, part } from './dom.js';

const TRIED_MAX = 10;

/** A text as a shell reads it. */
export const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;

/** The command for an event of the registry, as of now. */
async function curl({ url, certificate, takes_dev }, isWrong) {
  const { schemas } = await ask('/v1/schemas');
  const documents = await Promise.all(schemas.slice(0, TRIED_MAX).map(({ event_name }) => ask(`/v1/schemas/${encodeURIComponent(event_name)}`)));
  const examples = documents.flatMap((document) => document.examples ?? []);
  // The shortest, because a person reads it.
  const [shortest = { event_name: 'menu:item:viewed' }] = examples.sort((one, other) => JSON.stringify(one).length - JSON.stringify(other).length);
  const event = { ...shortest, event_uuid: crypto.randomUUID(), created_at: Math.floor(Date.now() / 1000) };
  if (isWrong) event.event_name = event.event_name.replace(/(.)(.)$/, '$2$1');
  const trust = certificate ? ` --cacert ${quoted(certificate)}` : '';
  return `curl${trust} ${url} \\\n  -H 'Authorization: Bearer ${takes_dev ? 'dev' : 'YOUR-KEY'}' \\\n  --json ${quoted(JSON.stringify(event))}`;
}

/** A card with that command; `isWrong` for an event that is rejected. */
export function first({ first_event }, words, isWrong = false) {
  const card = part(isWrong ? 'Nothing is rejected' : 'Send an event', h('p', words));
  card.classList.add('first');
  curl(first_event, isWrong).then((text) => card.append(command(text, 'The command')), () => {});
  if (!first_event.takes_dev) card.append(h('p.soft', 'Put the secret of a key in place of YOUR-KEY. ', h('code', 'lakegate keys new'), ' makes one.'));
  return card;
}
