// The stream of live events (`/admin/tail`).

const RETRY_MS = 2000;

/**
 * Calls `event` with each event until the function that it gives is called, and `left` with how many of some were not shown.
 * @param {string} query @param {(event: any) => void} event @param {(left: number) => void} [left] @param {(words: string) => void} [state]
 */
export function watch(query, event, left = () => {}, state = () => {}) {
  let source, later;
  const open = () => {
    source = new EventSource(`/admin/tail?${query}`);
    const heard = (kind, take) => source.addEventListener(kind, (message) => take(JSON.parse(message.data)));
    heard('event', event);
    heard('sampled', ({ shown, matched }) => left(matched - shown));
    heard('missed', ({ events }) => left(events));
    source.onopen = () => state('');
    source.onerror = () => {
      const isRefused = source.readyState === EventSource.CLOSED;
      state(`${isRefused ? 'Eight watch already.' : 'The stream has ended.'} Trying again.`);
      if (isRefused) later = setTimeout(open, RETRY_MS);
    };
  };
  open();
  return () => {
    clearTimeout(later);
    source.close();
  };
}
