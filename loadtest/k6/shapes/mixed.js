// 100 event types at a million events an hour, half from pages, half from services.

import { MIXED_RATE, pages, services, steadyMix } from '../lib/mixed.js';
import { handleSummary, rate, shape } from '../lib/shape.js';

export { handleSummary, pages, services };
export const options = shape(steadyMix(rate(MIXED_RATE)));
