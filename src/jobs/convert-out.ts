// Writes the content of an image to where there is no way back: a pipe, standard output. The source is read twice where tables come first:
//
//   survey   the source's map, and the zeroes within its data --> which units hold data (a bit each)
//   head     the tables, which the driver makes of that (`StreamedImage`)
//   data     the units with data, in order
//
// Where the data lies in place (raw), there is nothing but the last step, and zeroes between; where units are compressed and tables stand behind them (vmdk), the source is read once,
// too. A few reads are ahead of the write that is under way.

import { chainStatus } from '../block/chain.js';
import { type Child, readingUse, withLink } from '../block/child.js';
import type { BlockNode } from '../block/node/node.js';
import type { StreamedBehindTables, StreamedContent, StreamedImage, StreamedPacked } from '../block/registry.js';
import { sameBelow } from '../block/same-below.js';
import type { ByteSink } from '../host/byte-stream.js';
import { RateLimit } from '../host/rate-limit.js';
import { refuseAborted } from '../util/abort.js';
import { BitTree } from '../util/bit-tree.js';
import { BlockError, toBlockError } from '../util/errors.js';
import { roundUp } from '../util/numbers.js';
import { later } from '../util/settle.js';
import { CHUNK_BYTES, MAX_PIECE_BYTES } from './copy-engine.js';
import { ownContent, type Piece, Plan, wholeContent } from './copy-plan.js';
import { PackedUnits } from './packed-units.js';
import { readPadded } from './rebase.js';
import { sparseStep } from './sparse.js';
import { equalMap } from './transfer.js';

/** Reads that are under way, or done, ahead of the write. */
const READS_AHEAD = 4;
/** Memory for the bits of the units. */
const MAX_BITS_BYTES = 256 << 20;

export interface ConvertOutOptions {
  source: BlockNode;
  sink: ByteSink;
  image: StreamedImage;
  /** The image is an overlay of this one: what it reads as already is left out. Null: it has no backing file. */
  backing: BlockNode | null;
  /** As in `ConvertOptions`. */
  sparseSize?: number;
  /** Bytes that are read a second. Default: no limit. */
  speed?: number;
  signal?: AbortSignal;
  /** Bytes of the disk that are done, and all of them: each counts once for each time that it is looked at. `moved`: bytes of data among them. */
  onProgress?: (current: number, total: number, moved: number) => void;
}

/**
 * Resolves when the sink has accepted the last byte. Rejects with `cancelled` after an abort, with `limit` where the image has too many parts to be surveyed, and with what
 * either side fails with: then the sink has a part of the image.
 */
export async function convertOut(options: ConvertOutOptions): Promise<void> {
  const reading = readingUse('convert', 'source');
  const { source, backing, sink, signal } = options;
  const stop = (): void => sink.stop();
  signal?.addEventListener('abort', stop);
  try {
    await withLink(source, reading, (link) => {
      const run = (below: Child | null) => new StreamWriter(options, link, below).run();
      return backing === null ? run(null) : withLink(backing, reading, run);
    });
  } catch (error) {
    refuseAborted(signal);
    throw error;
  } finally {
    signal?.removeEventListener('abort', stop);
  }
}

/** Bytes of the source at a place: in `buffer`, or zeroes. */
interface Loaded {
  piece: Piece;
  buffer: Uint8Array | null;
  /** 1 for each step of `granule` bytes that is zero, or that the backing file has. */
  map: Uint8Array | null;
  same: Uint8Array | null;
}

class StreamWriter {
  readonly #options: ConvertOutOptions;
  readonly #source: Child;
  readonly #backing: Child | null;
  readonly #limit: RateLimit | null;
  /** Bytes of one read: whole units. */
  readonly #chunkBytes: number;
  /** Step of the test for zeroes; 0: there is none. */
  readonly #granule: number;
  #current = 0;
  #moved = 0;

  constructor(options: ConvertOutOptions, source: Child, backing: Child | null) {
    const { speed = 0, sparseSize, image } = options;
    this.#options = options;
    this.#source = source;
    this.#backing = backing;
    this.#limit = speed > 0 ? new RateLimit(source.node.host.clock, speed) : null;
    const step = sparseStep(sparseSize);
    this.#granule = step === 0 ? 0 : Math.max(step, image.unit);
    this.#chunkBytes = Math.max(CHUNK_BYTES, this.#granule, image.unit);
  }

