// The table of internal snapshots (specification: "Snapshots").
//
//   header: count, offset --> | entry | entry | ...        each begins at a multiple of 8
//
//   entry   0          8         12          14            16         20         24         32              36           40
//           L1 offset | entries | ID length | name length | seconds | nanosecs | VM clock | VM state size | extra size | extra | ID | name
//
//   extra   0                   8           16
//           VM state size, 64b | disk size | instruction count | what later versions of the format add
//
// Extra data is kept byte for byte.

import { HIGH_WORD, putBe16, putBe32, putBe64, viewBe64, viewOf } from '../../../util/bytes.js';
import { BlockError } from '../../../util/errors.js';
import { decodeName, encodeName } from '../../../util/name-bytes.js';
import { roundUp } from '../../../util/numbers.js';
import type { ImageFile } from '../../image-file.js';
import type { Qcow2Header } from './header.js';
import type { HostOffset } from './types.js';

export const MAX_SNAPSHOTS = 65536;
/** QEMU's limits, and ours: of the table, and of the extra data of one entry. */
const MAX_TABLE_BYTES = 64 << 20;
const MAX_EXTRA_BYTES = 1024;
/** Of the length fields of an ID and a name. */
const MAX_TEXT_BYTES = 0xffff;
const ENTRY_BYTES = 40;
/** Extra data of a new snapshot: all fields that are defined. */
const NEW_EXTRA_BYTES = 24;
/** Extra data that each entry of a version 3 image has. */
const REQUIRED_EXTRA_BYTES = 16;
const Extra = { vmStateSize: 0, diskSize: 8, icount: 16 } as const;
/** No instructions were counted. */
const NO_ICOUNT = 0xffff_ffff;
const READ_BYTES = 64 << 10;
/** Characters of an ID or a name that messages show. */
const MAX_SHOWN = 100;
const NANOSECONDS = 1_000_000_000n;

/** One entry of the table. */
export interface Snapshot {
  /** Where its L1 table lies. Not checked: it may be misaligned, or beyond what a number holds. */
  l1Offset: HostOffset;
  /** Entries. */
  l1Size: number;
  id: string;
  name: string;
  dateSec: number;
  dateNsec: number;
  /** Nanoseconds for which the machine had been running. */
  vmClock: bigint;
  /** Bytes of the machine's state, which lies behind the disk (vm-state.ts). */
  vmStateSize: number;
  /** Bytes of the disk. */
  diskSize: number;
  /** Instructions that the machine had executed; null where they were not counted. */
  icount: number | null;
  /** The field of the entry itself, which counts where there is no extra data. */
  vmStateSize32: number;
  extra: Uint8Array;
}

/** Fields of a new snapshot that the caller chooses. */
export interface NewSnapshot extends Pick<Snapshot, 'id' | 'name' | 'dateSec' | 'dateNsec' | 'diskSize'> {
  l1Offset: HostOffset;
  l1Size: number;
  vmClock: bigint;
  vmStateSize: number;
  icount: number | null;
}

/** A snapshot with all extra data that is defined. */
export function newSnapshot(fields: NewSnapshot): Snapshot {
  const extra = new Uint8Array(NEW_EXTRA_BYTES);
  putBe64(extra, Extra.vmStateSize, fields.vmStateSize);
  putBe64(extra, Extra.diskSize, fields.diskSize);
  if (fields.icount === null) extra.fill(0xff, Extra.icount);
  else putBe64(extra, Extra.icount, fields.icount);
  // A size that the old field cannot hold stands in the new one alone.
  const vmStateSize32 = fields.vmStateSize < HIGH_WORD ? fields.vmStateSize : 0;
  return { ...fields, vmStateSize32, extra };
}

/** Reads the table. Rejects with `invalid-image` where it contradicts itself or lies beyond the end of the file, and with `io`. */
export async function readSnapshotTable(file: ImageFile, header: Qcow2Header): Promise<Snapshot[]> {
  const list: Snapshot[] = [];
  await readEntries(file, header, list, (error) => {
    throw error;
  });
  return list;
}

