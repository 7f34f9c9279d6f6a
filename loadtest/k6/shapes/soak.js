// The mix for long; run.py watches the gateway's memory meanwhile.

import { MIXED_RATE, pages, services, steadyMix } from '../lib/mixed.js';
import { handleSummary, rate, shape } from '../lib/shape.js';

export { handleSummary, pages, services };
export const options = shape(steadyMix(rate(MIXED_RATE)));
