// The copy step of the real host: one request of the addon reads, tests and writes (native/move.h has the layout of what both sides share).

import { toBlockError } from '../../util/errors.js';
import { errnoError } from '../errno.js';
import { FROM_RUN, type HostFile, type Moved, type MovedSlice, type MoveRequest, type MoveRun } from '../host.js';
import { brokenData, CODECS } from './codecs.js';
import { NO_FD } from './descriptor.js';
import { type Engine, Requester } from './engine.js';
import { ourFile, type RealFile } from './file.js';
import { type ArenaMemory, checkGranule } from './memory.js';
import { FLAG_BACKGROUND, FLAG_RESERVE, FLAG_SHARE, FLAG_UNPACK, Op } from './table.js';

const PIECE_BYTES = 48;
const OUTCOME_BYTES = 24;
const SLICE_ROW_BYTES = 16;
/** Where the outcome says which piece cannot share blocks with the target, counted from 1. */
const UNSHAREABLE_OFFSET = 20;
const Side = { none: 0, source: 1, target: 2, data: 3 } as const;
const EMPTY = new Uint8Array(0);

export class RealRun implements MoveRun {
  readonly #memory: ArenaMemory;
  readonly #bytes: Uint8Array;
  readonly #cursor: Float64Array;

  constructor(memory: ArenaMemory, next: number) {
    this.#memory = memory;
    this.#bytes = memory.allocate(8);
    this.#cursor = new Float64Array(this.#bytes.buffer, this.#bytes.byteOffset, 1);
    this.#cursor[0] = next;
  }

  get next(): number {
    return this.#cursor[0];
  }

  get address(): number {
    return this.#memory.addressOf(this.#bytes);
  }

  free(): void {
    this.#memory.free(this.#bytes);
  }
}

export class Mover {
  readonly #engine: Engine;
  readonly #memory: ArenaMemory;
  readonly #who = new Requester('move');
  /** Targets, and the files that they cannot share blocks with. */
  readonly #unshareable = new WeakMap<RealFile, WeakSet<HostFile>>();

  constructor(engine: Engine, memory: ArenaMemory) {
    this.#engine = engine;
    this.#memory = memory;
  }

  /** See `Host.move`. */
  async move(request: MoveRequest): Promise<Moved> {
    const { pieces, bytes, granule, slice } = request;
    if (granule !== 0) checkGranule(granule);
    const target = ourFile(request.target, 'move');
    const { fd, who, grows } = target.side('move', true);
    const steps = granule === 0 ? 0 : Math.ceil(bytes / granule);
    const memory = this.#memory;
    const tableBytes = pieces.length * PIECE_BYTES;
    const shared = memory.allocate(tableBytes + OUTCOME_BYTES + Math.ceil(bytes / slice) * SLICE_ROW_BYTES + steps);
    const table = shared.subarray(0, tableBytes);
    const outcome = shared.subarray(tableBytes);
    const sides = [who];
    try {
      const closed = this.#fill(table, request, sides);
      if (closed !== null) return { slices: [], map: EMPTY, fault: closed };
      for (const side of sides) side.inFlight++;
      try {
        const descriptor = this.#engine.prepare(Op.move, fd);
        descriptor.address = memory.addressOf(table);
        descriptor.length = bytes;
        descriptor.extra = pieces.length;
        descriptor.fd2 = slice;
        descriptor.offset = request.run === null ? 0 : (request.run as RealRun).address;
        descriptor.offset2 = granule;
        descriptor.address2 = memory.addressOf(outcome);
        // What goes into a run has its space already.
        const reserve = grows && request.run === null ? FLAG_RESERVE : 0;
        const share = request.share === true && this.#mayShare(target, request) ? FLAG_SHARE : 0;
        // Elsewhere, requests of a guest would wait behind what takes a core's time.
        const unpack = pieces.some(({ packing = null }) => packing !== null) ? FLAG_UNPACK : 0;
        const background = request.background === true ? FLAG_BACKGROUND : 0;
        descriptor.flags = reserve | share | unpack | background;
        await this.#engine.start(this.#who);
      } finally {
        for (const side of sides) side.done();
      }
      const moved = read(outcome, request);
      this.#noteUnshareable(target, request, outcome);
      if (moved.fault === null) noteWritten(target, moved, request);
      return moved;
    } finally {
      memory.free(shared);
    }
  }