/** What a damaged table says, as far as it can be read. */
export interface SalvagedTable {
  list: Snapshot[];
  /** The entries from `list.length` on cannot be read; 0: all were. */
  lost: number;
  /** Entries with more extra data than the limit; the rest of it is not in `list`. */
  overlong: number[];
}

/** Reads as much of a table as can be read, to be written anew. Rejects with `io`. */
export async function salvageSnapshotTable(file: ImageFile, header: Qcow2Header): Promise<SalvagedTable> {
  const list: Snapshot[] = [];
  const overlong: number[] = [];
  try {
    await readEntries(file, header, list, () => overlong.push(list.length));
  } catch (error) {
    if (!(error instanceof BlockError) || error.code !== 'invalid-image') throw error;
  }
  return { list, lost: header.nbSnapshots - list.length, overlong };
}

/** Adds all entries to `list`. Of one with too much extra data, `tooMuch` is called with the error; where it returns, what is over the limit is left out. */
async function readEntries(
  file: ImageFile,
  header: Qcow2Header,
  list: Snapshot[],
  tooMuch: (error: BlockError) => void,
): Promise<void> {
  const reader = new TableReader(file, header.snapshotsOffset as HostOffset);
  for (let at = 0; list.length < Math.min(header.nbSnapshots, MAX_SNAPSHOTS); ) {
    at = roundUp(at, 8);
    const fixed = viewOf(await reader.bytes(at, ENTRY_BYTES));
    const [idBytes, nameBytes, extraBytes] = [fixed.getUint16(12), fixed.getUint16(14), fixed.getUint32(36)];
    if (extraBytes > MAX_EXTRA_BYTES) {
      tooMuch(reader.error(`Too much extra metadata in snapshot table entry ${list.length}`));
    }
    const texts = ENTRY_BYTES + extraBytes;
    const length = texts + idBytes + nameBytes;
    const entry = await reader.bytes(at, length);
    list.push(decodeEntry(entry, extraBytes, texts, idBytes, header.size));
    at += length;
  }
}

/** An entry of a version 3 image has the fields that this version demands. */
export function isComplete({ extra }: Snapshot, version: 2 | 3): boolean {
  return version === 2 || extra.length >= REQUIRED_EXTRA_BYTES;
}

/** The same snapshot with all fields that version 3 demands. */
export function completed(snapshot: Snapshot): Snapshot {
  const extra = new Uint8Array(Math.max(REQUIRED_EXTRA_BYTES, snapshot.extra.length));
  extra.set(snapshot.extra);
  putBe64(extra, Extra.vmStateSize, snapshot.vmStateSize);
  putBe64(extra, Extra.diskSize, snapshot.diskSize);
  return { ...snapshot, extra };
}

/** Bytes that the table takes on disk. */
export function tableBytes(list: readonly Snapshot[]): number {
  let at = 0;
  for (const { id, name, extra } of list) {
    at = roundUp(at, 8) + ENTRY_BYTES + extra.length + encodeName(id).length + encodeName(name).length;
  }
  return at;
}

function decodeEntry(
  entry: Uint8Array,
  extraBytes: number,
  texts: number,
  idBytes: number,
  diskSize: number,
): Snapshot {
  const view = viewOf(entry);
  const extra = entry.slice(ENTRY_BYTES, Math.min(texts, ENTRY_BYTES + MAX_EXTRA_BYTES));
  const fields = viewOf(extra);
  const has = (at: number): boolean => extraBytes >= at + 8;
  const vmStateSize32 = view.getUint32(32);
  const counted = has(Extra.icount) && !isNoCount(fields);
  return {
    l1Offset: viewBe64(view, 0) as HostOffset,
    l1Size: view.getUint32(8),
    id: decodeName(entry.subarray(texts, texts + idBytes)),
    name: decodeName(entry.subarray(texts + idBytes)),
    dateSec: view.getUint32(16),
    dateNsec: view.getUint32(20),
    vmClock: view.getBigUint64(24),
    vmStateSize: has(Extra.vmStateSize) ? viewBe64(fields, Extra.vmStateSize) : vmStateSize32,
    diskSize: has(Extra.diskSize) ? viewBe64(fields, Extra.diskSize) : diskSize,
    icount: counted ? Number(fields.getBigInt64(Extra.icount)) : null,
    vmStateSize32,
    extra,
  };
}

