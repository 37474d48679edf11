// Keeps blocks of a remote file that were read a moment ago, and fetches more than was asked for where reads go on in order.
//
//   read --all of it is here--> copied
//        --large--------------> fetched into the caller's buffer
//        --small--------------> fetched with what follows it (the window), kept, copied
//
// The window begins at what the user says, and doubles with each read that goes on where the last window ended, up to 2 MiB. Once half of such a window has been read, the next one is fetched in
// advance. While much is under way already, no more is fetched than was asked for.
// Blocks that are fetched are in the cache at once: whoever else wants them waits for the same fetch.

import { reportUnforeseen } from '../../../util/best-effort.js';
import { roundDown } from '../../../util/numbers.js';

/** Bytes of a block. */
export const BLOCK_BYTES = 64 << 10;
/** Blocks that are kept. */
const MOST_BLOCKS = 256;
/** From this length on a read goes into the caller's buffer alone: copying would cost more than a second fetch. */
const LARGE_BYTES = 512 << 10;
const LARGEST_WINDOW_BYTES = 2 << 20;
/** Blocks that are being fetched, from which on nothing is fetched that nobody has asked for. */
const MUCH_UNDER_WAY = MOST_BLOCKS / 2;

interface Block {
  readonly bytes: Uint8Array;
  /** Resolves when they have come; null: they have. */
  coming: Promise<void> | null;
}

/** Fetches a range whole; see `fetchWhole`. */
export type Fetch = (offset: number, length: number, take: (at: number, bytes: Uint8Array) => void) => Promise<void>;

export class ReadCache {
  readonly #size: number;
  readonly #fetch: Fetch;
  readonly #firstWindow: number;
  readonly #largestWindow: number;
  #window: number;
  /** Blocks that are being fetched. */
  #coming = 0;
  /** Where the last window ended, and from where on the next one is fetched in advance. */
  #end = -1;
  #ahead = -1;
  /** By their number; those that were used last come last. */
  readonly #blocks = new Map<number, Block>();

  /** `window`: bytes that are fetched at least, where something is. */
  constructor(size: number, window: number, fetch: Fetch) {
    this.#size = size;
    this.#fetch = fetch;
    this.#firstWindow = Math.max(window, BLOCK_BYTES);
    this.#largestWindow = Math.max(this.#firstWindow, LARGEST_WINDOW_BYTES);
    this.#window = this.#firstWindow;
  }

  /** Reads a range within the file. Rejects as the fetch. */
  async read(offset: number, buffer: Uint8Array): Promise<void> {
    const end = offset + buffer.length;
    if (buffer.length >= LARGE_BYTES && !this.#holds(offset, end)) {
      await this.#fetch(offset, buffer.length, (at, bytes) => buffer.set(bytes, at));
      return;
    }
    const blocks = this.#blocksOf(offset, end);
    this.#fetchAhead(end);
    const first = roundDown(offset, BLOCK_BYTES);
    for (const [i, block] of blocks.entries()) {
      if (block.coming !== null) await block.coming;
      const start = first + i * BLOCK_BYTES;
      const from = Math.max(offset, start);
      buffer.set(block.bytes.subarray(from - start, Math.min(end - start, BLOCK_BYTES)), from - offset);
    }
  }

  #holds(offset: number, end: number): boolean {
    for (let at = roundDown(offset, BLOCK_BYTES); at < end; at += BLOCK_BYTES) {
      if (!this.#blocks.has(at / BLOCK_BYTES)) return false;
    }
    return true;
  }

  /** The blocks of a range; those that are not here are being fetched. */
  #blocksOf(offset: number, end: number): Block[] {
    const found: Block[] = [];
    for (let at = roundDown(offset, BLOCK_BYTES); at < end; at += BLOCK_BYTES) {
      const number = at / BLOCK_BYTES;
      let block = this.#blocks.get(number);
      if (block === undefined) {
        const goesOn = at === this.#end;
        this.#window = goesOn ? Math.min(this.#window * 2, this.#largestWindow) : this.#firstWindow;
        const more = this.#coming < MUCH_UNDER_WAY ? this.#window : 0;
        this.#fetchWindow(at, Math.max(end - at, more), goesOn);
        block = this.#blocks.get(number)!;
      }
      // It was used last.
      this.#blocks.delete(number);
      this.#blocks.set(number, block);
      found.push(block);
    }
    this.#forgetOldest();
    return found;
  }

  /** Begins to fetch from `start`, a block's, to `length` bytes further, the file's end or the next block that is here. `goesOn`: the next window is to be fetched in advance. */
  #fetchWindow(start: number, length: number, goesOn: boolean): void {
    const limit = Math.min(this.#size, start + length);
    let end = start;
    while (end < limit && !this.#blocks.has(end / BLOCK_BYTES)) end = Math.min(end + BLOCK_BYTES, this.#size);
    const mine: Block[] = [];
    // Nothing is called before the blocks are all there.
    const coming = Promise.resolve().then(() =>
      this.#fetch(start, end - start, (at, bytes) => scatter(mine, at, bytes)),
    );
    for (let at = start; at < end; at += BLOCK_BYTES) {
      const block: Block = { bytes: new Uint8Array(Math.min(BLOCK_BYTES, end - at)), coming };
      mine.push(block);
      this.#blocks.set(at / BLOCK_BYTES, block);
    }
    this.#coming += mine.length;
    coming.then(
      () => {
        this.#coming -= mine.length;
        for (const block of mine) block.coming = null;
      },
      (error: unknown) => {
        this.#coming -= mine.length;
        // Who reads these blocks gets the error; after that, they are fetched again. A fetch in advance that nobody waits for fails unseen.
        reportUnforeseen('fetching ahead', error);
        for (const [i, block] of mine.entries()) {
          const number = start / BLOCK_BYTES + i;
          if (this.#blocks.get(number) === block) this.#blocks.delete(number);
        }
      },
    );
    this.#end = end;
    this.#ahead = goesOn ? start + (end - start) / 2 : -1;
  }

  #fetchAhead(reached: number): void {
    if (this.#ahead < 0 || reached < this.#ahead || this.#end >= this.#size || this.#coming >= MUCH_UNDER_WAY) return;
    if (this.#blocks.has(this.#end / BLOCK_BYTES)) return;
    this.#window = Math.min(this.#window * 2, this.#largestWindow);
    this.#fetchWindow(this.#end, this.#window, true);
    this.#forgetOldest();
  }

  /** Blocks that are still to come stay: somebody may wait for them. */
  #forgetOldest(): void {
    for (const [number, { coming }] of this.#blocks) {
      if (this.#blocks.size <= MOST_BLOCKS) return;
      if (coming === null) this.#blocks.delete(number);
    }
  }
}

/** Copies bytes that lie `at` bytes behind the start of the first block. */
function scatter(blocks: readonly Block[], at: number, bytes: Uint8Array): void {
  for (let done = 0; done < bytes.length; ) {
    const place = at + done;
    const within = place % BLOCK_BYTES;
    const part = bytes.subarray(done, done + BLOCK_BYTES - within);
    blocks[Math.floor(place / BLOCK_BYTES)].bytes.set(part, within);
    done += part.length;
  }
}