  async run(): Promise<void> {
    const { image, sink } = this.#options;
    const { layout } = image;
    if (layout.kind === 'in-place') await this.#writeInPlace();
    else if (layout.kind === 'packed') await this.#writePacked(layout);
    else {
      const content = await this.#survey(layout);
      await this.#writeParts(layout.head(content));
      await this.#writeUnits(content.data);
    }
    refuseAborted(this.#options.signal);
    await sink.end();
  }

  async #writeParts(parts: Iterable<Uint8Array>): Promise<void> {
    for (const part of parts) {
      refuseAborted(this.#options.signal);
      await this.#options.sink.write(part);
    }
  }

  async #writePacked(layout: StreamedPacked): Promise<void> {
    const granule = this.#granule;
    const { unit } = this.#options.image;
    const units = new PackedUnits(layout, this.#source.node.host, unit, (parts) => this.#writeParts(parts));
    await units.begin();
    try {
      await this.#each(this.#pieces(null, granule === 0 ? unit : granule), granule > 0, async (loaded) => {
        const { piece, buffer, map } = loaded;
        if (buffer === null) return;
        await units.add(piece.offset, buffer, (at) => map !== null && map[Math.floor(at / granule)] === 1);
      });
    } finally {
      await units.settled();
    }
    await units.end();
  }

  async #writeInPlace(): Promise<void> {
    const { image, sink } = this.#options;
    const { length } = this.#source;
    // Where zeroes are written anyway, nobody need look for them.
    const scans = sink.skips && this.#granule > 0;
    const pieces = this.#pieces(null, Math.max(this.#granule, 1));
    await this.#each(pieces, scans, async ({ piece, buffer, map }) => {
      if (buffer === null) await sink.zeroes(piece.length);
      else if (map === null) await sink.write(buffer);
      else {
        for (const { from, to, zero } of runsOf(map, this.#granule, buffer.length)) {
          if (zero) await sink.zeroes(to - from);
          else await sink.write(buffer.subarray(from, to));
        }
      }
    });
    if (image.size > length) await sink.zeroes(image.size - length);
  }

  /** The first pass. */
  async #survey({ marksZeroes }: StreamedBehindTables): Promise<StreamedContent> {
    const { image, source, backing } = this.#options;
    const { unit } = image;
    const units = Math.ceil(image.size / unit);
    const content = { data: new BitTree(units, MAX_BITS_BYTES), zero: new BitTree(units, MAX_BITS_BYTES) };
    const mark = (bits: BitTree, from: number, to: number): void =>
      bits.fill(Math.floor(from / unit), Math.ceil(to / unit), true);
    // Over nothing, what is not there reads as zeroes.
    const zeroes = async (from: number, to: number): Promise<void> => {
      for (const part of await this.#notZeroBelow(from, to)) {
        mark(marksZeroes ? content.zero : content.data, part.from, part.to);
      }
    };
    if (this.#granule === 0) {
      content.data.fill(0, Math.ceil(source.length / unit), true);
      await zeroes(roundUp(source.length, unit), image.size);
      return content;
    }
    const base = backing === null ? null : await sameBelow(source, backing);
    const compares = backing !== null && base === null;
    await this.#each(
      this.#pieces(base, this.#granule),
      true,
      async ({ piece, map, same }) => {
        if (piece.kind === 'skip') return;
        const { offset, length } = piece;
        if (piece.kind === 'zero' || map === null) return zeroes(offset, offset + length);
        for (const { from, to, zero } of runsOf(map, this.#granule, length)) {
          if (same === null) {
            if (zero) await zeroes(offset + from, offset + to);
            else mark(content.data, offset + from, offset + to);
            continue;
          }
          for (let at = from; at < to; at += this.#granule) {
            if (same[at / this.#granule] === 1) continue;
            const end = Math.min(at + this.#granule, to);
            if (zero) await zeroes(offset + at, offset + end);
            else mark(content.data, offset + at, offset + end);
          }
        }
      },
      compares,
    );
    // Behind the end of the source the disk is zero, also where the backing file is not.
    const whole = roundUp(source.length, unit);
    await zeroes(whole, image.size);
    const last = whole / unit - 1;
    if (whole > source.length && !content.data.get(last) && !content.zero.get(last)) {
      const parts = await this.#notZeroBelow(source.length, Math.min(whole, image.size));
      if (parts.length > 0) mark(content.data, source.length, whole);
    }
    return content;
  }

  /** The parts of [from, to), in whole units, in which the backing file is not known to read as zeroes. */
  async #notZeroBelow(from: number, to: number): Promise<{ from: number; to: number }[]> {
    const { backing, image } = this.#options;
    const parts: { from: number; to: number }[] = [];
    if (backing === null) return parts;
    const stop = Math.min(to, backing.length);
    for (let at = from; at < stop; ) {
      const { zero, length } = await chainStatus(backing, null, at, stop - at);
      const end = zero ? at + length : Math.min(to, roundUp(at + length, image.unit));
      if (!zero) parts.push({ from: Math.max(from, at - (at % image.unit)), to: end });
      at = end;
    }
    return parts;
  }

  /** The second pass. */
  async #writeUnits(data: BitTree): Promise<void> {
    const { image, sink } = this.#options;
    const { length } = this.#source;
    const chunkUnits = this.#chunkBytes / image.unit;
    const units = Math.ceil(length / image.unit);
    const pieces = async function* (): AsyncGenerator<Piece> {
      for (let at = data.find(0, true); at >= 0 && at < units; ) {
        const end = data.find(at, false);
        const stop = Math.min(end < 0 ? units : end, at + chunkUnits, units);
        const offset = at * image.unit;
        yield { kind: 'data', offset, length: Math.min(stop * image.unit, length) - offset };
        at = data.find(stop, true);
      }
    };
    let before = 0;
    await this.#each(pieces(), false, async ({ piece, buffer }) => {
      if (buffer !== null) await sink.write(buffer);
      // The last unit may reach beyond the end of the disk.
      const rest = piece.length % image.unit;
      if (rest > 0) await sink.write(new Uint8Array(image.unit - rest));
      this.#advance(piece.offset - before, 0);
      before = piece.offset + piece.length;
    });
    // Units behind the source, which hide what a backing file has there.
    for (let at = data.find(units, true); at >= 0; ) {
      refuseAborted(this.#options.signal);
      const end = data.find(at, false);
      const stop = end < 0 ? data.length : end;
      await sink.zeroes((stop - at) * image.unit);
      at = data.find(stop, true);
    }
    this.#advance(length - before, 0);
  }

  /** The source's content in pieces: of data, a read each. */
  async *#pieces(base: BlockNode | null, align: number): AsyncGenerator<Piece> {
    const { source, sparseSize } = this.#options;
    const classify = sparseSize === 0 ? () => 'data' as const : base === null ? wholeContent : ownContent;
    const plan = new Plan({ source, base, classify, align, maxPieceBytes: MAX_PIECE_BYTES }, 0, source.length);
    for (;;) {
      const piece = await plan.next(this.#chunkBytes);
      if (piece === null) return;
      yield piece;
    }
  }

  /** Reads the pieces ahead, and calls `take` for one after the other. A buffer is free again when that has resolved. */
  async #each(
    pieces: AsyncGenerator<Piece>,
    scans: boolean,
    take: (loaded: Loaded) => Promise<void>,
    compares = false,
  ): Promise<void> {
    const { memory } = this.#source.node.host;
    const loading: Promise<Loaded>[] = [];
    const finish = async (): Promise<void> => {
      const loaded = await (loading.shift() as Promise<Loaded>);
      try {
        await take(loaded);
      } finally {
        if (loaded.buffer !== null) memory.free(loaded.buffer);
      }
      const { kind, length } = loaded.piece;
      this.#advance(length, kind === 'data' ? length : 0);
    };
    try {
      for await (const piece of pieces) {
        refuseAborted(this.#options.signal);
        if (piece.kind === 'data') await this.#limit?.admit(piece.length, this.#options.signal);
        loading.push(later(this.#load(piece, scans, compares)));
        if (loading.length >= READS_AHEAD) await finish();
      }
      while (loading.length > 0) await finish();
    } finally {
      for (const left of await Promise.allSettled(loading)) {
        if (left.status === 'fulfilled' && left.value.buffer !== null) memory.free(left.value.buffer);
      }
    }
  }

  async #load(piece: Piece, scans: boolean, compares: boolean): Promise<Loaded> {
    if (piece.kind !== 'data') return { piece, buffer: null, map: null, same: null };
    const source = this.#source;
    const { memory } = source.node.host;
    const { offset, length } = piece;
    const buffer = memory.allocate(length);
    try {
      const granule = this.#granule;
      const map = scans && granule > 0 ? new Uint8Array(Math.ceil(length / granule)) : null;
      await source.read(offset, buffer, map === null ? undefined : { granule, map });
      const same = compares && this.#backing !== null ? await this.#sameAs(this.#backing, offset, buffer) : null;
      return { piece, buffer, map, same };
    } catch (error) {
      memory.free(buffer);
      throw toBlockError(error, { path: source.filename, operation: 'read', offset });
    }
  }

  async #sameAs(backing: Child, offset: number, buffer: Uint8Array): Promise<Uint8Array> {
    const { memory } = backing.node.host;
    const there = memory.allocate(buffer.length);
    try {
      await readPadded(backing, [{ offset, length: buffer.length }], there);
      return equalMap(buffer, there, this.#granule);
    } finally {
      memory.free(there);
    }
  }

  #advance(bytes: number, moved: number): void {
    const { image, onProgress } = this.#options;
    this.#current += bytes;
    this.#moved += moved;
    onProgress?.(this.#current, this.#source.length * (image.layout.kind === 'behind-tables' ? 2 : 1), this.#moved);
  }
}

/** The runs of a map, in bytes of the `length` that it is about. */
function* runsOf(
  map: Uint8Array,
  granule: number,
  length: number,
): Generator<{ from: number; to: number; zero: boolean }> {
  for (let at = 0; at < map.length; ) {
    let next = at + 1;
    while (next < map.length && map[next] === map[at]) next++;
    yield { from: at * granule, to: Math.min(next * granule, length), zero: map[at] === 1 };
    at = next;
  }
}

/** Throws `invalid-argument` where the source does not fit into an image of that size. */
export function checkOutSize(source: BlockNode, { size }: StreamedImage): void {
  if (size >= source.length) return;
  throw new BlockError('invalid-argument', 'output file is smaller than input file');
}
