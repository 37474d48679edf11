// An entry of the log: new content of sectors of the file, which counts as a whole or not at all. A sector has 4096 bytes here.
//
//   | header, descriptors | ... | data | data | ...        one data sector for each descriptor `desc`, none for a `zero`
//
// The first 8 and the last 4 bytes of new content are in its descriptor, as the data sector has a signature and the sequence number there: that shows that it was written whole.

import { viewLe64, viewOf } from '../../../util/bytes.js';
import { crc32c } from '../../../util/crc32c.js';
import { hasMagic } from '../../../util/magic.js';
import { getGuid, putGuid } from './guid.js';
import { MAX_FILE_BYTES, seal } from './header.js';

export const LOG_SECTOR_BYTES = 4096;
const HEADER_BYTES = 64;
const DESCRIPTOR_BYTES = 32;
const LEADING_BYTES = 8;
const TRAILING_BYTES = 4;

const Field = {
  checksum: 4,
  length: 8,
  tail: 12,
  sequence: 16,
  descriptors: 24,
  guid: 32,
  flushedBytes: 48,
  lastBytes: 56,
} as const;
const DescriptorField = { trailing: 4, leading: 8, zeroLength: 8, offset: 16, sequence: 24 } as const;
const DataField = { sequenceHigh: 4, sequenceLow: LOG_SECTOR_BYTES - 4 } as const;

/** New content of a range of the file. */
export type LogWrite =
  | { kind: 'zero'; offset: number; length: number }
  /** One sector; `at`: of its data sector in the log. */
  | { kind: 'data'; offset: number; at: number; leading: Uint8Array; trailing: Uint8Array };

export interface LogEntry {
  /** Of the log, bytes: where the entry begins, and what it takes. */
  at: number;
  length: number;
  sequence: bigint;
  /** Where the oldest entry begins that is to be replayed with this one. */
  tail: number;
  /** The file had so many bytes, durable, when the entry was written. */
  flushedBytes: number;
  /** The file has so many bytes at least when the entry was replayed. */
  lastBytes: number;
  /** How many writes it has (`readWrites`). */
  count: number;
}

/** Fills the sector with what the log has at `at`, which is below its length. Rejects with `io`. */
export type ReadSector = (at: number, sector: Uint8Array) => Promise<void>;

export interface LogPlace {
  guid: string;
  bytes: number;
}

/** Reads the entry at `at`; null where there is no valid one. Takes no more memory than a sector, whatever the entry says. Rejects as `read`. */
export async function readEntry(read: ReadSector, log: LogPlace, at: number): Promise<LogEntry | null> {
  const sector = new Uint8Array(LOG_SECTOR_BYTES);
  const view = viewOf(sector);
  await read(at, sector);
  const entry = parseEntryHeader(sector, log, at);
  if (entry === null) return null;
  const checksum = view.getUint32(Field.checksum, true);
  view.setUint32(Field.checksum, 0, true);
  let sum = crc32c(sector);
  const start = descriptorSectors(entry.count);
  const total = entry.length / LOG_SECTOR_BYTES;
  let dataSectors = 0;
  for (let i = 0; i < total; i++) {
    if (i > 0) {
      await read((at + i * LOG_SECTOR_BYTES) % log.bytes, sector);
      sum = crc32c(sector, sum);
    }
    if (i >= start) {
      if (!isDataOf(sector, entry.sequence)) return null;
      continue;
    }
    for (const place of descriptorsIn(i, entry.count)) {
      const write = parseDescriptor(sector, place, entry);
      if (write === null) return null;
      if (write.kind === 'data') dataSectors++;
    }
  }
  return sum === checksum && total === start + dataSectors ? entry : null;
}

/** What an entry, which `readEntry` has given, makes of the file; null where it is not valid any more. Rejects as `read`. */
export async function readWrites(read: ReadSector, log: LogPlace, entry: LogEntry): Promise<LogWrite[] | null> {
  const sector = new Uint8Array(LOG_SECTOR_BYTES);
  const writes: LogWrite[] = [];
  const start = descriptorSectors(entry.count);
  let data = start;
  for (let i = 0; i < start; i++) {
    await read((entry.at + i * LOG_SECTOR_BYTES) % log.bytes, sector);
    for (const place of descriptorsIn(i, entry.count)) {
      const write = parseDescriptor(sector, place, entry);
      if (write === null) return null;
      if (write.kind === 'data') write.at = (entry.at + data++ * LOG_SECTOR_BYTES) % log.bytes;
      writes.push(write);
    }
  }
  return writes;
}

/** Where the descriptors lie in sector `index` of an entry with `count` of them. */
function* descriptorsIn(index: number, count: number): Generator<number> {
  const first = index === 0 ? HEADER_BYTES : 0;
  const before = index === 0 ? 0 : (index * LOG_SECTOR_BYTES - HEADER_BYTES) / DESCRIPTOR_BYTES;
  const end = Math.min(LOG_SECTOR_BYTES, first + (count - before) * DESCRIPTOR_BYTES);
  for (let place = first; place < end; place += DESCRIPTOR_BYTES) yield place;
}

function descriptorSectors(count: number): number {
  return Math.ceil((HEADER_BYTES + count * DESCRIPTOR_BYTES) / LOG_SECTOR_BYTES);
}

