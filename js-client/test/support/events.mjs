import { randomUUID } from 'node:crypto';

const session_id = randomUUID();
const visit_id = randomUUID();

/** The fields of an event that the registry knows. */
export const fields = (index = 0) => ({
  session_id, visit_id, restaurant_id: 'tasca-do-lago', menu_id: 'dinner', section_id: 'mains', section_index: index % 1000,
});
export const NAME = 'menu:section:reached';
