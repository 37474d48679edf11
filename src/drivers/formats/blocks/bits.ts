// Bits in bytes, the lowest of a byte first.

/** Whether bit `bit` of `bytes` is set. */
export function hasBit(bytes: Uint8Array, bit: number): boolean {
  return (bytes[bit >>> 3] & (1 << (bit & 7))) !== 0;
}

/** A set of numbers below a limit. */
export class Bits {
  readonly #bytes: Uint8Array;

  constructor(limit: number) {
    this.#bytes = new Uint8Array(Math.ceil(limit / 8));
  }

  has(value: number): boolean {
    return hasBit(this.#bytes, value);
  }

  add(value: number): void {
    this.#bytes[value >>> 3] |= 1 << (value & 7);
  }

  /** Adds the numbers of another set with the same limit. */
  addAll(other: Bits): void {
    for (let i = 0; i < this.#bytes.length; i++) this.#bytes[i] |= other.#bytes[i];
  }
}
