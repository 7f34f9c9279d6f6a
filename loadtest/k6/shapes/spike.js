// The mix, ten times as much of it for half of the run, and back.

import { MIXED_RATE, pages, services, spikingMix } from '../lib/mixed.js';
import { handleSummary, rate, shape } from '../lib/shape.js';

export { handleSummary, pages, services };
export const options = shape(spikingMix(rate(MIXED_RATE), 10));
