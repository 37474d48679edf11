// What files of a kind begin with: text in Latin-1, one character a byte.

/** The characters of `bytes` from `at` on; fewer where they end before. */
export function latin1(bytes: Uint8Array, at: number, length: number): string {
  return String.fromCharCode(...bytes.subarray(at, at + length));
}

/** Whether `text` stands in `bytes` at `at`. */
export function hasMagic(bytes: Uint8Array, text: string, at = 0): boolean {
  return latin1(bytes, at, text.length) === text;
}
