// The check of a sparse extent: each entry points into the file, a compressed grain is there as a whole, and each table has the same entries as its copy (repair.ts says what becomes of one that does not).

import type { RepairKind } from '../../../block/abilities.js';
import type { CheckFinding } from '../../../block/finding.js';
import { SECTOR_BYTES } from '../../../util/numbers.js';
import { later, settleAll } from '../../../util/settle.js';
import type { ImageFile } from '../../image-file.js';
import { MARKER_BYTES, mostPackedBytes, packedLength, ZLIB_BYTES } from './grain-packer.js';
import { ZERO_ENTRY } from './grain-tables.js';
import { ENTRY_BYTES, HEADER_BYTES, type SparseHeader, tableBytes } from './header.js';
import type { ExtentPlace } from './part.js';
import { UsedSectors } from './used-sectors.js';

const STEP_ENTRIES = 16 << 10;
/** Entries whose grains are looked at together. */
const MARKERS_AT_ONCE = 64;

/** An extent that is checked. */
export interface Checked {
  readonly file: ImageFile;
  readonly header: SparseHeader;
  /** End of the descriptor that lies in it, in the file; 0: none does. */
  readonly descriptorEnd: number;
}

/** A table and its copy: bytes in the file; 0: there is none. */
export interface TablePair {
  number: number;
  table: number;
  copy: number;
  /** It lies in the file, where nothing else does that was looked at before. */
  isTableSound: boolean;
  /** The same; or it is the table itself. */
  isCopySound: boolean;
}

/** In the order of the disk. */
export async function* tablesOf(part: Checked): AsyncGenerator<TablePair> {
  const { file, header } = part;
  const { directory, redundantDirectory, directoryEntries } = header;
  const used = new UsedSectors();
  used.take(0, Math.max(HEADER_BYTES, part.descriptorEnd));
  for (const offset of [directory, redundantDirectory]) {
    if (offset !== null) used.take(offset, offset + directoryEntries * ENTRY_BYTES);
  }
  const bytes = tableBytes(header);
  const isSound = (offset: number): boolean =>
    offset !== 0 && offset + bytes <= file.length && used.take(offset, offset + bytes);
  for (let first = 0; first < directoryEntries; first += STEP_ENTRIES) {
    const count = Math.min(STEP_ENTRIES, directoryEntries - first);
    const read = async (offset: number): Promise<DataView> => {
      const entries = new Uint8Array(count * ENTRY_BYTES);
      await file.read(offset + first * ENTRY_BYTES, entries);
      return new DataView(entries.buffer);
    };
    const tables = await read(directory);
    const copies = redundantDirectory === null ? null : await read(redundantDirectory);
    for (let i = 0; i < count; i++) {
      const at = (view: DataView | null): number => (view?.getUint32(i * ENTRY_BYTES, true) ?? 0) * SECTOR_BYTES;
      const [table, copy] = [at(tables), at(copies)];
      const isTableSound = isSound(table);
      yield {
        number: first + i,
        table,
        copy,
        isTableSound,
        isCopySound: copy === table ? isTableSound : isSound(copy),
      };
    }
  }
}

export async function readTable({ file, header }: Checked, offset: number): Promise<DataView> {
  const bytes = new Uint8Array(tableBytes(header));
  await file.read(offset, bytes);
  return new DataView(bytes.buffer);
}

/** What is wrong with an entry: it points beyond the end of the file, or to a compressed grain that is not whole. */
export type BadEntry = 'vmdk-grain-beyond-end' | 'vmdk-grain-cut';

/** Those entries of a table that cannot be right, by their number in it, in its order. Rejects with `io`. */
export async function badEntriesOf(part: Checked, table: DataView): Promise<Map<number, BadEntry>> {
  const { file, header } = part;
  const bad = new Map<number, BadEntry>();
  const count = header.tableEntries;
  for (let first = 0; first < count; first += MARKERS_AT_ONCE) {
    const found = new Array<BadEntry | null>(Math.min(MARKERS_AT_ONCE, count - first)).fill(null);
    const cuts: Promise<void>[] = [];
    for (let i = 0; i < found.length; i++) {
      const entry = table.getUint32((first + i) * ENTRY_BYTES, true);
      if (entry === 0 || (entry === ZERO_ENTRY && header.zeroGrains)) continue;
      const place = entry * SECTOR_BYTES;
      if (place >= file.length) found[i] = 'vmdk-grain-beyond-end';
      else if (header.isCompressed) {
        const looking = isGrainWhole(part, place).then((isWhole) => {
          if (!isWhole) found[i] = 'vmdk-grain-cut';
        });
        cuts.push(later(looking));
      }
    }
    await settleAll(cuts);
    for (const [i, kind] of found.entries()) if (kind !== null) bad.set(first + i, kind);
  }
  return bad;
}

/** Whether the compressed grain at `place` is in the file with as many bytes as its marker says, and as a grain can have. */
async function isGrainWhole({ file, header }: Checked, place: number): Promise<boolean> {
  if (place + MARKER_BYTES > file.length) return false;
  const marker = new Uint8Array(MARKER_BYTES);
  await file.read(place, marker);
  const length = packedLength(marker);
  const most = Math.min(file.length - place, mostPackedBytes(header.grainBytes));
  return length > ZLIB_BYTES && MARKER_BYTES + length <= most;
}

/** `Part.check`, of a sparse extent. */
export async function checkSparse(
  part: Checked,
  { start, extent }: ExtentPlace,
  report: (finding: CheckFinding) => void,
  kind?: RepairKind,
): Promise<number> {
  let found = 0;
  const find = (finding: Omit<CheckFinding, 'severity'>): void => {
    found++;
    report({ ...finding, severity: 'corruption', ...(kind === 'all' && { repairs: true }) } as CheckFinding);
  };
  const { header } = part;
  const { tableEntries, grainBytes } = header;
  for await (const { number, table, copy, isTableSound, isCopySound } of tablesOf(part)) {
    if (!isTableSound) {
      if (table !== 0) find({ kind: 'vmdk-table-misplaced', index: number, extent });
      continue;
    }
    const own = await readTable(part, table);
    for (const [i, kind] of await badEntriesOf(part, own)) {
      const guestOffset = start + (number * tableEntries + i) * grainBytes;
      find({ kind, index: guestOffset / SECTOR_BYTES, guestOffset });
    }
    if (header.redundantDirectory === null) continue;
    const isSame = isCopySound && Buffer.compare(bytesOf(own), bytesOf(await readTable(part, copy))) === 0;
    if (!isSame) find({ kind: 'vmdk-tables-differ', index: number, extent });
  }
  return found;
}

export function bytesOf({ buffer, byteOffset, byteLength }: DataView): Uint8Array {
  return new Uint8Array(buffer as ArrayBuffer, byteOffset, byteLength);
}
