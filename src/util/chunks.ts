// Bytes that come in chunks of any length, taken in buffers of the reader's own.

/** Fills buffers of what comes in chunks of any length. */
export class Chunks {
  readonly #next: () => Promise<Uint8Array | null>;
  #rest: Uint8Array = new Uint8Array(0);

  /** `next` resolves to null at the end. */
  constructor(next: () => Promise<Uint8Array | null>) {
    this.#next = next;
  }

  /** Resolves with how many bytes it has put into `buffer`: fewer than it takes at the end only. Rejects as `next`. */
  async fill(buffer: Uint8Array): Promise<number> {
    let at = 0;
    while (at < buffer.length) {
      if (this.#rest.length === 0) {
        const chunk = await this.#next();
        if (chunk === null) break;
        this.#rest = chunk;
        continue;
      }
      const part = this.#rest.subarray(0, buffer.length - at);
      buffer.set(part, at);
      this.#rest = this.#rest.subarray(part.length);
      at += part.length;
    }
    return at;
  }
}
