// Asks the gateway.

const ATTEMPTS = 8;
const PAUSE_MS = 400;

/**
 * The answer as JSON; with a body it is a POST. A busy gateway has begun nothing, and is asked again.
 * @param {string} path @param {unknown} [body] @returns {Promise<any>}
 */
export async function ask(path, body) {
  const request = body === undefined ? {} : { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) };
  for (let attempt = 1; ; attempt += 1) {
    const response = await fetch(path, { ...request, cache: 'no-cache' });
    if (response.ok) return response.json();
    const { code, detail = response.statusText } = await response.json().catch(() => ({}));
    if (code !== 'busy' || attempt === ATTEMPTS) throw new Error(detail);
    await new Promise((done) => setTimeout(done, PAUSE_MS));
  }
}

/** @param {Record<string, string>} parameters */
export const query = (parameters) => String(new URLSearchParams(Object.entries(parameters).filter(([, value]) => value)));

/** Calls `read` now and then, while somebody looks at the page. Gives the end of it. */
export function every(ms, read) {
  read();
  const timer = setInterval(() => document.hidden || read(), ms);
  return () => clearInterval(timer);
}
