import type { Outcome } from './types.js';

/** How an event ends. */
export type End = (event_uuid: string, status: Outcome['status'], error?: Outcome['error']) => void;

/**
 * Obeys the answer to a batch. What has not ended stays in the queue. Returns
 *
 * - `undefined`: all has ended;
 * - a number above 0: try again at once, with at most so many events in a batch;
 * - `0`: try again after a pause;
 * - `-1`: refused for a reason that lies outside of the events (the key, the address, something that is no gateway). A person must
 *   mend it, so the pauses grow long.
 *
 * Events end only by counts that add up to the batch, whatever the status, or by a problem of the gateway's own with the body of a
 * single event. The pages of proxies, of login pages and of other servers have neither.
 *
 * `results` may be cut: of events to be sent again it never lacks one, but of rejected ones it may. So what is not listed is
 * asked again in smaller batches, whose answers fit.
 */
export const obey = (status: number, text: string, ids: string[], end: End): number | undefined => {
  const half = ids.length >> 1;
  let next: number | undefined;
  let answer: any;
  try {
    answer = JSON.parse(text);
  } catch {}
  const { accepted, results, results_truncated, code } = answer || {};
  if (accepted >= 0 && results) {
    ids.forEach((id, index) => {
      const { status: fate = !results_truncated && 'accepted', error } = results.find((one: any) => one.index == index) || {};
      if (!fate) next ??= half;
      else if (fate == 'retry') next = 0;
      else end(id, fate, error);
    });
  } else if (status > 499 || status == 408 || status == 429) next = 0;
  else {
    // A gateway's problem repeats the status of its answer.
    const ours = code && answer.status == status;
    const isBody = status == 413 || (ours && status == 400);
    if (!isBody) next = -1;
    else if (half) next = half;
    else if (ours) end(ids[0]!, 'dropped', { code: status == 413 ? 'too_large' : 'refused', detail: text });
    else next = -1;
  }
  return next;
};
