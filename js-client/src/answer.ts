import type { Outcome } from './types.js';

/** How an event ends. */
export type End = (event_uuid: string, status: Outcome['status'], error?: Outcome['error']) => void;

/**
 * Obeys the answer to a batch. Returns how many events the next batch may have after a 413, and `0` where a pause is due.
 * What has not ended stays in the queue. An answer that is none of the gateway's throws.
 *
 * `results` may be cut: of events to be sent again it never lacks one, but of rejected ones it may. So what is not listed is
 * asked again in smaller batches, whose answers fit.
 */
export const obey = (status: number, text: string, ids: string[], end: End): number | undefined => {
  const half = ids.length >> 1;
  if (status == 413 && half) return half;
  if (status > 499 || status == 408 || status == 429) return 0;
  let next: number | undefined;
  const good = status < 300 || status == 422;
  const { results, results_truncated } = good ? JSON.parse(text) : { results: [] };
  ids.forEach((id, index) => {
    const { status: fate = !results_truncated && 'accepted', error } = results.find((one: any) => one.index == index) || {};
    if (!good) end(id, 'dropped', { code: status == 413 ? 'too_large' : 'refused', detail: text });
    else if (!fate) next ??= half;
    else if (fate == 'retry') next = 0;
    else end(id, fate, error);
  });
  return next;
};
