// Persistent bitmaps that a copy of an image gets, in qemu-img's words. All that can be refused is refused before the copy begins; they are added when it is
// complete, so that a copy that was broken off has none.

import type { DirtyBitmap } from '../block/bitmap.js';
import type { BlockNode } from '../block/node/node.js';
import { BlockError, toBlockError } from '../util/errors.js';
import { reasonInWords } from '../util/system-words.js';
import { addBitmap } from './bitmap.js';

/** The persistent bitmaps of `node`, by the order of its directory. */
export function storedBitmaps({ bitmaps }: BlockNode): DirtyBitmap[] {
  return [...bitmaps.values()].filter(({ persistent }) => persistent);
}

/**
 * Those of `stored`, bitmaps of `source`, that can be copied. `skip` is called with each that is inconsistent; without it, the last of them is thrown as `bad-state`.
 * Throws `unsupported` where the source can have no bitmaps.
 */
export function bitmapsToCopy(
  { abilities }: BlockNode,
  stored: readonly DirtyBitmap[],
  skip?: (bitmap: DirtyBitmap) => void,
): DirtyBitmap[] {
  if (abilities.bitmaps?.storable !== true) throw new BlockError('unsupported', 'Source lacks bitmap support');
  const broken = stored.filter(({ inconsistent }) => inconsistent).reverse();
  if (skip === undefined && broken.length > 0) {
    throw new BlockError('bad-state', `Cannot copy inconsistent bitmap '${broken[0].name}'`);
  }
  for (const bitmap of broken) skip?.(bitmap);
  return stored.filter(({ inconsistent }) => !inconsistent);
}

/** The error for a format, or a version of one, that cannot store bitmaps. */
export function bitmapsUnsupported(driver: string): BlockError {
  return new BlockError('unsupported', `Format driver '${driver}' does not support bitmaps`);
}

/** Throws `unsupported` where the image of `target` can store no bitmaps. */
export function checkTakesBitmaps({ abilities, driver }: BlockNode): void {
  if (abilities.bitmaps?.storable !== true) throw bitmapsUnsupported(driver);
}

/** Throws what `addCopies` would throw, and changes nothing. */
export function checkCopies(target: BlockNode, bitmaps: readonly DirtyBitmap[]): void {
  for (const { name = '' } of addCopies(target, bitmaps)) target.bitmaps.delete(name);
}

/**
 * Adds copies of `bitmaps` to `target`: all, or none. They are stored at its next flush, or when it is closed. Throws `unsupported`, `exists`, `invalid-argument` (for a disk of
 * another size), `limit`.
 */
export function addCopies(target: BlockNode, bitmaps: readonly DirtyBitmap[]): DirtyBitmap[] {
  checkTakesBitmaps(target);
  const added: DirtyBitmap[] = [];
  const attempt = (what: string, { name = '' }: DirtyBitmap, action: () => void): void => {
    try {
      action();
    } catch (error) {
      for (const one of added) target.bitmaps.delete(one.name!);
      const failure = toBlockError(error);
      throw new BlockError(failure.code, `Failed to ${what} bitmap ${name}: ${reasonInWords(failure)}`, {
        cause: error,
      });
    }
  };
  // As qemu-img, which names the last one first.
  for (const bitmap of [...bitmaps].reverse()) {
    const { name = '', granularity } = bitmap;
    attempt('create', bitmap, () =>
      added.push(addBitmap(target, name, { granularity, persistent: true, enabled: false })),
    );
    const copy = added[added.length - 1];
    attempt('populate', bitmap, () => copy.merge(bitmap));
    if (bitmap.enabled) copy.enable();
  }
  // In the order of the source, which is that of the directory that is written.
  for (const copy of added.reverse()) {
    target.bitmaps.delete(copy.name!);
    target.bitmaps.set(copy.name!, copy);
  }
  return added;
}
