const hex = (value: number) => value.toString(16);

// In milliseconds and fractions of one. The fraction's last bit is always set, so that it has three digits in base 16.
let last = 0;

/**
 * A UUIDv7 (RFC 9562), later than every one before it of this page, also within one millisecond (of which it makes 1,024, before it
 * begins the next) and when the clock is set back. From `getRandomValues`, since `crypto.randomUUID` is missing on insecure origins.
 */
export function uuid(): string {
  const [a, b, c] = crypto.getRandomValues(new Uint32Array(3)) as unknown as [number, number, number];
  // 42 bits and 11: exact until the year 2109.
  last = Math.max(Date.now() + 2 ** -11, last + 2 ** -10);
  return `${hex(last).replace(/(.{7})(.{4})./, '0$1-$2-7')}-${hex((a & 16383) | 32768)}-${hex(2 ** 48 + b * 65536 + (c >>> 16)).slice(1)}`;
}

/** When a UUIDv7 was made, in Unix milliseconds. */
export const millisOf = (id: string): number => parseInt(id.replace('-', ''), 16);
