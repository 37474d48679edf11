// Checks the "copied" flag of L1 and L2 entries, which says that a refcount is exactly one. While references are counted, it is only noted that some flag
// is wrong, which costs the hot loop one comparison. If one is, a second walk over the tables finds and reports the entries.

import type { CheckState, Fault } from './check-state.js';
import { type TablePointer, visitTables } from './check-tables.js';
import { hostIn, isCompressed, isCopied } from './l2-codec.js';
import { wordsToHex } from './pointer-codec.js';
import type { ClusterIndex, HostOffset } from './types.js';

/** Notes that a flag may be wrong, where the one in `high`, an entry's high word, does not match the refcount of the cluster at `offset`. */
export function noteFlag(state: CheckState, high: number, offset: HostOffset): void {
  if (isSuspect(state, high, offset)) state.flagMismatch = true;
}

/** True where the flag may be wrong. A cluster beyond the end of the file is in no window, so its flag is checked by the second walk. */
function isSuspect(state: CheckState, high: number, offset: HostOffset): boolean {
  const { start, size, stored } = state.tally;
  const cluster = Math.floor(offset / state.clusterBytes);
  const index = cluster - start;
  if (index >= 0 && index < size) return (stored[index] === 1) !== isCopied(high);
  return state.first && cluster > Math.ceil(state.fileLength / state.clusterBytes);
}

/** Reports each entry of the window whose flag is wrong. */
export async function reportFlags(state: CheckState): Promise<void> {
  const { clusterBytes, codec } = state;
  const suspects: { where: Omit<Fault, 'kind'>; cluster: ClusterIndex; copied: boolean }[] = [];
  const suspect = (where: Omit<Fault, 'kind'>, high: number, low: number, offset: HostOffset): void => {
    const cluster = Math.floor(offset / clusterBytes) as ClusterIndex;
    const entry = `0x${wordsToHex(high, low)}` as const;
    suspects.push({ where: { ...where, entry, cluster, hostOffset: offset }, cluster, copied: isCopied(high) });
  };
  const report = async (): Promise<void> => {
    for (const { where, cluster, copied } of suspects.splice(0)) {
      const refcount = await state.tally.exactRefcount(cluster);
      if (refcount === null || (refcount === 1) === copied) continue;
      state.corruptionHere({ kind: 'copied-flag', ...where, refcount });
    }
  };
  const visit = ({ index, high, low, offset }: TablePointer, table: DataView | null): void => {
    if (offset === 0) return;
    if (isSuspect(state, high, offset)) suspect({ table: 'l1', index }, high, low, offset);
    // As qemu-img, which does not look into a table whose own refcount it cannot read.
    if (state.tally.isUnreadable(Math.floor(offset / clusterBytes) as ClusterIndex)) return;
    for (let position = 0; table !== null && position < table.byteLength; position += codec.entryBytes) {
      const entryHigh = table.getUint32(position);
      const entryLow = table.getUint32(position + 4);
      if (isCompressed(entryHigh) || state.layout.isExternal) continue;
      const data = hostIn(entryHigh, entryLow);
      if (data === 0 || !isSuspect(state, entryHigh, data)) continue;
      const guestOffset = state.guestOffset(index, position);
      suspect({ table: 'l2', index: position / codec.entryBytes, guestOffset }, entryHigh, entryLow, data);
    }
  };
  await visitTables(state, state.l1Tables[0], visit, report);
}
