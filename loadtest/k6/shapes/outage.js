// The mix, while the stream stops answering for a third of the run (run.py stops it): no answer may say so.

import { MIXED_RATE, pages, services, steadyMix } from '../lib/mixed.js';
import { handleSummary, rate, shape } from '../lib/shape.js';

export { handleSummary, pages, services };
export const options = shape(steadyMix(rate(MIXED_RATE)));