function parseEntryHeader(sector: Uint8Array, log: LogPlace, at: number): LogEntry | null {
  const view = viewOf(sector);
  const entry: LogEntry = {
    at,
    length: view.getUint32(Field.length, true),
    tail: view.getUint32(Field.tail, true),
    sequence: view.getBigUint64(Field.sequence, true),
    flushedBytes: viewLe64(view, Field.flushedBytes),
    lastBytes: viewLe64(view, Field.lastBytes),
    count: view.getUint32(Field.descriptors, true),
  };
  const { length, count, tail, sequence, flushedBytes, lastBytes } = entry;
  const isValid =
    hasMagic(sector, 'loge') &&
    getGuid(sector, Field.guid) === log.guid &&
    length % LOG_SECTOR_BYTES === 0 &&
    length > 0 &&
    length <= log.bytes &&
    descriptorSectors(count) * LOG_SECTOR_BYTES <= length &&
    tail % LOG_SECTOR_BYTES === 0 &&
    tail < log.bytes &&
    sequence > 0n &&
    flushedBytes <= MAX_FILE_BYTES &&
    lastBytes <= MAX_FILE_BYTES;
  return isValid ? entry : null;
}

function parseDescriptor(sector: Uint8Array, place: number, { sequence, lastBytes }: LogEntry): LogWrite | null {
  const bytes = sector.subarray(place, place + DESCRIPTOR_BYTES);
  const view = viewOf(bytes);
  if (view.getBigUint64(DescriptorField.sequence, true) !== sequence) return null;
  const offset = viewLe64(view, DescriptorField.offset);
  if (hasMagic(bytes, 'desc')) {
    if (offset % LOG_SECTOR_BYTES !== 0 || offset + LOG_SECTOR_BYTES > lastBytes) return null;
    const leading = bytes.slice(DescriptorField.leading, DescriptorField.leading + LEADING_BYTES);
    const trailing = bytes.slice(DescriptorField.trailing, DescriptorField.trailing + TRAILING_BYTES);
    return { kind: 'data', offset, at: 0, leading, trailing };
  }
  if (!hasMagic(bytes, 'zero')) return null;
  const length = viewLe64(view, DescriptorField.zeroLength);
  if (offset % LOG_SECTOR_BYTES !== 0 || length % LOG_SECTOR_BYTES !== 0 || offset + length > lastBytes) return null;
  return { kind: 'zero', offset, length };
}

function isDataOf(sector: Uint8Array, sequence: bigint): boolean {
  const view = viewOf(sector);
  const high = view.getUint32(DataField.sequenceHigh, true);
  const low = view.getUint32(DataField.sequenceLow, true);
  return hasMagic(sector, 'data') && ((BigInt(high) << 32n) | BigInt(low)) === sequence;
}

/** Makes of a data sector, as it was read from the log, the content that it stands for. */
export function restore(sector: Uint8Array, { leading, trailing }: LogWrite & { kind: 'data' }): void {
  sector.set(leading);
  sector.set(trailing, LOG_SECTOR_BYTES - TRAILING_BYTES);
}

/** Sectors whose new content an entry of `sectors` sectors holds. */
export function capacityOf(sectors: number): number {
  let count = sectors - 1;
  while (descriptorSectors(count) + count > sectors) count--;
  return count;
}

export interface NewEntry extends Omit<LogEntry, 'length' | 'count'> {
  guid: string;
  /** Whole sectors. */
  writes: readonly { offset: number; bytes: Uint8Array }[];
}

export function encodeEntry({ guid, sequence, tail, flushedBytes, lastBytes, writes }: NewEntry): Uint8Array {
  const count = writes.reduce((sum, { bytes }) => sum + bytes.length / LOG_SECTOR_BYTES, 0);
  const start = descriptorSectors(count) * LOG_SECTOR_BYTES;
  const entry = new Uint8Array(start + count * LOG_SECTOR_BYTES);
  const view = viewOf(entry);
  entry.set(Buffer.from('loge'));
  view.setUint32(Field.length, entry.length, true);
  view.setUint32(Field.tail, tail, true);
  view.setBigUint64(Field.sequence, sequence, true);
  view.setUint32(Field.descriptors, count, true);
  putGuid(entry, Field.guid, guid);
  view.setBigUint64(Field.flushedBytes, BigInt(flushedBytes), true);
  view.setBigUint64(Field.lastBytes, BigInt(lastBytes), true);
  let index = 0;
  for (const { offset, bytes } of writes) {
    for (let at = 0; at < bytes.length; at += LOG_SECTOR_BYTES, index++) {
      const content = bytes.subarray(at, at + LOG_SECTOR_BYTES);
      const descriptor = HEADER_BYTES + index * DESCRIPTOR_BYTES;
      entry.set(Buffer.from('desc'), descriptor);
      entry.set(content.subarray(LOG_SECTOR_BYTES - TRAILING_BYTES), descriptor + DescriptorField.trailing);
      entry.set(content.subarray(0, LEADING_BYTES), descriptor + DescriptorField.leading);
      view.setBigUint64(descriptor + DescriptorField.offset, BigInt(offset + at), true);
      view.setBigUint64(descriptor + DescriptorField.sequence, sequence, true);
      const data = start + index * LOG_SECTOR_BYTES;
      entry.set(content, data);
      entry.set(Buffer.from('data'), data);
      view.setUint32(data + DataField.sequenceHigh, Number(sequence >> 32n), true);
      view.setUint32(data + DataField.sequenceLow, Number(sequence & 0xffff_ffffn), true);
    }
  }
  seal(entry);
  return entry;
}
