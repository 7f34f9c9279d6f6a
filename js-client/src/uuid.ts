let last = 0;
let count = 0;

const hex = (value: number, digits: number) => (value + 16 ** digits).toString(16).slice(-digits);

/**
 * A UUIDv7 (RFC 9562), later than every one before it of this page, also within one millisecond and when the clock is set back.
 * From `getRandomValues`, since `crypto.randomUUID` is missing on insecure origins.
 */
export function uuid(): string {
  const [a, b, c] = crypto.getRandomValues(new Uint32Array(3)) as unknown as [number, number, number];
  const now = Date.now();
  if (now > last) {
    last = now;
    // The counter begins in its lower half, so that there is room for 2,048 events in the same millisecond.
    count = c >>> 21;
  } else if (++count > 4095) {
    last++;
    count = 0;
  }
  const time = hex(last, 12);
  return `${time.slice(0, 8)}-${time.slice(8)}-7${hex(count, 3)}-${hex((a & 16383) | 32768, 4)}-${hex(b, 8) + hex(c, 4)}`;
}

/** When a UUIDv7 was made, in Unix milliseconds. */
export const millisOf = (id: string): number => parseInt(id.slice(0, 8) + id.slice(9, 13), 16);
