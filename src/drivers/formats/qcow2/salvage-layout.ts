// Where the L1 table of a damaged image is, how large its clusters and its disk are: as the header says, where that can be right, else as the tables say that
// are found by their shape. What a person says counts more than both.

import type { Child } from '../../../block/child.js';
import type { SalvageHints, SalvageLog } from '../../../block/salvage.js';
import { viewOf } from '../../../util/bytes.js';
import { BlockError } from '../../../util/errors.js';
import { formatSize } from '../../../util/size.js';
import { judgePointer } from './salvage-entries.js';
import type { SalvagedHeader } from './salvage-header.js';
import { readWhatCan } from './salvage-read.js';
import { type FoundL1, type FoundTables, findTables } from './salvage-scan.js';
import { MAX_L1_BYTES, makeGeometry } from './types.js';

/** Snapshots whose L1 tables are known: none of them is that of the disk. */
export type KnownSnapshots = readonly { l1Offset: number }[];

const MAX_L1_ENTRIES = MAX_L1_BYTES / 8;
/** Of tables that are named beside the one that is used. */
const MAX_NAMED = 4;

export interface Layout {
  clusterBits: number;
  extendedL2: boolean;
  /** Bytes of the disk; null: to be found by what its tables describe. */
  size: number | null;
  /** Null: there is no L1 table. */
  l1Offset: number | null;
  /** Of the L1 table. */
  entries: number;
  /** The L1 table was found by its shape, and there are snapshots whose tables are not known. */
  mayBeSnapshot: boolean;
  /** What was found by its shape; null: it was not looked for. */
  scan: FoundTables | null;
}

/** `progress` gets bytes of the file that were looked through. Rejects with `invalid-image` where there is nothing to begin with. */
export async function findLayout(
  file: Child,
  header: SalvagedHeader,
  hints: SalvageHints,
  log: SalvageLog,
  progress: (done: number) => void,
  snapshots: KnownSnapshots,
): Promise<Layout> {
  const clusterBits = hints.clusterSize === undefined ? header.clusterBits : Math.log2(hints.clusterSize);
  const l1Offset = hints.l1Offset ?? header.l1Offset;
  const size = hints.size ?? header.size;
  if (header.isFound && clusterBits !== null && l1Offset !== null && isPlaced(l1Offset, clusterBits, file)) {
    const entries = entriesOf(size, clusterBits, header, hints);
    const isSure =
      hints.clusterSize !== undefined || (await hasOddCluster(file, header, clusterBits, l1Offset, entries ?? 0));
    if (entries !== null && isSure) {
      const layout = {
        clusterBits,
        extendedL2: header.hasExtendedL2,
        l1Offset,
        entries,
        mayBeSnapshot: false,
        scan: null,
      };
      return { ...layout, size: await checkedSize(file, size, { ...layout, header, hints }, log) };
    }
  }
  return layoutByShape(file, header, hints, null, log, progress, snapshots);
}

/**
 * A table lies at an odd multiple of the cluster size: then clusters are no larger. The refcount table of a new image does, and of the L2 tables of a large one,
 * half do. Where none does, the cluster size of the header may be too small.
 */
async function hasOddCluster(
  file: Child,
  header: SalvagedHeader,
  clusterBits: number,
  l1Offset: number,
  entries: number,
): Promise<boolean> {
  const clusterSize = 2 ** clusterBits;
  const isOdd = (offset: number): boolean => offset % (2 * clusterSize) === clusterSize;
  if (isOdd(l1Offset) || isOdd(header.refcountTable.offset)) return true;
  const bytes = new Uint8Array(Math.min(entries * 8, clusterSize));
  await readWhatCan(file, l1Offset, bytes, () => undefined);
  const view = viewOf(bytes);
  for (let at = 0; at < bytes.length; at += 8) {
    const { host, reason } = judgePointer(view.getUint32(at), view.getUint32(at + 4), clusterSize, file.length);
    if (reason === null && isOdd(host)) return true;
  }
  return false;
}

function isPlaced(offset: number, clusterBits: number, file: Child): boolean {
  return offset % 2 ** clusterBits === 0 && offset < file.length;
}

/** Entries of the L1 table, where what the header says of them fits together; else null. */
function entriesOf(
  size: number | null,
  clusterBits: number,
  header: SalvagedHeader,
  hints: SalvageHints,
): number | null {
  const knows = hints.clusterSize !== undefined || hints.l1Offset !== undefined || hints.size !== undefined;
  if (size === null) return knows ? (header.l1Size ?? MAX_L1_ENTRIES) : null;
  const needed = needs(size, clusterBits, header.hasExtendedL2);
  if (needed > MAX_L1_ENTRIES) return null;
  if (header.l1Size !== null && needed <= header.l1Size) return header.l1Size;
  return knows || needed === 0 ? needed : null;
}

