// Writes changes of the table through the log, so that each is there as a whole or not at all:
//
//   1  an entry with the new sectors is written, and flushed      2  the first time: the header says that entries with this GUID count, and is flushed
//   3  the sectors are written to their places, and flushed
//
// The entries go to two places of the log in turns: while one is being written, the one before is whole, and replaying that again changes nothing. Each one stands for itself: it is the tail
// that it names. Where step 3 fails, it is done again before another entry is written, which would count alone (`#settle`). When the image is closed, the header says again that no entry
// counts (`release`).

import type { ImageFile } from '../../image-file.js';
import type { Patch } from '../blocks/pages.js';
import { NO_GUID, randomGuid } from './guid.js';
import type { Header } from './header.js';
import type { HeaderStore } from './header-store.js';
import { capacityOf, encodeEntry, LOG_SECTOR_BYTES } from './log-entry.js';

/** Larger entries would gain nothing. */
const MAX_SLOT_BYTES = 512 << 10;

/** New content of whole sectors. */
interface SectorWrite {
  /** In the file. */
  offset: number;
  bytes: Uint8Array;
}

/** Bytes of one of the two places. */
function slotBytes({ logBytes }: Header): number {
  return Math.min(MAX_SLOT_BYTES, Math.floor(logBytes / 2 / LOG_SECTOR_BYTES) * LOG_SECTOR_BYTES);
}

export class LogWriter {
  readonly #file: ImageFile;
  readonly #store: HeaderStore;
  readonly #random: () => number;
  /** Of the entries that count, or may count. */
  #guid: string | null = null;
  /** The header is known to say that they count. */
  #isSaid = false;
  #sequence = 0n;
  /** Of the last entry: they are not all known to be in their places. */
  #unsettled: readonly SectorWrite[] = [];

  /** `random`: 32 random bits. */
  constructor(file: ImageFile, store: HeaderStore, random: () => number) {
    this.#file = file;
    this.#store = store;
    this.#random = random;
  }

  /** Sectors whose content fits into an entry: none where the log is too small. */
  get capacity(): number {
    const slot = slotBytes(this.#store.header);
    return slot === 0 ? 0 : capacityOf(slot / LOG_SECTOR_BYTES);
  }

  /** An entry can be written, whatever fills the disk meanwhile. Rejects with `no-space`, `io`. */
  async reserve(): Promise<void> {
    await this.#file.reserve(this.#store.header.logOffset, 2 * slotBytes(this.#store.header));
  }

  /**
   * Makes the patches durable in their places. `end`: the file is in use up to there, and what lies there is durable. Rejects with `io`, `no-space`; then they may be there, or in the log, or
   * neither.
   */
  async write(patches: readonly Patch[], end: number): Promise<void> {
    let sectors = 0;
    let writes: SectorWrite[] = [];
    for (const { page, from, bytes } of patches) {
      // A small log takes a patch in parts.
      for (let at = 0; at < bytes.length; ) {
        if (sectors === this.capacity) {
          await this.#writeEntry(writes, end);
          [sectors, writes] = [0, []];
        }
        const part = bytes.subarray(at, at + (this.capacity - sectors) * LOG_SECTOR_BYTES);
        writes.push({ offset: page.offset + from + at, bytes: part });
        sectors += part.length / LOG_SECTOR_BYTES;
        at += part.length;
      }
    }
    if (writes.length > 0) await this.#writeEntry(writes, end);
  }

  async #writeEntry(writes: readonly SectorWrite[], end: number): Promise<void> {
    await this.#settle();
    const { header } = this.#store;
    this.#guid ??= randomGuid(this.#random);
    const guid = this.#guid;
    const sequence = this.#sequence + 1n;
    const at = Number(sequence % 2n) * slotBytes(header);
    const entry = encodeEntry({ guid, at, tail: at, sequence, flushedBytes: end, lastBytes: end, writes });
    await this.#file.write(header.logOffset + at, entry);
    await this.#file.flush();
    if (!this.#isSaid) {
      await this.#store.change({ logGuid: guid });
      this.#isSaid = true;
    }
    this.#sequence = sequence;
    this.#unsettled = writes;
    await this.#settle();
  }

  /** What the last entry says is in its place. Rejects with `io`, `no-space`; then that entry still counts, and this can be done again. */
  async #settle(): Promise<void> {
    if (this.#unsettled.length === 0) return;
    for (const { offset, bytes } of this.#unsettled) await this.#file.write(offset, bytes);
    await this.#file.flush();
    this.#unsettled = [];
  }

  /** No entry counts any more: all are in their places. Rejects with `io`. */
  async release(): Promise<void> {
    if (this.#guid === null) return;
    await this.#settle();
    // Where that fails, the header may say either.
    this.#isSaid = false;
    await this.#store.change({ logGuid: NO_GUID });
    this.#guid = null;
  }
}