function isNoCount(fields: DataView): boolean {
  return fields.getUint32(Extra.icount) === NO_ICOUNT && fields.getUint32(Extra.icount + 4) === NO_ICOUNT;
}

/** The table, without padding behind its last entry. Throws `limit` where it would be too long, or a text of it. */
export function encodeSnapshotTable(list: readonly Snapshot[], path: string): Uint8Array {
  const tooLong = (message: string): BlockError => BlockError.at(path, 'limit', message, { operation: 'snapshot' });
  if (list.length > MAX_SNAPSHOTS) throw tooLong(`More than ${MAX_SNAPSHOTS} internal snapshots`);
  const length = tableBytes(list);
  if (length > MAX_TABLE_BYTES) throw tooLong('The snapshot table would be too long');
  const bytes = new Uint8Array(length);
  let at = 0;
  for (const snapshot of list) {
    at = roundUp(at, 8);
    const id = encodeName(snapshot.id);
    const name = encodeName(snapshot.name);
    if (id.length > MAX_TEXT_BYTES || name.length > MAX_TEXT_BYTES) throw tooLong('Snapshot name too long');
    putBe64(bytes, at, snapshot.l1Offset);
    putBe32(bytes, at + 8, snapshot.l1Size);
    putBe16(bytes, at + 12, id.length);
    putBe16(bytes, at + 14, name.length);
    putBe32(bytes, at + 16, snapshot.dateSec);
    putBe32(bytes, at + 20, snapshot.dateNsec);
    viewOf(bytes).setBigUint64(at + 24, snapshot.vmClock);
    putBe32(bytes, at + 32, snapshot.vmStateSize32);
    putBe32(bytes, at + 36, snapshot.extra.length);
    at += ENTRY_BYTES;
    for (const part of [snapshot.extra, id, name]) {
      bytes.set(part, at);
      at += part.length;
    }
  }
  return bytes;
}

/** A snapshot in the text of a message: what a damaged table gives as its name may be very long. */
export function nameOf({ id, name }: Pick<Snapshot, 'id' | 'name'>): string {
  return `snapshot '${shortened(name)}', ID ${shortened(id)}`;
}

/** The same in the findings of a check. */
export function labelOf({ id, name }: Pick<Snapshot, 'id' | 'name'>): string {
  return `${shortened(id)} (${shortened(name)})`;
}

function shortened(text: string): string {
  return text.length <= MAX_SHOWN ? text : `${text.slice(0, MAX_SHOWN)}...`;
}

/** The clock in whole seconds and the nanoseconds behind them. */
export function splitClock(clock: bigint): { seconds: number; nanoseconds: number } {
  return { seconds: Number(clock / NANOSECONDS), nanoseconds: Number(clock % NANOSECONDS) };
}

/** Reads a table whose length is known only when it was read: in pieces, and never more than the file has. */
class TableReader {
  readonly #file: ImageFile;
  readonly #offset: HostOffset;
  #read = new Uint8Array(0);

  constructor(file: ImageFile, offset: HostOffset) {
    this.#file = file;
    this.#offset = offset;
  }

  /** `length` bytes from `at` on. */
  async bytes(at: number, length: number): Promise<Uint8Array> {
    const end = at + length;
    if (end > MAX_TABLE_BYTES) throw this.error('Snapshot table is too large');
    if (end > this.#read.length) await this.#more(end);
    return this.#read.subarray(at, end);
  }

  async #more(end: number): Promise<void> {
    const left = this.#file.length - this.#offset;
    if (end > left) throw this.error('Snapshot table is outside of the file');
    const from = this.#read.length;
    const grown = new Uint8Array(Math.min(left, MAX_TABLE_BYTES, roundUp(Math.max(end, 2 * from), READ_BYTES)));
    grown.set(this.#read);
    await this.#file.read(this.#offset + from, grown.subarray(from));
    this.#read = grown;
  }

  error(message: string): BlockError {
    return BlockError.at(this.#file.path, 'invalid-image', message, { offset: this.#offset, operation: 'open' });
  }
}