function needs(size: number, clusterBits: number, extendedL2: boolean): number {
  return Math.ceil(size / makeGeometry(3, clusterBits, 4, extendedL2).l2Span);
}

/** The size that the header says; null where there are tables behind it, and nothing that they may be for. */
async function checkedSize(
  file: Child,
  size: number | null,
  at: { clusterBits: number; l1Offset: number; entries: number; header: SalvagedHeader; hints: SalvageHints },
  log: SalvageLog,
): Promise<number | null> {
  if (size === null || at.hints.size !== undefined || at.header.snapshots.count > 0) return size;
  const from = needs(size, at.clusterBits, at.header.hasExtendedL2);
  const rest = new Uint8Array(Math.max(0, at.entries - from) * 8);
  await readWhatCan(file, at.l1Offset + from * 8, rest, () => undefined);
  const view = viewOf(rest);
  let good = 0;
  for (let i = 0; i < rest.length; i += 8) {
    const pointer = judgePointer(view.getUint32(i), view.getUint32(i + 4), 2 ** at.clusterBits, file.length);
    // What is there is no table: the header has too many entries for it.
    if (pointer.reason !== null || pointer.isOdd) return size;
    if (pointer.host !== 0) good++;
  }
  if (good === 0) return size;
  log.assumptions.push(`The header says a disk of ${formatSize(size)}, but there are tables for more of it.`);
  return sizeByL1(at.entries, makeGeometry(3, at.clusterBits, 4, at.header.hasExtendedL2).l2Span, log).size;
}

/** The layout by the tables that are found. `clusterBits`: it is known for certain. `snapshots`: those that are known. */
export async function layoutByShape(
  file: Child,
  header: SalvagedHeader,
  hints: SalvageHints,
  clusterBits: number | null,
  log: SalvageLog,
  progress: (done: number) => void,
  snapshots: KnownSnapshots,
): Promise<Layout> {
  const bits = hints.clusterSize === undefined ? clusterBits : Math.log2(hints.clusterSize);
  const scan = await findTables(file, bits, header.hasExtendedL2, progress);
  if (scan.l1.length === 0 && !header.isFound) {
    // Entries of the other kind have another shape.
    const other = { ...header, hasExtendedL2: true };
    scan.l1 = (await findTables(file, bits, true, progress)).l1;
    if (scan.l1.length > 0) {
      log.assumptions.push('The L2 entries are extended ones, by their shape.');
      return layoutOf(file, other, hints, bits, scan, log, snapshots);
    }
  }
  return layoutOf(file, header, hints, bits, scan, log, snapshots);
}

function layoutOf(
  file: Child,
  header: SalvagedHeader,
  hints: SalvageHints,
  bits: number | null,
  scan: FoundTables,
  log: SalvageLog,
  snapshots: KnownSnapshots,
): Layout {
  const extendedL2 = header.hasExtendedL2;
  const found = scan.l1.filter((one) => mayBeActive(one, header, hints, snapshots));
  const [first] = found;
  // That of the header, unless another one reaches far more: it may be a snapshot's.
  const own = found.find(({ offset, score }) => offset === header.l1Offset && score * 2 >= first.score);
  const best = own ?? first;
  if (best === undefined) return layoutWithoutL1(file, header, hints, bits, scan, log);
  const clusterSize = 2 ** best.clusterBits;
  if (hints.clusterSize === undefined && header.clusterBits !== best.clusterBits) {
    log.assumptions.push(`The clusters have ${formatSize(clusterSize)}, by the shape of the tables.`);
  }
  if (hints.l1Offset === undefined && header.l1Offset !== best.offset) {
    log.assumptions.push(`The L1 table is the one at ${best.offset}, by its shape.`);
    const others = found
      .slice(1)
      .filter((one) => one !== best && one.clusterBits === best.clusterBits && one.score * 2 >= best.score);
    if (others.length > 0) {
      const named = others.slice(0, MAX_NAMED).map(({ offset }) => offset);
      log.notes.push(
        `There are other L1 tables, at ${named.join(', ')}${others.length > MAX_NAMED ? ', ...' : ''}: those of internal snapshots, or old ones.`,
      );
    }
  }
  const mayBeSnapshot =
    header.isFound && hints.l1Offset === undefined && best !== own && snapshots.length < header.snapshots.count;
  const { entries, size } = sizeByShape(best.entries, best.clusterBits, header, hints, log);
  return { clusterBits: best.clusterBits, extendedL2, l1Offset: best.offset, entries, size, mayBeSnapshot, scan };
}

