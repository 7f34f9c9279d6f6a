// The button that sends events with the faults that people make, one after the other.
const about = () => ({
  event_uuid: crypto.randomUUID(), event_name: 'menu:item:ordered', created_at: Date.now() / 1000, session_id: crypto.randomUUID(), visit_id: crypto.randomUUID(),
  restaurant_id: 'tasca-do-lago', menu_id: 'dinner', section_id: 'mains', section_index: 2, item_id: 'polvo', item_index: 1, item_name: 'Polvo à lagareiro', action: 'order',
});
const FAULTS = [
  ['a price that is text', (event) => ({ ...event, price_minor: '19,80', currency: 'EUR' })],
  ['an order without its dish', ({ item_id, ...event }) => event],
  ['a name that nobody registered', (event) => ({ ...event, event_name: 'menu:item:orderd' })],
];
let next = 0;

/** Sends the next one as the library would, and gives what to say of it. */
async function sendBadEvent({ url, key }) {
  const [name, make] = FAULTS[next++ % FAULTS.length];
  const answer = await fetch(`${url}?key=${key}`, { method: 'POST', headers: { 'content-type': 'text/plain' }, body: JSON.stringify(make(about())) });
  return `Sent: ${name}. The gateway answered ${answer.status}.`;
}

document.querySelector('#bad').addEventListener('click', async ({ target }) => {
  document.querySelector('#sent').textContent = await sendBadEvent(target.dataset);
});
