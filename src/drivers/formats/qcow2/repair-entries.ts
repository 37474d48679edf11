// What becomes of an L2 entry that is wrong by itself. What it reads as stays: reserved bits mean nothing; a cluster behind the end of the file reads as
// zeroes, where it is in use. What could not be read at all reads as zeroes from then on, or, in version 2, which has no such entries, as the backing file.

import { roundUp } from '../../../util/numbers.js';
import type { CheckState } from './check-state.js';
import { clearReserved, hasReservedBits, hostIn, isCompressed, isCopied, setCopied } from './l2-codec.js';
import { type HostOffset, SECTOR } from './types.js';

export interface MendingRules {
  /** There is a backing file: what is not allocated has content. */
  hasBacking: boolean;
  /** What cannot be read stays so, instead of becoming zeroes. */
  keepsUnreadable?: boolean;
}

/** What was found of an entry: it is right, it was changed, or its content needs a place of its own. */
export type Mended = 'right' | 'changed' | 'moves';

export class EntryMender {
  readonly #state: CheckState;
  readonly #rules: MendingRules;
  /** Bytes that the file needs, so that what lies behind its end is a part of it: it reads as zeroes, and no entry of version 2 says that. */
  fileEnd = 0;

  constructor(state: CheckState, rules: MendingRules) {
    this.#state = state;
    this.#rules = rules;
  }

  /** Corrects the entry at byte `position` of a table, in memory; it maps guest offset `guestOffset`. */
  mend(table: DataView, position: number, guestOffset: number): Mended {
    if (this.#state.layout.isExternal) return this.#mendExternal(table, position, guestOffset);
    const { codec } = this.#state;
    const slot = position / codec.entryBytes;
    if (codec.hasWrongBitmap(table, slot) && this.#rules.keepsUnreadable) return 'right';
    const bitmapChanged = codec.mendBitmap(table, slot);
    const high = table.getUint32(position);
    const low = table.getUint32(position + 4);
    const mended = isCompressed(high)
      ? this.#mendCompressed(table, position, high, low)
      : this.#mendOrdinary(table, position, high, low);
    return mended === 'right' && bitmapChanged ? 'changed' : mended;
  }

  #mendOrdinary(table: DataView, position: number, high: number, low: number): Mended {
    const { clusterBytes, codec } = this.#state;
    const host = hostIn(high, low);
    if (host !== 0) {
      const zeroes = codec.saysZeroes(table, position / codec.entryBytes);
      // Where the entry says zeroes, that is what stays of it.
      if (host % clusterBytes !== 0) return zeroes ? this.#makeZero(table, position) : this.#lose(table, position);
      if (this.#state.isBeyond(host, clusterBytes)) {
        if (zeroes || this.#state.layout.version === 3 || !this.#rules.hasBacking)
          return this.#makeZero(table, position);
        if (!this.#growsTo(host)) return 'moves';
      }
    }
    if (!hasReservedBits(high, low)) return 'right';
    clearReserved(table, position);
    return 'changed';
  }

  /** An entry that points into an external data file. */
  #mendExternal(table: DataView, position: number, guestOffset: number): Mended {
    const { codec, layout } = this.#state;
    const high = table.getUint32(position);
    const low = table.getUint32(position + 4);
    const slot = position / codec.entryBytes;
    const isNoPlace = isCompressed(high) || codec.isElsewhere(table, slot, guestOffset);
    if (isNoPlace || codec.hasWrongBitmap(table, slot)) {
      if (this.#rules.keepsUnreadable) return 'right';
      if (layout.isRaw) codec.putNormal(table, slot, guestOffset as HostOffset);
      else if (isNoPlace) codec.putLost(table, slot);
      else codec.mendBitmap(table, slot);
      return 'changed';
    }
    if (!hasReservedBits(high, low)) return 'right';
    clearReserved(table, position);
    return 'changed';
  }

  #mendCompressed(table: DataView, position: number, high: number, low: number): Mended {
    const { codec, fileLength } = this.#state;
    const host = codec.compressedHost(high, low);
    if (this.#state.isBeyond(host, codec.compressedBytes(high, low))) {
      if (host >= fileLength) return this.#lose(table, position);
      // The data may end before the file does: an entry counts whole sectors, and one that counts too many reads the same with fewer.
      codec.putCompressed(table, position / codec.entryBytes, host, roundUp(fileLength, SECTOR) - host);
      return 'changed';
    }
    if (!isCopied(high)) return 'right';
    setCopied(table, position, false);
    return 'changed';
  }

  /** The file will be made long enough for this cluster, so that the entry may stay: no entry of version 2 says zeroes over a backing file. */
  #growsTo(host: HostOffset): boolean {
    const { layout, clusterBytes, fileLength } = this.#state;
    // What a cut has taken away is near; what a damaged entry points to may be anywhere.
    if (host >= 2 * (fileLength + layout.size)) return false;
    this.fileEnd = Math.max(this.fileEnd, host + clusterBytes);
    return true;
  }

  /** The entry could not be read. */
  #lose(table: DataView, position: number): Mended {
    return this.#rules.keepsUnreadable ? 'right' : this.#makeZero(table, position);
  }

  #makeZero(table: DataView, position: number): Mended {
    const { codec, layout } = this.#state;
    const slot = position / codec.entryBytes;
    if (layout.version === 3) codec.putLost(table, slot);
    else codec.putUnallocated(table, slot);
    return 'changed';
  }
}