  #mayShare(target: RealFile, { pieces }: MoveRequest): boolean {
    const unshareable = this.#unshareable.get(target);
    return unshareable === undefined || !pieces.some(({ file }) => file !== null && unshareable.has(file));
  }

  /** Takes in that the target cannot share blocks with the file of a piece. */
  #noteUnshareable(target: RealFile, { pieces }: MoveRequest, outcome: Uint8Array): void {
    const [index] = new Int32Array(outcome.buffer, outcome.byteOffset + UNSHAREABLE_OFFSET, 1);
    const file = index === 0 ? null : pieces[index - 1].file;
    if (file === null) return;
    const unshareable = this.#unshareable.get(target) ?? new WeakSet();
    unshareable.add(file);
    this.#unshareable.set(target, unshareable);
  }

  /** Writes the pieces into the table, and adds their files to `sides`, each once. Returns which piece's file is closed, null where none is. */
  #fill(table: Uint8Array, { pieces }: MoveRequest, sides: Requester[]): Moved['fault'] {
    const doubles = new Float64Array(table.buffer, table.byteOffset, pieces.length * 6);
    const words = new Int32Array(table.buffer, table.byteOffset, pieces.length * 12);
    let last: MoveRequest['target'] | null = null;
    let fd = NO_FD;
    for (let i = 0; i < pieces.length; i++) {
      const { file, offset, length, to, packing = null } = pieces[i];
      if (file !== last) {
        let side: ReturnType<RealFile['side']> | null = null;
        try {
          if (file !== null) side = ourFile(file, 'move').side('move', false);
        } catch (error) {
          const refused = toBlockError(error);
          if (refused.code !== 'closed') throw error;
          return { error: refused, isRead: true, piece: i };
        }
        if (side !== null && !sides.includes(side.who)) sides.push(side.who);
        fd = side?.fd ?? NO_FD;
        last = file;
      }
      doubles[6 * i] = offset;
      doubles[6 * i + 1] = length;
      doubles[6 * i + 2] = to;
      words[12 * i + 6] = fd;
      words[12 * i + 7] = packing === null ? 0 : 1 + CODECS[packing.type].id;
      if (packing === null) continue;
      words[12 * i + 8] = packing.stored;
      words[12 * i + 9] = packing.clusterBytes;
      words[12 * i + 10] = packing.lead;
    }
    return null;
  }
}

function read(outcome: Uint8Array, { pieces, bytes, slice, target }: MoveRequest): Moved {
  const count = Math.ceil(bytes / slice);
  const rows = new Float64Array(outcome.buffer, outcome.byteOffset, 3 + 2 * count);
  const slices: MovedSlice[] = [];
  for (let i = 0; i < count; i++) slices.push({ start: rows[3 + 2 * i], taken: rows[4 + 2 * i] });
  const [side, piece, failure] = new Int32Array(outcome.buffer, outcome.byteOffset + 8, 3);
  if (side === Side.none) {
    const map = outcome.slice(OUTCOME_BYTES + count * SLICE_ROW_BYTES);
    return { slices, map, fault: null };
  }
  const { packing = null } = pieces[piece];
  if (side === Side.data && packing !== null) {
    const error = brokenData(packing.type, packing.stored, packing.clusterBytes);
    return { slices, map: EMPTY, fault: { error, isRead: true, piece } };
  }
  const isRead = side !== Side.target;
  const error = errnoError(failure, {
    operation: isRead ? 'read' : 'write',
    path: (isRead ? pieces[piece].file : null)?.path ?? target.path,
    offset: rows[0],
    length: pieces[piece].length,
  });
  return { slices, map: EMPTY, fault: { error, isRead, piece } };
}

/** Tells the target where bytes were written: in the run, and around what has a place of its own, in whatever order that lies. */
function noteWritten(target: RealFile, { slices }: Moved, { pieces }: MoveRequest): void {
  for (const { start, taken } of slices) if (taken > 0) target.wrote(start, taken);
  let from = Number.POSITIVE_INFINITY;
  let end = 0;
  let bytes = 0;
  for (const { to, length } of pieces) {
    if (to === FROM_RUN) continue;
    from = Math.min(from, to);
    end = Math.max(end, to + length);
    bytes += length;
  }
  if (bytes > 0) target.wrote(from, end - from, bytes);
}
