import { setTimeout as pause } from 'node:timers/promises';

/** The first true value of `condition`, asked again and again, every `everyMs`, for at most `seconds`. */
export async function until(what, condition, seconds = 8, everyMs = 50) {
  const deadline = Date.now() + seconds * 1000;
  for (;;) {
    const value = await condition();
    if (value) return value;
    if (Date.now() > deadline) throw new Error(`after ${seconds} s still not: ${typeof what === 'function' ? what() : what}`);
    await pause(everyMs);
  }
}
