// What the shapes share: rates, the length of the run, thresholds, and the summary that run.py reads.

// A slow build on a busy machine is given more time, and k6 more requests that it may not get to; all else stays as strict.
const latencyFactor = Number(__ENV.LATENCY_FACTOR || 1);

export const seconds = Number(__ENV.SECONDS);

// Events per second: as the command line has it, or as the shape does.
export const rate = (usual) => Number(__ENV.RATE || usual);

// Requests per hour (arrival rates are whole numbers), from events per second.
const perHour = (eventsPerSecond, batch) => Math.round((eventsPerSecond * 3600) / batch);

// Requests that can be open at once, a virtual user each: enough for answers that take half a second. Should they take longer, k6
// makes more users and keeps the rate; but while it makes one, requests that are due are dropped.
function users(requestsPerHour) {
  const preAllocatedVUs = 5 + Math.ceil((requestsPerHour / 3600) * 0.5);
  return { preAllocatedVUs, maxVUs: preAllocatedVUs * 10 };
}

// An open model: requests arrive when they are due, whether or not the ones before were answered.
export function steady(eventsPerSecond, batch, exec = 'default') {
  const rate = perHour(eventsPerSecond, batch);
  const arrivals = { rate, timeUnit: '1h', duration: `${seconds}s` };
  return { executor: 'constant-arrival-rate', ...arrivals, ...users(rate), exec, gracefulStop: '30s' };
}

// A quarter of the time at the rate, half of it at `times` the rate, and back.
export function spike(eventsPerSecond, batch, times, exec = 'default') {
  const low = perHour(eventsPerSecond, batch);
  const phase = (share, target) => ({ duration: `${Math.round(seconds * share * 1000)}ms`, target });
  const stages = [phase(0.23, low), phase(0.04, low * times), phase(0.46, low * times), phase(0.04, low), phase(0.23, low)];
  const arrivals = { startRate: low, timeUnit: '1h', stages };
  return { executor: 'ramping-arrival-rate', ...arrivals, ...users(low * times), exec, gracefulStop: '30s' };
}

// What a request may take, from its first byte to the last of its answer. With the sync to disk it is 1 to 5 ms on a machine with
// nothing else to do; these limits leave room for one that has. The budget itself is held by `make bench`.
const MEDIAN_MS = 20;
const P99_MS = 250;

// Every shape's options; `thresholds` and all else go over these.
export function shape(scenarios, { thresholds = {}, ...more } = {}) {
  const requests = Object.values(scenarios).reduce((sum, one) => sum + ((one.rate ?? one.startRate) / 3600) * seconds, 0);
  return {
    scenarios,
    thresholds: {
      checks: ['rate==1'],
      http_req_failed: ['rate==0'],
      http_req_duration: [`med<${MEDIAN_MS * latencyFactor}`, `p(99)<${P99_MS * latencyFactor}`],
      events_retry: ['count==0'],
      events_unanswered: ['count==0'],
      // What k6 did not get to start: with more of them it, or the machine, was too slow for the rate to be true.
      dropped_iterations: [`count<=${Math.ceil(requests * 0.01 * latencyFactor)}`],
      ...thresholds,
    },
    summaryTrendStats: ['avg', 'med', 'p(95)', 'p(99)', 'p(99.9)', 'max'],
    ...more,
  };
}

export const handleSummary = (data) => ({ [__ENV.SUMMARY]: JSON.stringify(data) });
