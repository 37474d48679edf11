// The state of a machine, which is stored like content of the disk, behind its end (specification: "Snapshots"):
//
//   guest offset  0 ........... size ..|  first L2 table that maps nothing of the disk ...
//                 the disk             |  the machine's state, from its first byte on

import { roundDown, roundUp } from '../../../util/numbers.js';
import type { Qcow2Image } from './image.js';
import { readGuest } from './read.js';
import { growL1 } from './resize.js';
import { type Geometry, type GuestOffset, l1EntriesFor, MAX_L1_BYTES, plus, SECTOR } from './types.js';
import { writeGuest } from './write.js';

const CHUNK_BYTES = 1 << 20;

/** Where the machine's state begins, for a disk of `size` bytes. */
export function vmStateStart(geometry: Geometry, size: GuestOffset): GuestOffset {
  return (l1EntriesFor(geometry, size) * geometry.l2Span) as GuestOffset;
}

/** Fills `buffer` from byte `offset` of the machine's state; what was not written reads as zeroes. Rejects with `corrupt-image`, `io`. */
export async function readVmState(image: Qcow2Image, offset: number, buffer: Uint8Array): Promise<void> {
  const from = roundDown(offset, SECTOR);
  const end = offset + buffer.length;
  if (from === offset && end % SECTOR === 0) return readSectors(image, offset, buffer);
  // What is encrypted is read in whole sectors.
  const sectors = image.memory.allocate(roundUp(end, SECTOR) - from);
  try {
    await readSectors(image, from, sectors);
    buffer.set(sectors.subarray(offset - from, end - from));
  } finally {
    image.memory.free(sectors);
  }
}

async function readSectors(image: Qcow2Image, offset: number, buffer: Uint8Array): Promise<void> {
  const { geometry, mapping } = image;
  const at = plus(vmStateStart(geometry, image.length() as GuestOffset), offset);
  const mapped = Math.max(0, Math.min(buffer.length, mapping.l1.entries * geometry.l2Span - at));
  buffer.fill(0, mapped);
  if (mapped > 0) await readGuest(image, at, buffer.subarray(0, mapped));
}

/** Writes `buffer` at byte `offset` of the machine's state. Rejects with `limit`, `no-space`, `corrupt-image`, `io`. */
export async function writeVmState(image: Qcow2Image, offset: number, buffer: Uint8Array): Promise<void> {
  const { geometry, header, memory } = image;
  const { clusterSize } = geometry;
  const start = vmStateStart(geometry, image.length() as GuestOffset);
  const entries = l1EntriesFor(geometry, start + offset + buffer.length);
  if (entries > MAX_L1_BYTES / 8) throw image.error('limit', 'The state of the machine is too large', 'write', offset);
  if (entries > header.l1Size) await growL1(image, entries);
  // In whole clusters: what lies behind the disk is not copied from below.
  const chunk = Math.max(clusterSize, CHUNK_BYTES);
  for (let done = 0; done < buffer.length; ) {
    const from = offset + done;
    const to = Math.min(offset + buffer.length, roundDown(from, chunk) + chunk);
    const first = roundDown(from, clusterSize);
    const bytes = memory.allocate(roundUp(to, clusterSize) - first);
    try {
      const isWhole = from === first && to % clusterSize === 0;
      if (!isWhole) await readVmState(image, first, bytes);
      bytes.set(buffer.subarray(done, to - offset), from - first);
      await writeGuest(image, [{ offset: plus(start, first), length: bytes.length }], bytes);
    } finally {
      memory.free(bytes);
    }
    done = to - offset;
  }
}
