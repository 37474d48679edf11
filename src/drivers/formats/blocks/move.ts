// Places for data that the host's copy step writes (`BlockNode.prepareMove`): blocks that have a place, and new ones, whose places are set when the data is there. A new block of whose
// steps all were zeroes is given back, unwritten; one that is written in part has holes, since its space reads as zeroes.

import type { Extent, Located, MovePart, MovePlace } from '../../../block/types.js';
import { type Moved, moveSlice } from '../../../host/host.js';
import type { RangeLock } from '../../../util/range-lock.js';
import { type BlockDisk, COMPRESSED, takeAll, ZERO } from './places.js';
import type { NewBlock } from './space.js';

/** Of `BlockDisk`. */
export type MoveTarget = Pick<BlockDisk, 'blockBytes' | 'length' | 'tables' | 'space' | 'file' | 'below'>;

interface Made {
  index: number;
  block: NewBlock;
  /** [from, to) of its steps: what was moved is zeroes alone where all are set in the map. */
  from: number;
  to: number;
}

/** Null where a block would have to be completed with what lies below or in its place, is compressed, or the file below has no such places; rejects as a write. */
export async function prepareBlocks(
  target: MoveTarget,
  locks: RangeLock,
  extents: readonly Extent[],
  granule: number,
): Promise<MovePlace | null> {
  const { blockBytes, tables } = target;
  const slice = moveSlice(granule, 0);
  if (slice === 0 || (granule % blockBytes !== 0 && blockBytes % granule !== 0)) return null;
  if (granule > 0 && extents.some(({ offset }) => offset % granule !== 0)) return null;
  const pieces = piecesOf(blockBytes, extents);
  const releases: (() => void)[] = [];
  const made: Made[] = [];
  let unlock = (): void => undefined;
  const end = (moved: Moved | null): void => {
    const isDone = moved !== null && moved.fault === null;
    for (const { index, block, from, to } of made.reverse()) {
      const isZero = isDone && granule > 0 && moved.map.subarray(from, to).every((step) => step === 1);
      if (isDone && !isZero) tables.set(index, block.offset);
      else target.space.giveBack({ offset: block.offset, fresh: block.fresh && (moved === null || isZero) });
    }
    for (const release of releases) release();
    unlock();
  };
  let place: MovePlace | null = null;
  try {
    for (const { offset, length } of extents) {
      releases.push(
        await tables.prepare(Math.floor(offset / blockBytes), Math.ceil((offset + length) / blockBytes) - 1),
      );
    }
    // A block that has a place keeps it: many steps may write to one.
    const news = pieces.filter(({ index }) => tables.place(index)! < 0);
    if (news.length > 0) {
      const held = await locks.acquire(news[0].index, news[news.length - 1].index + 1);
      unlock = () => locks.release(held);
    }
    const parts = await partsOf(target, pieces, granule, made);
    if (parts !== null) place = placeOf(target, parts, slice, end);
  } finally {
    if (place === null) end(null);
  }
  return place;
}

/** Where the pieces go; new blocks are added to `made`. Null where a block would keep what its place held before, or would need what lies below. */
async function partsOf(
  target: MoveTarget,
  pieces: readonly BlockPiece[],
  granule: number,
  made: Made[],
): Promise<MovePart[] | null> {
  const { blockBytes, tables, space } = target;
  const news: { index: number; pieces: BlockPiece[] }[] = [];
  for (const piece of pieces) {
    const place = tables.place(piece.index)!;
    if (place === COMPRESSED) return null;
    if (place >= 0) continue;
    if (news.at(-1)?.index === piece.index) news.at(-1)!.pieces.push(piece);
    else news.push({ index: piece.index, pieces: [piece] });
  }
  const isAll = ({ index, pieces: [{ length }] }: { index: number; pieces: BlockPiece[] }): boolean =>
    length === Math.min(blockBytes, target.length - index * blockBytes);
  if (news.some((block) => !isAll(block) && target.below !== null && tables.place(block.index) !== ZERO)) return null;
  const blocks = await takeAll(space, news.length);
  const stepAt = (done: number): number => (granule === 0 ? 0 : Math.floor(done / granule));
  for (const [i, { index, pieces: own }] of news.entries()) {
    const last = own[own.length - 1];
    made.push({ index, block: blocks[i], from: stepAt(own[0].done), to: stepAt(last.done + last.length - 1) + 1 });
  }
  const isWritten = (block: { index: number; pieces: BlockPiece[] }): boolean =>
    granule % blockBytes === 0 && block.pieces[0].length === blockBytes;
  if (news.some((block, i) => !blocks[i].fresh && !isWritten(block))) return null;
  const parts: MovePart[] = [];
  let next = -1;
  for (const { index, within, length } of pieces) {
    let place = tables.place(index)!;
    if (place < 0) {
      if (next < 0 || made[next].index !== index) next++;
      place = made[next].block.offset;
    }
    const to = place + within;
    const before = parts.at(-1);
    if (before !== undefined && before.to + before.length === to) before.length += length;
    else parts.push({ length, to });
  }
  return parts;
}

/** What of one extent lies in one block. */
interface BlockPiece {
  index: number;
  /** Offset in the block. */
  within: number;
  length: number;
  /** Bytes of the extents before it. */
  done: number;
}

function piecesOf(blockBytes: number, extents: readonly Extent[]): BlockPiece[] {
  const pieces: BlockPiece[] = [];
  let done = 0;
  for (const { offset, length } of extents) {
    for (let at = offset; at < offset + length; ) {
      const within = at % blockBytes;
      const bytes = Math.min(blockBytes - within, offset + length - at);
      pieces.push({ index: (at - within) / blockBytes, within, length: bytes, done });
      done += bytes;
      at += bytes;
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
