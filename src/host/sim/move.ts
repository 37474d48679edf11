// The copy step of the simulated host: for each slice reads, a zero test and writes, one after the other, each of them a request of the simulation, so that power may go,
// and an error come, between any two of them.

import { constants } from 'node:os';
import { toBlockError } from '../../util/errors.js';
import { errnoError } from '../errno.js';
import {
  FROM_RUN,
  MAX_MOVE_BYTES,
  MAX_PACKED_BYTES,
  type Moved,
  type MovedSlice,
  type MovePiece,
  type MoveRequest,
  type MoveRun,
} from '../host.js';
import { decompressNow } from './codecs.js';
import type { SimMemory } from './memory.js';

export class SimRun implements MoveRun {
  next: number;

  constructor(next: number) {
    this.next = next;
  }

  free(): void {}
}

/** As the addon does (`loadMove`). */
function refuse({ pieces, bytes, granule, slice, target }: MoveRequest): void {
  const fits = bytes > 0 && bytes <= MAX_MOVE_BYTES && slice > 0 && slice <= MAX_MOVE_BYTES;
  if (fits && granule <= slice && (granule === 0 || slice % granule === 0) && pieces.every(isPossible)) return;
  throw errnoError(-constants.errno.EINVAL, { operation: 'move', path: target.path });
}

/** What a piece says of a compressed cluster can be. */
function isPossible({ file, length, packing = null }: MovePiece): boolean {
  if (packing === null) return true;
  const { stored, clusterBytes, lead } = packing;
  if (file === null || clusterBytes <= 0 || clusterBytes > MAX_PACKED_BYTES) return false;
  return stored > 0 && stored <= 2 * MAX_PACKED_BYTES && lead >= 0 && lead + length <= clusterBytes;
}

/** What goes to one place in one piece. */
interface Span {
  to: number;
  /** Where it lies in the buffer. */
  from: number;
  length: number;
  piece: number;
}

/** See `Host.move`. */
export async function moveNow(memory: SimMemory, request: MoveRequest): Promise<Moved> {
  const { bytes, granule, slice } = request;
  refuse(request);
  const count = Math.ceil(bytes / slice);
  const slices = Array.from({ length: count }, () => ({ start: FROM_RUN, taken: 0 }));
  const map = new Uint8Array(granule === 0 ? 0 : Math.ceil(bytes / granule));
  const buffer = memory.allocate(Math.min(bytes, slice));
  try {
    for (const [i, row] of slices.entries()) {
      const at = i * slice;
      const part = buffer.subarray(0, Math.min(slice, bytes - at));
      const zeroes = granule === 0 ? null : map.subarray(at / granule, Math.ceil((at + part.length) / granule));
      const fault = await moveSlice(memory, request, cut(request.pieces, at, part.length), part, zeroes, row);
      if (fault !== null) return { slices, map: new Uint8Array(0), fault };
    }
    return { slices, map, fault: null };
  } finally {
    memory.free(buffer);
  }
}

/** A part of a piece, with the piece's index. */
interface Part extends MovePiece {
  piece: number;
}

/** What [from, from + length) of the pieces is, which lie back to back. */
function cut(pieces: readonly MovePiece[], from: number, length: number): Part[] {
  const parts: Part[] = [];
  let at = 0;
  for (const [piece, { file, offset, length: bytes, to, packing = null }] of pieces.entries()) {
    const start = Math.max(at, from);
    const end = Math.min(at + bytes, from + length);
    const skipped = start - at;
    if (end > start) {
      parts.push({
        file,
        offset: packing === null ? offset + skipped : offset,
        length: end - start,
        to: to === FROM_RUN ? to : to + skipped,
        packing: packing === null ? null : { ...packing, lead: packing.lead + skipped },
        piece,
      });
    }
    at += bytes;
  }
  return parts;
}

async function moveSlice(
  memory: SimMemory,
  { granule, target, run }: MoveRequest,
  parts: readonly Part[],
  buffer: Uint8Array,
  map: Uint8Array | null,
  row: MovedSlice,
): Promise<Moved['fault']> {
  let piece = 0;
  let isRead = true;
  try {
    let at = 0;
    for (const part of parts) {
      piece = part.piece;
      const into = buffer.subarray(at, at + part.length);
      await readPart(memory, part, into);
      at += part.length;
    }
    isRead = false;
    if (map !== null) memory.zeroMap(buffer, granule, map);
    // No other step comes between: the places in the run follow each other.
    for (const span of place(parts, granule, map, run as SimRun | null, row)) {
      piece = span.piece;
      await target.write(span.to, buffer.subarray(span.from, span.from + span.length));
    }
    return null;
  } catch (error) {
    return { error: toBlockError(error), isRead, piece };
  }
}

async function readPart(memory: SimMemory, { file, offset, packing = null }: Part, into: Uint8Array): Promise<void> {
  if (file === null) into.fill(0);
  else if (packing === null) await file.read(offset, into);
  else {
    const { type, stored, clusterBytes, lead } = packing;
    const input = memory.allocate(stored);
    const cluster = memory.allocate(clusterBytes);
    try {
      await file.read(offset, input);
      decompressNow(type, input, cluster);
      into.set(cluster.subarray(lead, lead + into.length));
    } finally {
      memory.free(input);
      memory.free(cluster);
    }
  }
}

/** The spans that are not zero, with their places, which are taken from the run where a piece has none. */
function place(
  parts: readonly Part[],
  granule: number,
  map: Uint8Array | null,
  run: SimRun | null,
  row: MovedSlice,
): Span[] {
  const spans: Span[] = [];
  let at = 0;
  for (const { length, to, piece } of parts) {
    for (let done = 0; done < length; ) {
      const step = map === null ? 0 : Math.floor((at + done) / granule);
      const here = map === null ? length - done : Math.min(length - done, (step + 1) * granule - (at + done));
      if (map === null || map[step] === 0) {
        let place = to + done;
        if (to === FROM_RUN) {
          place = run!.next;
          run!.next += here;
          if (row.start === FROM_RUN) row.start = place;
          row.taken += here;
        }
        const last = spans.at(-1);
        const joins = last !== undefined && last.to + last.length === place && last.from + last.length === at + done;
        if (joins) last.length += here;
        else spans.push({ to: place, from: at + done, length: here, piece });
      }
      done += here;
    }
    at += length;
  }
  return spans;
}
