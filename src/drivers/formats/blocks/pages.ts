// The pages of a format's tables that are in memory: read when they are needed, changed there, and written by a commit.
//
//   not in memory --load--> clean --set--> changed --take--> in a commit --written--> clean
//        ^                    |               ^                   |
//        '----- no room ------'               '---- failed, or ---'
//                                                  changed again
//
// A page that is changed, or in a commit, stays in memory. Of clean ones, those that were loaded first go when there is no room.

import { BlockError } from '../../../util/errors.js';
import { roundDown, roundUp, SECTOR_BYTES } from '../../../util/numbers.js';
import type { ImageFile } from '../../image-file.js';

/** Bytes of clean pages that are kept. */
const KEPT_BYTES = 32 << 20;

export class Page {
  /** In the file. */
  readonly offset: number;
  readonly bytes: Uint8Array;
  readonly view: DataView;
  /** Bytes [from, to) were changed; `from` is `to` where nothing was. */
  from = 0;
  to = 0;
  /** Commits that write it, and requests that are about to change it: it stays in memory for them. */
  users = 0;
  /** Resolves when it has space in the file: see `Pages.reserve`. */
  space: Promise<void> | null = null;

  constructor(offset: number, bytes: Uint8Array) {
    this.offset = offset;
    this.bytes = bytes;
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  }

  get isChanged(): boolean {
    return this.from < this.to;
  }
}

/** Bytes of a page as they were when a commit began. */
export interface Patch {
  page: Page;
  /** In the page. */
  from: number;
  bytes: Uint8Array;
}

export class Pages {
  readonly #file: ImageFile;
  readonly #unitBytes: number;
  /** By offset, in the order in which they were loaded. */
  readonly #pages = new Map<number, Page>();
  readonly #loading = new Map<number, Promise<Page>>();
  readonly #changed = new Set<Page>();
  #bytes = 0;

  /** `unitBytes`: what was changed is written in whole units of this size. */
  constructor(file: ImageFile, unitBytes = SECTOR_BYTES) {
    this.#file = file;
    this.#unitBytes = unitBytes;
  }

  /** Bytes of changed pages. */
  get changedBytes(): number {
    let sum = 0;
    for (const page of this.#changed) sum += page.bytes.length;
    return sum;
  }

  /** The page at `offset` of the file; undefined where it is not in memory. */
  peek(offset: number): Page | undefined {
    return this.#pages.get(offset);
  }

  /** Reads the page of `length` bytes at `offset`; beyond the end of the file there are zeroes. Rejects with `io`. */
  load(offset: number, length: number): Promise<Page> {
    const found = this.#pages.get(offset);
    if (found !== undefined) return Promise.resolve(found);
    let loading = this.#loading.get(offset);
    if (loading === undefined) {
      loading = this.#read(offset, length).finally(() => this.#loading.delete(offset));
      this.#loading.set(offset, loading);
    }
    return loading;
  }

  /** The same, with a user more: it stays in memory until `users` is lowered. */
  async use(offset: number, length: number): Promise<Page> {
    for (;;) {
      const page = await this.load(offset, length);
      // It may have gone again.
      if (this.#pages.get(offset) !== page) continue;
      page.users++;
      return page;
    }
  }

  async #read(offset: number, length: number): Promise<Page> {
    const bytes = new Uint8Array(length);
    await this.#file.read(offset, bytes);
    return this.#add(new Page(offset, bytes));
  }

  /**
   * `page`, which has a user, can be written whenever it is to be: its space is allocated, once. A disk that cannot allocate has the content written back instead, so nobody may
   * do so beside a commit that writes the page. Rejects with `no-space`, `io`.
   */
  async reserve(page: Page): Promise<void> {
    page.space ??= this.#allocate(page).catch((error: unknown) => {
      page.space = null;
      throw error;
    });
    await page.space;
  }

  async #allocate({ offset, bytes }: Page): Promise<void> {
    await this.#file.ensureLength(offset + bytes.length);
    await this.#file.reserve(offset, bytes.length);
  }

  /** A page of zeroes for a table that was just allocated at `offset`: all of it is to be written. */
  make(offset: number, length: number): Page {
    const page = this.#add(new Page(offset, new Uint8Array(length)));
    this.change(page, 0, length);
    return page;
  }

  #add(page: Page): Page {
    this.#makeRoom(page.bytes.length);
    this.#pages.set(page.offset, page);
    this.#bytes += page.bytes.length;
    return page;
  }

  #makeRoom(bytes: number): void {
    if (this.#bytes + bytes <= KEPT_BYTES) return;
    for (const page of this.#pages.values()) {
      if (page.isChanged || page.users > 0) continue;
      this.#pages.delete(page.offset);
      this.#bytes -= page.bytes.length;
      if (this.#bytes + bytes <= KEPT_BYTES) return;
    }
  }

  /** Notes that bytes [from, to) of `page` were changed. */
  change(page: Page, from: number, to: number): void {
    if (page.isChanged) {
      page.from = Math.min(page.from, from);
      page.to = Math.max(page.to, to);
      return;
    }
    page.from = from;
    page.to = to;
    this.#changed.add(page);
  }

  /** Takes what was changed, in whole units, as it is now: for a commit, which ends with `written` or `failed`. */
  take(): Patch[] {
    const patches: Patch[] = [];
    for (const page of this.#changed) {
      const from = roundDown(page.from, this.#unitBytes);
      const to = Math.min(page.bytes.length, roundUp(page.to, this.#unitBytes));
      patches.push({ page, from, bytes: page.bytes.slice(from, to) });
      page.from = 0;
      page.to = 0;
      page.users++;
    }
    this.#changed.clear();
    return patches;
  }

  written(patches: readonly Patch[]): void {
    for (const { page } of patches) page.users--;
  }

  /** The next commit writes them again. */
  failed(patches: readonly Patch[]): void {
    this.written(patches);
    for (const { page, from, bytes } of patches) this.change(page, from, from + bytes.length);
  }

  clear(): void {
    this.#pages.clear();
    this.#changed.clear();
    this.#bytes = 0;
  }
}

/** The failure of an image whose table says what cannot be. */
export function badEntry(path: string, what: string, offset: number): BlockError {
  return BlockError.at(path, 'corrupt-image', what, { offset, operation: 'look up' });
}
