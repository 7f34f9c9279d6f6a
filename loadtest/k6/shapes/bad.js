// A third of the requests is good, a third holds one bad event in ten, a third only bad ones. Exactly the bad ones are rejected,
// each with the code and the pointer that its schema's examples name.

import exec from 'k6/execution';
import { badEvent } from '../lib/bad.js';
import { FORMS, post } from '../lib/client.js';
import { events } from '../lib/events.js';
import { handleSummary, rate, shape, steady } from '../lib/shape.js';

const BATCH = 10;
const BAD = [0, 1, BATCH];

export { handleSummary };
export const options = shape(
  { bad: steady(rate(300), BATCH) },
  { thresholds: { events_rejected: ['count>0'] } },
);

export default () => {
  const texts = events(BATCH);
  const expected = {};
  const from = Math.floor(Math.random() * BATCH);
  for (let number = 0; number < BAD[exec.scenario.iterationInTest % BAD.length]; number++) {
    const index = (from + number) % BATCH;
    const { text, code, pointer } = badEvent();
    texts[index] = text;
    expected[index] = { status: 'rejected', error: { code, pointer } };
  }
  post(texts, FORMS.json, expected);
};
