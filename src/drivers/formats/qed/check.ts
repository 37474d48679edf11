// The check of a QED image: each entry points into the file, and each cluster behind the header is in use, once.
//
// As qemu-img's, it looks at all entries of a table, those beyond the end of the disk too, and not into an L2 table that something else is in, too.

import type { CheckResult, RepairKind } from '../../../block/abilities.js';
import type { CheckFinding } from '../../../block/finding.js';
import { viewLe64 } from '../../../util/bytes.js';
import { BlockError } from '../../../util/errors.js';
import { SECTOR_BYTES } from '../../../util/numbers.js';
import type { ImageFile } from '../../image-file.js';
import { Bits } from '../blocks/bits.js';
import { ENTRY_BYTES, type Header, isInside, tableEntries, UNALLOCATED, ZERO_ENTRY } from './header.js';

const STEP_BYTES = 1 << 20;
/** One bit each is kept in memory: 256 MiB. */
const MAX_CLUSTERS = 2 ** 31;

/** What an image looks like to who walks its tables. All are called in order. */
export interface QedVisitor {
  /** L1 entry `index` says `offset`, which is no place of a table. */
  badTable(index: number, offset: number): void;
  /** The table at `offset`; false: its entries are of no interest. */
  table(index: number, offset: number): boolean;
  badCluster(index: number, offset: number): void;
  cluster(index: number, offset: number): void;
}

/** Calls `visit` with each entry of the table at `offset`, but those that say nothing. */
export async function readTable(
  file: ImageFile,
  offset: number,
  entries: number,
  visit: (index: number, value: number) => Promise<void> | undefined,
): Promise<void> {
  const bytes = new Uint8Array(Math.min(STEP_BYTES, entries * ENTRY_BYTES));
  const view = new DataView(bytes.buffer);
  const perStep = bytes.length / ENTRY_BYTES;
  for (let first = 0; first < entries; first += perStep) {
    await file.read(offset + first * ENTRY_BYTES, bytes);
    for (let i = 0; i < perStep; i++) {
      const value = viewLe64(view, i * ENTRY_BYTES);
      if (value === UNALLOCATED) continue;
      const wait = visit(first + i, value);
      if (wait !== undefined) await wait;
    }
  }
}

/** Walks the tables as they are in the file. Rejects with `io`. */
export async function walkTables(file: ImageFile, header: Header, visitor: QedVisitor): Promise<void> {
  const entries = tableEntries(header);
  const { tableClusters } = header;
  const fileBytes = file.length;
  await readTable(file, header.l1Offset, entries, (index, offset) => {
    if (!isInside(header, offset, tableClusters, fileBytes)) {
      visitor.badTable(index, offset);
      return;
    }
    if (!visitor.table(index, offset)) return;
    return readTable(file, offset, entries, (at, value) => {
      if (value === ZERO_ENTRY) return;
      const cluster = index * entries + at;
      if (isInside(header, value, 1, fileBytes)) visitor.cluster(cluster, value);
      else visitor.badCluster(cluster, value);
    });
  });
}

/** Clusters of the file: a part of one at its end does not count. Throws `limit` where they are too many to be looked at. */
export function clustersOf(file: ImageFile, { clusterBytes }: Header): number {
  const clusters = Math.floor(file.length / clusterBytes);
  if (clusters <= MAX_CLUSTERS) return clusters;
  throw BlockError.at(file.path, 'limit', 'The image has too many clusters to be checked', { operation: 'check' });
}

/** Adds the clusters of a table to `used`; calls `twice` with those that were there. */
export function useTable(used: Bits, header: Header, offset: number, twice: (cluster: number) => void): void {
  const first = offset / header.clusterBytes;
  for (let cluster = first; cluster < first + header.tableClusters; cluster++) {
    if (used.has(cluster)) twice(cluster);
    used.add(cluster);
  }
}

/**
 * Each finding is one call of `report`, with `repairs` where `kind` is for it: as for qemu-img, entries that point nowhere are repaired together with lost space. Rejects
 * with `io`, `limit`.
 */
export async function checkQed(
  file: ImageFile,
  header: Header,
  report: (finding: CheckFinding) => void,
  kind?: RepairKind,
): Promise<CheckResult> {
  const { clusterBytes } = header;
  const clusters = clustersOf(file, header);
  const used = new Bits(clusters);
  const result = { corruptions: 0, leaks: 0, allocated: 0, fragmented: 0 };
  const find = (finding: Omit<CheckFinding, 'severity'>, repairedBy: RepairKind): void => {
    result.corruptions++;
    const repairs = kind === 'all' || kind === repairedBy;
    report({ ...finding, severity: 'corruption', ...(repairs && { repairs: true }) } as CheckFinding);
  };
  const hex = (value: number): `0x${string}` => `0x${value.toString(16)}`;
  let last = 0;
  const count = (offset: number): void => {
    result.allocated++;
    if (last !== 0 && offset !== last + clusterBytes) result.fragmented++;
    last = offset;
  };
  useTable(used, header, header.l1Offset, () => undefined);
  await walkTables(file, header, {
    badTable: (index, offset) => find({ kind: 'qed-table-invalid', index, entry: hex(offset) }, 'leaks'),
    table: (index, offset) => {
      last = 0;
      let isAlone = true;
      useTable(used, header, offset, (cluster) => {
        isAlone = false;
        find({ kind: 'qed-table-shared', index, cluster }, 'all');
      });
      return isAlone;
    },
    badCluster: (index, offset) => {
      count(offset);
      find({ kind: 'qed-cluster-invalid', index, entry: hex(offset), guestOffset: index * clusterBytes }, 'leaks');
    },
    cluster: (index, offset) => {
      count(offset);
      const cluster = offset / clusterBytes;
      if (used.has(cluster)) {
        find({ kind: 'qed-cluster-shared', index, cluster, guestOffset: index * clusterBytes }, 'all');
      }
      used.add(cluster);
    },
  });
  for (let cluster = header.headerClusters; cluster < clusters; cluster++) {
    if (used.has(cluster)) continue;
    result.leaks++;
    report({ kind: 'qed-leak', cluster, severity: 'leak', ...(kind !== undefined && { repairs: true }) });
  }
  return {
    checkErrors: 0,
    corruptions: result.corruptions,
    leaks: result.leaks,
    // As QEMU, which does not say it of this format.
    imageEndOffset: 0,
    totalClusters: Math.ceil(header.size / clusterBytes),
    allocatedClusters: result.allocated,
    fragmentedClusters: result.fragmented,
    compressedClusters: 0,
  };
}

/** End of the last cluster that is in use. Rejects as `checkQed`. */
export async function usedEnd(file: ImageFile, header: Header): Promise<number> {
  const { clusterBytes, tableClusters } = header;
  const tableBytes = tableClusters * clusterBytes;
  let end = Math.max(header.headerClusters * clusterBytes, header.l1Offset + tableBytes, SECTOR_BYTES);
  const ends = (offset: number): void => {
    end = Math.max(end, offset);
  };
  await walkTables(file, header, {
    badTable: () => undefined,
    table: (_, offset) => {
      ends(offset + tableBytes);
      return true;
    },
    badCluster: () => undefined,
    cluster: (_, offset) => ends(offset + clusterBytes),
  });
  return end;
}
