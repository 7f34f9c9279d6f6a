// Of 20 events 4 were sent before: 3 with an earlier request, 1 in this one. Exactly those are duplicates.

import { FORMS, post } from '../lib/client.js';
import { events } from '../lib/events.js';
import { handleSummary, rate, shape, steady } from '../lib/shape.js';

const BATCH = 20;
const FROM_EARLIER = 3;

export { handleSummary };
export const options = shape(
  { duplicates: steady(rate(300), BATCH) },
  { thresholds: { events_duplicates: ['count>0'] } },
);

// Of this virtual user's request before, which was answered: an event on its way would be `retry`.
let earlier = [];

export default () => {
  const fresh = events(BATCH - earlier.length - 1);
  // Its twin has an index below its own, so this one is the duplicate.
  const again = [...earlier, fresh[0]];
  const texts = [...fresh, ...again];
  const expected = {};
  again.forEach((_, index) => {
    expected[fresh.length + index] = { status: 'duplicate' };
  });
  post(texts, FORMS.json, expected);
  earlier = fresh.slice(-FROM_EARLIER);
};
