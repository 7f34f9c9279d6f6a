// The stream of live events (`/admin/tail`).

/** @typedef {import('./types.js').Live} Live */

const RETRY_MS = 2000;

/**
 * Watches until the function that it gives is called. `left` is told how many of `matched` events of some milliseconds are not shown.
 * @param {string} query
 * @param {{ event(event: Live): void, left?(matched: number, shown: number, ms: number): void, state?(words: string): void }} on
 */
export function watch(query, on) {
  /** @type {EventSource | undefined} */
  let source;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let later;
  const open = () => {
    source = new EventSource(`/admin/tail?${query}`);
    /** @param {string} kind @param {(data: any) => void} take */
    const heard = (kind, take) => source?.addEventListener(kind, (message) => take(JSON.parse(message.data)));
    source.onopen = () => on.state?.('');
    heard('event', on.event);
    heard('sampled', ({ shown, matched, milliseconds }) => on.left?.(matched, shown, milliseconds));
    heard('missed', ({ events, milliseconds }) => on.left?.(events, 0, milliseconds));
    source.onerror = () => {
      const isRefused = source?.readyState === EventSource.CLOSED;
      on.state?.(isRefused ? 'The gateway does not let another reader in: eight may watch at one time. Trying again.' : 'The stream has ended. Trying again.');
      if (isRefused) later = setTimeout(open, RETRY_MS);
    };
  };
  open();
  return () => {
    clearTimeout(later);
    source?.close();
  };
}
