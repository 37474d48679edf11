// Copies the whole content of an image into another one: `qemu-img convert` without the opening and creating. No job: nobody
// writes to either side meanwhile, it cannot be paused, and an `AbortSignal` ends it.

import { backingOf, nodesAbove, storageOf } from '../block/chain.js';
import { type Child, type NodeUser, type OutsideUse, withLink } from '../block/child.js';
import { compresses } from '../block/compression.js';
import type { BlockNode } from '../block/node/node.js';
import { type Extent, PERM_ALL, Perm, type WriteFlags } from '../block/types.js';
import { MAX_MOVE_BYTES } from '../host/host.js';
import { RateLimit } from '../host/rate-limit.js';
import { BlockError, toBlockError } from '../util/errors.js';
import { roundUp, SECTOR_BYTES } from '../util/numbers.js';
import type { CopyContext, CopyFault } from './copy-engine.js';
import { CHUNK_BYTES, freeContext, MAX_EXTENTS, MAX_PIECE_BYTES, runCopy, WORKERS } from './copy-engine.js';
import { type Chunk, Chunker, ownContent, Plan, skipZeroes, wholeContent } from './copy-plan.js';
import { restOf, zeroByItself } from './left-out.js';
import { warnOfSpace } from './space.js';
import { DEFAULT_SPARSE_BYTES, sparseStep } from './sparse.js';
import { transfer } from './transfer.js';

export interface ConvertOptions {
  source: BlockNode;
  /** At least as long as the source, writable. */
  target: BlockNode;
  /**
   * Runs of so many zero bytes are not written as data (qemu-img `-S`); 0 writes everything out, holes too. Default 4096. A format's
   * whole clusters count only.
   */
  sparseSize?: number;
  /**
   * The target may share blocks with the source's files where the file system can (`-C`). Data is not looked through for zeroes then: only what the
   * source knows to be zero is left out. Excludes `sparseSize`, `compress` and `salvage`.
   */
  copyRange?: boolean;
  /** Store as compressed clusters (`-c`). */
  compress?: boolean;
  /** Each write is durable when it is answered (`-t writethrough`). Default: all is flushed at the end. */
  fua?: boolean;
  /** The target is known to read as zeroes (`--target-is-zero`). Default: its block status says. */
  targetIsZero?: boolean;
  /**
   * The target is to be an overlay of its backing file (`-B`): what it reads from there as it should is left out. That needs no look where
   * the backing file is one of the source's own; what it reads from another one is compared. Otherwise all is written.
   */
  overlay?: boolean;
  /** Requests in flight (`-m`), 1 to 16. Default 4. */
  parallel?: number;
  /** Sectors that cannot be read, also for want of metadata, become zeroes (`--salvage`); this is called for them. */
  salvage?: boolean;
  onSalvaged?: (error: BlockError, extent: Extent) => void;
  /** Is called with the error that ends the copy, before `convert` rejects with it. */
  onFault?: (fault: Pick<CopyFault, 'error' | 'isRead'>) => void;
  /** Rate limit (`-r`), bytes a second; 0 (default) is none. */
  speed?: number;
  /** Is called before the copy where the target's file system may be too full. Default: that is not looked up. */
  warn?: (message: string) => void;
  signal?: AbortSignal;
  /** Bytes of the image that are done, all of them, and how many of the first were copied, which is what `speed` counts; the others were passed over. */
  onProgress?: (current: number, total: number, moved: number) => void;
}

/**
 * Copies and flushes. Rejects with `cancelled` after an abort, `invalid-argument` for sizes that do not fit, and with whatever
 * either side fails with; the target is incomplete then.
 */
export async function convert(options: ConvertOptions): Promise<void> {
  const user: NodeUser = { userName: 'convert' };
  // The caller, who opened both images, decides what others may do meanwhile.
  const reading: OutsideUse = { user, role: 'source', perm: Perm.CONSISTENT_READ, shared: PERM_ALL };
  const writing: OutsideUse = { user, role: 'target', perm: Perm.CONSISTENT_READ | Perm.WRITE, shared: PERM_ALL };
  const compress = compresses(options.target, options.compress);
  await withLink(options.source, reading, (source) =>
    withLink(options.target, writing, (target) => copyAll({ ...options, compress }, source, target)),
  );
}

