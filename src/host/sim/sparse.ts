// The bytes of one simulated file: 4 KiB pages in chunks of 256, so that a file of a tebibyte takes memory only for its data.
//
//   chunks: Map(1 MiB index -> [page or hole, 256 of them])      reserved: pages allocated without data
//
// `clone` shares the pages; the first write to a page copies it (`owned`: pages that no other file shares).

import { RangeSet } from './ranges.js';

export const PAGE = 4096;
const PAGES_PER_CHUNK = 256;

interface Chunk {
  pages: (Uint8Array | undefined)[];
  held: number;
}

export class SparseBytes {
  size = 0;
  private chunks = new Map<number, Chunk>();
  private sortedChunks: number[] | undefined;
  private owned = new Set<Uint8Array>();
  private reserved = new RangeSet();
  private dataPages = 0;

  /** Bytes on the disk: pages with data, and reserved ones. */
  get allocated(): number {
    return (this.dataPages + this.reserved.count) * PAGE;
  }

  clone(): SparseBytes {
    const copy = new SparseBytes();
    copy.size = this.size;
    for (const [index, chunk] of this.chunks) {
      copy.chunks.set(index, { pages: chunk.pages.slice(), held: chunk.held });
    }
    copy.reserved = this.reserved.clone();
    copy.dataPages = this.dataPages;
    this.owned.clear();
    return copy;
  }

  /** Fills `out`; holes, and bytes beyond the end, are zeroes. */
  read(offset: number, out: Uint8Array): void {
    for (let done = 0; done < out.length; ) {
      const at = offset + done;
      const inPage = at % PAGE;
      const length = Math.min(PAGE - inPage, out.length - done);
      const page = at < this.size ? this.page(Math.floor(at / PAGE)) : undefined;
      if (page === undefined) out.fill(0, done, done + length);
      else out.set(page.subarray(inPage, inPage + length), done);
      done += length;
    }
  }

  /** Writes and grows the size where needed. */
  write(offset: number, data: Uint8Array): void {
    for (let done = 0; done < data.length; ) {
      const at = offset + done;
      const inPage = at % PAGE;
      const length = Math.min(PAGE - inPage, data.length - done);
      this.writablePage(Math.floor(at / PAGE)).set(data.subarray(done, done + length), inPage);
      done += length;
    }
    if (data.length > 0) this.size = Math.max(this.size, offset + data.length);
  }

  /** Number of pages of the range that a write would have to allocate. */
  missingPages(offset: number, length: number): number {
    const first = Math.floor(offset / PAGE);
    const end = Math.ceil((offset + length) / PAGE);
    let missing = end - first - this.reserved.countIn(first, end);
    this.eachPage(first, end, () => {
      missing--;
    });
    return missing;
  }

  /** Makes the range read as zeroes, and deallocates its whole pages. The size stays. */
  punch(offset: number, length: number): void {
    this.clear(offset, length);
    this.reserved.remove(Math.ceil(offset / PAGE), Math.floor((offset + length) / PAGE));
  }

  /** Makes the range read as zeroes, and allocated. */
  zero(offset: number, length: number): void {
    this.clear(offset, length);
    this.reserve(offset, length);
  }

  reserve(offset: number, length: number): void {
    const first = Math.floor(offset / PAGE);
    const end = Math.ceil((offset + length) / PAGE);
    this.reserved.add(first, end);
    this.eachPage(first, end, (index) => this.reserved.remove(index, index + 1));
  }

  resize(size: number): void {
    if (size < this.size) {
      const end = Math.ceil(this.size / PAGE) * PAGE;
      this.punch(size, end - size);
      // Space that was reserved beyond the size (keepSize) is deallocated as well, as ftruncate does.
      this.reserved.remove(Math.ceil(size / PAGE), Number.MAX_SAFE_INTEGER);
    }
    this.size = size;
  }

  /** The result of SEEK_DATA and SEEK_HOLE at `offset`; reserved pages are holes. */
  seek(offset: number): { data: boolean; end: number } {
    const index = Math.floor(offset / PAGE);
    const data = this.page(index) !== undefined;
    const next = data ? this.nextHole(index) : this.nextData(index);
    return { data, end: Math.min(this.size, next * PAGE) };
  }

  private page(index: number): Uint8Array | undefined {
    return this.chunks.get(Math.floor(index / PAGES_PER_CHUNK))?.pages[index % PAGES_PER_CHUNK];
  }

  private writablePage(index: number): Uint8Array {
    const chunkIndex = Math.floor(index / PAGES_PER_CHUNK);
    let chunk = this.chunks.get(chunkIndex);
    if (chunk === undefined) {
      chunk = { pages: new Array(PAGES_PER_CHUNK).fill(undefined), held: 0 };
      this.chunks.set(chunkIndex, chunk);
      this.sortedChunks = undefined;
    }
    const page = chunk.pages[index % PAGES_PER_CHUNK];
    if (page !== undefined && this.owned.has(page)) return page;
    const own = page === undefined ? new Uint8Array(PAGE) : page.slice();
    if (page === undefined) {
      chunk.held++;
      this.dataPages++;
      this.reserved.remove(index, index + 1);
    }
    chunk.pages[index % PAGES_PER_CHUNK] = own;
    this.owned.add(own);
    return own;
  }

  /** Zeroes the edges and drops the whole pages of a range. */
  private clear(offset: number, length: number): void {
    const end = offset + length;
    const first = Math.ceil(offset / PAGE);
    const last = Math.floor(end / PAGE);
    const edge = (from: number, to: number) => {
      const index = Math.floor(from / PAGE);
      if (from < to && this.page(index) !== undefined) {
        this.writablePage(index).fill(0, from - index * PAGE, to - index * PAGE);
      }
    };
    if (first > last) {
      edge(offset, end);
      return;
    }
    edge(offset, first * PAGE);
    edge(last * PAGE, end);
    this.eachPage(first, last, (index) => this.drop(index));
  }

  private drop(index: number): void {
    const chunkIndex = Math.floor(index / PAGES_PER_CHUNK);
    const chunk = this.chunks.get(chunkIndex)!;
    this.owned.delete(chunk.pages[index % PAGES_PER_CHUNK]!);
    chunk.pages[index % PAGES_PER_CHUNK] = undefined;
    chunk.held--;
    this.dataPages--;
    if (chunk.held === 0) {
      this.chunks.delete(chunkIndex);
      this.sortedChunks = undefined;
    }
  }

  /** Calls back for each page with data in [first, end), in order. */
  private eachPage(first: number, end: number, callback: (index: number) => void): void {
    for (let index = this.nextData(first); index < end; index = this.nextData(index + 1)) callback(index);
  }

  private nextHole(index: number): number {
    while (this.page(index) !== undefined) index++;
    return index;
  }

  /** First page with data at or after `index`; Infinity if there is none. */
  private nextData(index: number): number {
    this.sortedChunks ??= [...this.chunks.keys()].sort((a, b) => a - b);
    const chunks = this.sortedChunks;
    const from = Math.floor(index / PAGES_PER_CHUNK);
    let low = 0;
    let high = chunks.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (chunks[middle] < from) low = middle + 1;
      else high = middle;
    }
    for (; low < chunks.length; low++) {
      const pages = this.chunks.get(chunks[low])!.pages;
      const start = chunks[low] === from ? index % PAGES_PER_CHUNK : 0;
      for (let i = start; i < PAGES_PER_CHUNK; i++) {
        if (pages[i] !== undefined) return chunks[low] * PAGES_PER_CHUNK + i;
      }
    }
    return Number.POSITIVE_INFINITY;
  }
}
