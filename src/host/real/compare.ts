// The compare step of the real host: one request of the addon reads both sides and compares them (native/compare.h has the layout of what is shared).

import { errnoError } from '../errno.js';
import type { Compared, ComparePiece, CompareRequest, HostFile } from '../host.js';
import { NO_FD } from './descriptor.js';
import { type Engine, Requester } from './engine.js';
import { ourFile } from './file.js';
import type { ArenaMemory } from './memory.js';
import { Op } from './table.js';

const PIECE_BYTES = 32;
const OUTCOME_BYTES = 24;
const Side = { none: 0, a: 1 } as const;

export class Comparer {
  readonly #engine: Engine;
  readonly #memory: ArenaMemory;
  readonly #who = new Requester('compare');

  constructor(engine: Engine, memory: ArenaMemory) {
    this.#engine = engine;
    this.#memory = memory;
  }

  /** See `Host.compare`. */
  async compare({ pieces, bytes }: CompareRequest): Promise<Compared> {
    const memory = this.#memory;
    const shared = memory.allocate(pieces.length * PIECE_BYTES + OUTCOME_BYTES);
    const table = shared.subarray(0, pieces.length * PIECE_BYTES);
    const outcome = shared.subarray(table.length);
    const sides: Requester[] = [];
    try {
      fill(table, pieces, sides);
      for (const side of sides) side.inFlight++;
      try {
        const descriptor = this.#engine.prepare(Op.compare, NO_FD);
        descriptor.address = memory.addressOf(table);
        descriptor.length = bytes;
        descriptor.extra = pieces.length;
        descriptor.address2 = memory.addressOf(outcome);
        await this.#engine.start(this.#who);
      } finally {
        for (const side of sides) side.done();
      }
      return read(outcome, pieces);
    } finally {
      memory.free(shared);
    }
  }
}

/** Writes the pieces into the table, and adds their files to `sides`, each once. */
function fill(table: Uint8Array, pieces: readonly ComparePiece[], sides: Requester[]): void {
  const doubles = new Float64Array(table.buffer, table.byteOffset, pieces.length * 4);
  const words = new Int32Array(table.buffer, table.byteOffset, pieces.length * 8);
  const descriptorOf = (file: HostFile | null): number => {
    if (file === null) return NO_FD;
    const { fd, who } = ourFile(file, 'compare').side('compare', false);
    if (!sides.includes(who)) sides.push(who);
    return fd;
  };
  for (let i = 0; i < pieces.length; i++) {
    const { a, b, aOffset, bOffset, length } = pieces[i];
    doubles[4 * i] = aOffset;
    doubles[4 * i + 1] = bOffset;
    doubles[4 * i + 2] = length;
    words[8 * i + 6] = descriptorOf(a);
    words[8 * i + 7] = descriptorOf(b);
  }
}

function read(outcome: Uint8Array, pieces: readonly ComparePiece[]): Compared {
  const [difference, at] = new Float64Array(outcome.buffer, outcome.byteOffset, 2);
  const [failed, failure] = new Int32Array(outcome.buffer, outcome.byteOffset + 16, 2);
  if (failed === Side.none) return { difference, fault: null };
  const side = failed === Side.a ? 'a' : 'b';
  let piece = 0;
  let before = 0;
  while (before + pieces[piece].length <= at) before += pieces[piece++].length;
  const { a, b, aOffset, bOffset, length } = pieces[piece];
  const error = errnoError(failure, {
    operation: 'read',
    path: (side === 'a' ? a : b)?.path ?? '',
    offset: (side === 'a' ? aOffset : bOffset) + at - before,
    length: length - (at - before),
  });
  return { difference: -1, fault: { error, side, at } };
}