async function copyAll(options: ConvertOptions, from: Child, to: Child): Promise<void> {
  const { source, target, compress = false, salvage = false, parallel = WORKERS, speed = 0 } = options;
  const { sparseSize = DEFAULT_SPARSE_BYTES } = options;
  const { length } = source;
  checkConvertSizes({
    sparseSize,
    parallel,
    sourceLength: length,
    targetLength: target.length,
    target: target.filename,
  });
  refuseCopyRange(options);
  const limit = speed > 0 ? new RateLimit(source.host.clock, speed) : undefined;
  const overlay = options.overlay === true && backingOf(target) !== null;
  const base = overlay ? await restOf(source, target) : null;
  const compares = overlay && base === null;
  if (options.warn !== undefined && !compress && !compares) {
    await warnOfSpace({ from: nodesAbove(source, base), target }, options.warn);
  }
  const targetIsZero = options.targetIsZero ?? (await zeroByItself(target));

  const step = sparseStep(sparseSize);
  // What is compressed is compressed, or left out, cluster by cluster.
  const unit = compress ? target.clusterBytes : target.copyUnitBytes;
  const zeroStep = step === 0 || options.copyRange ? 0 : Math.max(unit, compress ? SECTOR_BYTES : step);
  // What the source knows to be zero is left out in smaller units than what is looked through.
  const align = Math.max(unit, Math.min(step, DEFAULT_SPARSE_BYTES), 1);
  const chunkBytes = Math.max(CHUNK_BYTES, align, zeroStep);
  const total = Math.max(length, target.length);
  let current = 0;
  let moved = 0;
  const free = freeContext(
    options.signal,
    (bytes, copied = bytes) => {
      current += bytes;
      moved += copied;
      options.onProgress?.(current, total, moved);
    },
    limit,
  );
  const ctx: CopyContext = {
    ...free,
    handleError: async (error, isRead) => {
      options.onFault?.({ error, isRead });
      return 'report';
    },
  };
  const own = base === null ? wholeContent : ownContent;
  const classify = sparseSize === 0 ? () => 'data' as const : targetIsZero ? skipZeroes(own) : own;
  const plan = new Plan(
    { source, base, classify, align, maxPieceBytes: MAX_PIECE_BYTES, readsUntold: salvage },
    0,
    length,
  );
  const copying = {
    source: from,
    target: to,
    zeroStep,
    zeroes: targetIsZero ? ('skip' as const) : ('write' as const),
    unmap: true,
    compareStep: compares && sparseSize > 0 ? Math.max(align, SECTOR_BYTES) : 0,
    flags: writeFlags(options),
    share: options.copyRange,
  };
  await runCopy(ctx, {
    memory: source.host.memory,
    target: { link: to, bytes: length },
    chunks: new Chunker(plan, MAX_EXTENTS),
    chunkBytes,
    stepBytes: () => (salvage ? 0 : MAX_MOVE_BYTES),
    // A small image lies in one piece then. Elsewhere a large chunk would be long under way, and hold up who cancels.
    stepsFirst: !compress && !compares && isLocal(source) && isLocal(target),
    workers: parallel,
    copy: async (chunk, buffer, order) => {
      const fault = await transfer(copying, chunk, buffer, order);
      if (fault === null || !fault.isRead || !salvage) return fault;
      return salvageChunk(options, from, to, chunk, buffer());
    },
  });
  if (total > length) {
    if (!targetIsZero) await to.writeZeroes(length, total - length, { mayUnmap: true, fua: options.fua });
    ctx.progress.advance(total - length, 0);
  }
  await to.flush();
}

function writeFlags({ compress, fua }: ConvertOptions): WriteFlags | undefined {
  return compress || fua ? { ...(compress && { compressed: true }), ...(fua && { fua: true }) } : undefined;
}

/** The image lies in a file that steps of the host take. */
function isLocal(node: BlockNode): boolean {
  return storageOf(node).hostFile()?.movable === true;
}

/** Throws `invalid-argument` where `copyRange` comes with what it excludes. */
export function refuseCopyRange({ copyRange, sparseSize, compress, salvage }: CopyRangeOptions): void {
  if (!copyRange) return;
  let why = '';
  if (compress) why = 'Cannot enable copy offloading when -c is used';
  else if (sparseSize !== undefined) why = 'Cannot enable copy offloading when -S is used';
  else if (salvage) why = 'Cannot use copy offloading in salvaging mode';
  if (why !== '') throw new BlockError('invalid-argument', why);
}

type CopyRangeOptions = Pick<ConvertOptions, 'copyRange' | 'sparseSize' | 'compress' | 'salvage'>;

/** What can be said of a conversion before its target is made. Throws `invalid-argument`. */
export function checkConvertSizes(
  options: Pick<ConvertOptions, 'sparseSize' | 'parallel'> & {
    sourceLength: number;
    targetLength: number;
    target: string;
  },
): void {
  const { sparseSize = DEFAULT_SPARSE_BYTES, parallel = WORKERS, sourceLength, targetLength, target } = options;
  if (!Number.isSafeInteger(sparseSize) || sparseSize < 0 || sparseSize % SECTOR_BYTES !== 0) {
    throw new BlockError('invalid-argument', `Invalid buffer size for sparse output: ${sparseSize}`);
  }
  if (!Number.isSafeInteger(parallel) || parallel < 1 || parallel > 16) {
    throw new BlockError('invalid-argument', 'The number of parallel requests must be from 1 to 16');
  }
  if (targetLength >= sourceLength) return;
  throw BlockError.at(
    target,
    'invalid-argument',
    `target of ${targetLength} bytes is smaller than the source of ${sourceLength} bytes`,
  );
}

/** Copies what can be read of a chunk; every sector that cannot becomes zeroes. */
async function salvageChunk(
  options: ConvertOptions,
  source: Child,
  target: Child,
  chunk: Chunk,
  buffer: Uint8Array,
): Promise<CopyFault | null> {
  let at = 0;
  for (const extent of chunk.extents) {
    await readAround(source, extent.offset, buffer.subarray(at, at + extent.length), (error, lost) =>
      options.onSalvaged?.(error, lost),
    );
    at += extent.length;
  }
  try {
    await target.writeExtents(chunk.extents, buffer.subarray(0, at), writeFlags(options));
    return null;
  } catch (error) {
    return { error: toBlockError(error, { path: target.filename, operation: 'write' }), isRead: false };
  }
}

/** Reads what can be read, halving a range that fails down to a sector, which is then filled with zeroes. */
async function readAround(
  source: Child,
  offset: number,
  buffer: Uint8Array,
  lose: (error: BlockError, extent: Extent) => void,
): Promise<void> {
  try {
    await source.read(offset, buffer);
  } catch (cause) {
    if (buffer.length <= SECTOR_BYTES) {
      buffer.fill(0);
      lose(toBlockError(cause), { offset, length: buffer.length });
      return;
    }
    const half = roundUp(buffer.length / 2, SECTOR_BYTES);
    await readAround(source, offset, buffer.subarray(0, half), lose);
    await readAround(source, offset + half, buffer.subarray(half), lose);
  }
}
