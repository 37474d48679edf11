// The chunks that were decompressed last: whoever reads in order, or by small requests, decompresses each chunk once.

const MAX_BYTES = 16 << 20;

export class ChunkCache {
  /** Those that were used last are at the end. */
  readonly #kept = new Map<number, { content: Promise<Uint8Array>; bytes: number }>();
  #bytes = 0;

  /** The content of the chunk `index` where it is kept, or is being decompressed. */
  get(index: number): Promise<Uint8Array> | null {
    const found = this.#kept.get(index);
    if (found === undefined) return null;
    this.#kept.delete(index);
    this.#kept.set(index, found);
    return found.content;
  }

  /** Keeps `content`, which has `bytes`, in place of others; one that fails is not kept. A chunk that is larger than the limit is kept alone. */
  add(index: number, bytes: number, content: Promise<Uint8Array>): void {
    const added = { content, bytes };
    this.#kept.set(index, added);
    this.#bytes += bytes;
    content.catch(() => {
      if (this.#kept.get(index) === added) this.#drop(index, bytes);
    });
    for (const [other, { bytes: its }] of this.#kept) {
      if (this.#bytes <= MAX_BYTES || other === index) break;
      this.#drop(other, its);
    }
  }

  #drop(index: number, bytes: number): void {
    this.#kept.delete(index);
    this.#bytes -= bytes;
  }
}
