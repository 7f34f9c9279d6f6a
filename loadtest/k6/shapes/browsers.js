// Pages: a TLS connection for every request, 1 to 5 menu events in it, plain text.

import exec from 'k6/execution';
import { FORMS, post } from '../lib/client.js';
import { menuEvents } from '../lib/events.js';
import { handleSummary, rate, shape, steady } from '../lib/shape.js';

export { handleSummary };
export const options = shape(
  { browsers: steady(rate(300), 3) },
  { noConnectionReuse: true, noVUConnectionReuse: true },
);

export default () => post(menuEvents(1 + (exec.scenario.iterationInTest % 5)), FORMS.page);
