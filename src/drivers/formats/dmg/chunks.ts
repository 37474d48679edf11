// The chunks that a table lists.

import { viewBe64, viewOf } from '../../../util/bytes.js';
import { BlockError } from '../../../util/errors.js';
import { SECTOR_BYTES } from '../../../util/numbers.js';
import { CHUNK_BYTES, ChunkField, Kind, parseTableHead, TABLE_HEAD_BYTES } from './header.js';

/** QEMU's limits of a chunk. One of zeroes may have any number of sectors. */
const MAX_SECTORS = 131_072;
const MAX_STORED_BYTES = 64 << 20;

const ZERO_KINDS: ReadonlySet<number> = new Set([Kind.zero, Kind.ignore]);
const STORED_KINDS: ReadonlySet<number> = new Set([Kind.raw, Kind.adc, Kind.zlib, Kind.bzip2, Kind.lzma]);

export interface Chunk {
  kind: number;
  /** Bytes of the disk, [start, end). They may lie anywhere, and are exact where they lie on the disk. */
  start: number;
  end: number;
  /** Where it is stored in the file, and in how many bytes. */
  place: number;
  stored: number;
}

/** Whether it reads as zeroes. */
export function isZeroKind(kind: number): boolean {
  return ZERO_KINDS.has(kind);
}

/** Whether chunks of this kind can be read at all. */
export function isReadable(kind: number): boolean {
  return ZERO_KINDS.has(kind) || STORED_KINDS.has(kind);
}

/** The most chunks that `resource` can list. */
export function mostChunksOf(resource: Uint8Array): number {
  return Math.max(0, Math.floor((resource.length - TABLE_HEAD_BYTES) / CHUNK_BYTES));
}

/**
 * The chunks that `resource` lists, which is none where it is no table. As in QEMU, the number of chunks is what it has room for, whatever it says. `first`: the number of its first chunk,
 * for messages. Throws `invalid-image` for chunks beyond QEMU's limits, in its words.
 */
export function* chunksOf(resource: Uint8Array, dataOffset: number, first: number, path: string): Generator<Chunk> {
  const head = parseTableHead(resource);
  if (head === null) return;
  const view = viewOf(resource);
  let number = first;
  const checkLimit = (what: string, at: number, max: number): void => {
    if (viewBe64(view, at) <= max) return;
    const value = view.getBigUint64(at);
    throw BlockError.at(path, 'invalid-image', `${what} ${value} for chunk ${number} is larger than max (${max})`, {
      operation: 'open',
    });
  };
  for (let at = TABLE_HEAD_BYTES; at + CHUNK_BYTES <= resource.length; at += CHUNK_BYTES) {
    const kind = view.getUint32(at + ChunkField.kind);
    if (kind === Kind.comment || kind === Kind.end) continue;
    const sectors = viewBe64(view, at + ChunkField.sectors);
    const stored = viewBe64(view, at + ChunkField.length);
    const isStored = STORED_KINDS.has(kind);
    if (isStored) checkLimit('sector count', at + ChunkField.sectors, MAX_SECTORS);
    if (isStored || isZeroKind(kind)) checkLimit('length', at + ChunkField.length, MAX_STORED_BYTES);
    const start = (head.firstSector + viewBe64(view, at + ChunkField.sector)) * SECTOR_BYTES;
    const place = dataOffset + head.dataOffset + viewBe64(view, at + ChunkField.offset);
    yield { kind, start, end: start + sectors * SECTOR_BYTES, place, stored };
    number++;
  }
}
