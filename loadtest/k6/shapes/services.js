// Services: connections are kept, 100 events in a request, JSON and NDJSON by turns, half of them packed.

import exec from 'k6/execution';
import { SERVICE_FORMS, post } from '../lib/client.js';
import { events } from '../lib/events.js';
import { handleSummary, rate, shape, steady } from '../lib/shape.js';

const BATCH = 100;

export { handleSummary };
export const options = shape({ services: steady(rate(2000), BATCH) });

export default () => post(events(BATCH), SERVICE_FORMS[exec.scenario.iterationInTest % 4]);
