import type { Outcome } from './types.js';

/** How an event ends. */
export type End = (event_uuid: string, status: Outcome['status'], error?: Outcome['error']) => void;

/**
 * Obeys the answer to a batch. Returns how many events the next batch may have after a 413, and `0` where a pause is due.
 * What has not ended stays in the queue. An answer that is none of the gateway's throws.
 */
export const obey = (status: number, text: string, ids: string[], end: End): number | undefined => {
  if (status == 413 && ids[1]) return ids.length >> 1;
  if (status > 499 || status == 408 || status == 429) return 0;
  let next: number | undefined;
  const good = status < 300 || status == 422;
  const results: any[] = [];
  for (const result of good ? JSON.parse(text).results : []) results[result.index] = result;
  ids.forEach((id, index) => {
    const { status: fate = 'accepted', error } = results[index] || {};
    if (!good) end(id, 'dropped', { code: status == 413 ? 'too_large' : 'refused', detail: text });
    else if (fate == 'retry') next = 0;
    else end(id, fate, error);
  });
  return next;
};
