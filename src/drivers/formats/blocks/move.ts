// Places for data that the host's copy step writes (`BlockNode.prepareMove`): blocks that have a place, and new ones, whose places are set when the data is there. A new block whose
// step was all zeroes is given back, unwritten.

import type { Extent, Located, MovePart, MovePlace } from '../../../block/types.js';
import { type Moved, moveSlice } from '../../../host/host.js';
import type { RangeLock } from '../../../util/range-lock.js';
import { type BlockDisk, takeAll } from './places.js';
import type { NewBlock } from './space.js';

/** Of `BlockDisk`. */
export type MoveTarget = Pick<BlockDisk, 'blockBytes' | 'length' | 'tables' | 'space' | 'file'>;

interface Made {
  index: number;
  block: NewBlock;
  /** Of its step: what was moved is zeroes alone where that is set in the map. */
  step: number;
}

/** Null where a part of a block would be written, or the file below has no such places; rejects as a write. */
export async function prepareBlocks(
  target: MoveTarget,
  locks: RangeLock,
  extents: readonly Extent[],
  granule: number,
): Promise<MovePlace | null> {
  const { blockBytes, length: diskBytes, tables } = target;
  const slice = moveSlice(granule, blockBytes);
  if (granule % blockBytes !== 0 || slice === 0) return null;
  for (const { offset, length } of extents) {
    const end = offset + length;
    if (offset % blockBytes !== 0 || (end % blockBytes !== 0 && end !== diskBytes)) return null;
  }
  const first = extents[0].offset / blockBytes;
  const last = extents[extents.length - 1];
  const held = await locks.acquire(first, Math.ceil((last.offset + last.length) / blockBytes));
  const releases: (() => void)[] = [];
  const made: Made[] = [];
  const end = (moved: Moved | null): void => {
    const isDone = moved !== null && moved.fault === null;
    for (const { index, block, step } of made.reverse()) {
      const isZero = isDone && granule > 0 && moved.map[step] === 1;
      if (isDone && !isZero) tables.set(index, block.offset);
      else target.space.giveBack({ offset: block.offset, fresh: block.fresh && (moved === null || isZero) });
    }
    for (const release of releases) release();
    locks.release(held);
  };
  let place: MovePlace | null = null;
  try {
    for (const { offset, length } of extents) {
      releases.push(await tables.prepare(offset / blockBytes, Math.ceil((offset + length) / blockBytes) - 1));
    }
    const parts = await partsOf(target, extents, granule, made);
    if (parts !== null) place = placeOf(target, parts, slice, end);
  } finally {
    if (place === null) end(null);
  }
  return place;
}

/** Where the blocks go; new ones are added to `made`. Null where a block would keep what its place held before. */
async function partsOf(
  { blockBytes, tables, space }: MoveTarget,
  extents: readonly Extent[],
  granule: number,
  made: Made[],
): Promise<MovePart[] | null> {
  const pieces = piecesOf(blockBytes, extents);
  const news = pieces.filter(({ index }) => tables.place(index)! < 0);
  const blocks = await takeAll(space, news.length);
  made.push(
    ...news.map(({ index, done }, i) => ({
      index,
      block: blocks[i],
      step: granule === 0 ? 0 : Math.floor(done / granule),
    })),
  );
  if (news.some(({ length }, i) => length < blockBytes && !blocks[i].fresh)) return null;
  const parts: MovePart[] = [];
  let next = 0;
  for (const { index, length } of pieces) {
    const place = tables.place(index)!;
    const to = place < 0 ? blocks[next++].offset : place;
    const before = parts.at(-1);
    if (before !== undefined && before.to + before.length === to) before.length += length;
    else parts.push({ length, to });
  }
  return parts;
}

interface BlockPiece {
  index: number;
  /** All of the block, or the part of the last one that the disk has. */
  length: number;
  /** Bytes of the extents before it. */
  done: number;
}

function piecesOf(blockBytes: number, extents: readonly Extent[]): BlockPiece[] {
  const pieces: BlockPiece[] = [];
  let done = 0;
  for (const { offset, length } of extents) {
    for (let at = 0; at < length; at += blockBytes) {
      const bytes = Math.min(blockBytes, length - at);
      pieces.push({ index: (offset + at) / blockBytes, length: bytes, done });
      done += bytes;
    }
  }
  return pieces;
}

function placeOf(
  { file }: MoveTarget,
  parts: readonly MovePart[],
  slice: number,
  done: (moved: Moved | null) => void,
): MovePlace | null {
  const into: Located = { file: null, offset: 0, guard: null };
  let found: Located['file'] = null;
  for (const { length, to } of parts) {
    if (!file.link.locate(to, length, true, into)) return null;
    const isPlain = into.guard === null && into.offset === to && into.file?.movable === true;
    into.guard?.release();
    if (!isPlain || (found !== null && found !== into.file)) return null;
    found = into.file;
  }
  if (found === null) return null;
  file.unflushed = true;
  return { target: found, parts, run: null, slice, done };
}
