// Compiled, never run: what is right compiles, and what is wrong does not.
import { createClient } from 'lakegate';
import { menu } from 'lakegate/menu';
import { durable } from 'lakegate/durable';
import { createClient as createService } from 'lakegate/node';

declare module 'lakegate' {
  interface Events {
    'kitchen:ticket:printed': { ticket_number: number };
  }
}

const client = createClient({ url: 'https://localhost:8443/v1/events', key: 'dev', on: ({ status, error }) => console.log(status, error?.pointer) });
const ids = { session_id: 's', visit_id: 'v', restaurant_id: 'r', menu_id: 'm' };
const item = { section_id: 's', section_index: 0, item_id: 'i', item_index: 1, action: 'order' };

const uuid: string = client.track('menu:item:ordered', { ...ids, ...item, quantity: 2, channel: 'dine_in' });
client.track('kitchen:ticket:printed', { ticket_number: 7 });
menu(client).open();
createClient({ url: 'https://localhost:8443/v1/events', key: 'dev', storage: await durable(), debug: false });

// @ts-expect-error: the registry has no such event
client.track('menu:item:eaten', ids);
// @ts-expect-error: session_id and the others are missing
client.track('menu:item:ordered', item);
// @ts-expect-error: a number, not a text
client.track('menu:item:ordered', { ...ids, ...item, quantity: '2' });
// @ts-expect-error: no such channel
client.track('menu:item:ordered', { ...ids, ...item, channel: 'drone' });
// @ts-expect-error: no such field
client.track('menu:item:ordered', { ...ids, ...item, tip: 1 });
// @ts-expect-error: the client writes it
client.track('menu:item:ordered', { ...ids, ...item, created_at: 1 });
// @ts-expect-error: no such field in any event
client.set({ table: 7 });
// @ts-expect-error: a text
client.set({ locale: 7 });

// What was set need not be given again, and what was not, must.
const set = client.set({ restaurant_id: 'r', menu_id: 'm' }).set(client.ids());
set.track('menu:item:ordered', item);
// @ts-expect-error: item_id is missing
set.track('menu:item:ordered', { section_id: 's', section_index: 0, item_index: 1, action: 'order' });

const service = createService({ url: 'https://localhost:8443/v1/events', key: 'dev', spool: '/var/spool/events', concurrency: 2 });
service.track('lesson:started', { lesson_id: 'l', course_id: 'c', student_id: uuid, attempt_number: 1 });
const left: Promise<number> = service.close({ timeoutMs: 5000 });
// @ts-expect-error: there is no visitor to ask
service.consent('granted');
export { left };
