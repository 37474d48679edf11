// Looks at many bytes at memcmp's speed. A callback a byte (`every`, `some`) took a fifth of the time of the simulations.

/** Whether all of `bytes` are `value`. */
export function isFilled(bytes: Uint8Array, value: number): boolean {
  if (bytes.length === 0) return true;
  return bytes[0] === value && Buffer.compare(bytes.subarray(1), bytes.subarray(0, -1)) === 0;
}

export function isZero(bytes: Uint8Array): boolean {
  return isFilled(bytes, 0);
}