/** False for what is known to be another table, and for one that contradicts the header, where the cluster size, the disk size and the table's length that it says fit together. */
function mayBeActive(found: FoundL1, header: SalvagedHeader, hints: SalvageHints, snapshots: KnownSnapshots): boolean {
  if (snapshots.some(({ l1Offset }) => l1Offset === found.offset)) return false;
  if (hints.l1Offset !== undefined) return found.offset === hints.l1Offset;
  const { clusterBits, size, l1Size, l1Offset, hasExtendedL2, refcountTable } = header;
  // A refcount table has the shape of one, too: blocks of wide refcounts look like tables of zeroes.
  if (found.offset === refcountTable.offset && found.offset !== l1Offset) return false;
  if (clusterBits === null || size === null || l1Size === null) return true;
  if (hints.clusterSize !== undefined || hints.size !== undefined) return true;
  if (needs(size, clusterBits, hasExtendedL2) > l1Size) return true;
  return needs(size, found.clusterBits, hasExtendedL2) <= l1Size;
}

/** Entries of the L1 table and the size of the disk, where the last entry in use is `used`. */
function sizeByShape(
  used: number,
  clusterBits: number,
  header: SalvagedHeader,
  hints: SalvageHints,
  log: SalvageLog,
): { entries: number; size: number | null } {
  const { l2Span } = makeGeometry(3, clusterBits, 4, header.hasExtendedL2);
  if (hints.size !== undefined && needs(hints.size, clusterBits, header.hasExtendedL2) > MAX_L1_ENTRIES) {
    throw new BlockError('invalid-argument', `No image with such clusters has a disk of ${formatSize(hints.size)}`);
  }
  if (hints.size !== undefined) return { entries: Math.max(used, header.l1Size ?? 0), size: hints.size };
  const { size, l1Size } = header;
  if (size === null && (l1Size === null || l1Size < used)) return { entries: used, size: null };
  if (size === null) return sizeByL1(l1Size!, l2Span, log);
  const needed = needs(size, clusterBits, header.hasExtendedL2);
  // Of a size and a length of the table that contradict each other, the one is right that the entries in use fit.
  if (needed >= used && needed <= MAX_L1_ENTRIES && (l1Size === null || needed <= l1Size || used > l1Size)) {
    return { entries: needed, size };
  }
  if (l1Size !== null && l1Size >= used && needed > l1Size) {
    return sizeByL1(l1Size, l2Span, log);
  }
  log.assumptions.push('The size in the header does not fit the tables.');
  return { entries: used, size: null };
}

/** The largest disk that the L1 table has entries for. */
function sizeByL1(entries: number, l2Span: number, log: SalvageLog): { entries: number; size: number } {
  const size = entries * l2Span;
  log.assumptions.push(
    `The disk has ${size} bytes (${formatSize(size)}) at most: its L1 table has entries for no more.`,
  );
  return { entries, size };
}

/** All of the disk is lost, but for tables that a person can place. */
function layoutWithoutL1(
  file: Child,
  header: SalvagedHeader,
  hints: SalvageHints,
  bits: number | null,
  scan: FoundTables,
  log: SalvageLog,
): Layout {
  const clusterBits = bits ?? header.clusterBits;
  const extendedL2 = header.hasExtendedL2;
  const { size } = clusterBits === null ? { size: null } : sizeByShape(0, clusterBits, header, hints, log);
  if (clusterBits === null || size === null || needs(size, clusterBits, extendedL2) > MAX_L1_ENTRIES) {
    const what = header.isFound ? 'The header is damaged' : 'There is no qcow2 header';
    const reason = `${what}, and no L1 table was found by its shape`;
    throw BlockError.at(file.filename, 'invalid-image', reason, { operation: 'salvage' });
  }
  const offset = hints.l1Offset ?? header.l1Offset;
  if (offset !== null && isPlaced(offset, clusterBits, file)) {
    return {
      clusterBits,
      extendedL2,
      size,
      l1Offset: offset,
      entries: needs(size, clusterBits, extendedL2),
      mayBeSnapshot: false,
      scan,
    };
  }
  log.notes.push('The L1 table is lost, and none was found by its shape.');
  return { clusterBits, extendedL2, size, l1Offset: null, entries: 0, mayBeSnapshot: false, scan };
}
