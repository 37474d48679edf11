// Dirty bitmaps of an open image, by name.

import { checkGranularity, DEFAULT_GRANULARITY, DirtyBitmap, MAX_NAME_BYTES } from '../block/bitmap.js';
import { bitmapOf } from '../block/find-bitmap.js';
import type { BlockNode } from '../block/node/node.js';
import { BlockError, type BlockErrorCode, toBlockError } from '../util/errors.js';
import { nameLength } from '../util/name-bytes.js';

/** The default of a node with clusters is a cluster, and no less than this. */
const LEAST_DEFAULT_GRANULARITY = 4096;

export interface NewBitmap {
  /** Bytes. Default: the node's cluster, at least 4 KiB; 64 KiB where it has none. */
  granularity?: number;
  /** It is to be stored in the image. */
  persistent?: boolean;
  /** Whether it records from the beginning on. Default: true. */
  enabled?: boolean;
}

/**
 * Adds a bitmap to `node`. One that is persistent is stored in the image at the next flush, or by `storeBitmaps`. Throws `exists`, `invalid-argument`,
 * `unsupported`, `limit`, `read-only`.
 */
export function addBitmap(node: BlockNode, name: string, options: NewBitmap = {}): DirtyBitmap {
  const { bitmaps, length, clusterBytes } = node;
  const byCluster = clusterBytes === 0 ? DEFAULT_GRANULARITY : Math.max(LEAST_DEFAULT_GRANULARITY, clusterBytes);
  const { granularity = byCluster, enabled, persistent } = options;
  checkGranularity(granularity);
  if (bitmaps.has(name)) throw new BlockError('exists', `Bitmap already exists: ${name}`);
  if (persistent) checkStorable(node, name, granularity);
  const bitmap = new DirtyBitmap({ name, size: length, granularity, enabled, persistent });
  bitmaps.set(name, bitmap);
  return bitmap;
}

/** Throws where the image of `node` cannot store a new bitmap. */
function checkStorable(node: BlockNode, name: string, granularity: number): void {
  const { filename: path, nodeName, readOnly, abilities } = node;
  if (name === '') throw new BlockError('invalid-argument', 'Bitmap name cannot be empty');
  if (abilities.bitmaps === undefined) {
    const message = `Can't store persistent bitmaps to ${nodeName}: Operation not supported`;
    throw new BlockError('unsupported', message, { path });
  }
  const refuse = (code: BlockErrorCode, reason: string): never => {
    throw new BlockError(code, `Can't make bitmap '${name}' persistent in '${nodeName}': ${reason}`, { path });
  };
  if (nameLength(name) > MAX_NAME_BYTES) {
    refuse('invalid-argument', `Name length exceeds maximum (${MAX_NAME_BYTES} characters)`);
  }
  if (readOnly) refuse('read-only', 'the image is read-only');
  try {
    abilities.bitmaps.checkNew(name, granularity);
  } catch (error) {
    const { code, reason } = toBlockError(error);
    refuse(code, reason);
  }
}

/** As `addBitmap`; one that is persistent is in the image when the result resolves. Where that cannot be, it is not there. */
export async function addStoredBitmap(node: BlockNode, name: string, options: NewBitmap): Promise<DirtyBitmap> {
  const bitmap = addBitmap(node, name, options);
  try {
    await storeBitmap(node, bitmap);
  } catch (error) {
    if (node.bitmaps.get(name) === bitmap) node.bitmaps.delete(name);
    throw error;
  }
  return bitmap;
}

/** Removes a bitmap; one that is stored is taken out of the image at the next flush, or by `storeBitmap`. Throws `not-found`, `read-only`, `busy`. */
export function removeBitmap(node: BlockNode, name: string): DirtyBitmap {
  const bitmap = bitmapOf(node, name);
  bitmap.checkRemovable();
  node.bitmaps.delete(name);
  return bitmap;
}

/** As `removeBitmap`; one that was stored is not in the image any more when the result resolves. Where that cannot be, it stays. */
export async function removeStoredBitmap(node: BlockNode, name: string): Promise<void> {
  const bitmap = removeBitmap(node, name);
  try {
    await storeBitmap(node, bitmap);
  } catch (error) {
    if (!node.bitmaps.has(name)) node.bitmaps.set(name, bitmap);
    throw error;
  }
}

/** Where `bitmap` is persistent: makes the image say at once that it is there, or is not any more. */
export async function storeBitmap(node: BlockNode, bitmap: DirtyBitmap): Promise<void> {
  if (bitmap.persistent) await node.abilities.bitmaps?.store();
}

/** Adds `sources` to `target`: all, or none. Throws `busy`, `read-only`, `bad-state` (inconsistent), `invalid-argument` (of another size), `limit`. */
export function mergeBitmaps(target: DirtyBitmap, sources: readonly DirtyBitmap[]): void {
  target.checkChangeable();
  const all = new DirtyBitmap({ size: target.size, granularity: target.granularity, enabled: false });
  for (const source of sources) all.merge(source);
  target.merge(all);
}

/** A change of one bitmap. */
export type BitmapChange =
  /** `granularity`: bytes; left out: the default of `NewBitmap`. */
  | { action: 'add'; granularity?: number }
  | { action: 'remove' | 'clear' | 'enable' | 'disable' }
  /** Adds to it what is dirty in `source`, a bitmap of the node that the caller names. */
  | { action: 'merge'; source: string };

/**
 * Changes the persistent bitmap `name` of `node`; it is stored at the next flush, by `storeBitmap`, or when the image is closed. `sources`: the node that has the
 * bitmaps that are merged. Throws as `addBitmap`, `removeBitmap` and `mergeBitmaps`, and `not-found`.
 */
export function changeBitmap(node: BlockNode, name: string, change: BitmapChange, sources = node): void {
  const { action } = change;
  switch (action) {
    case 'add':
      addBitmap(node, name, { granularity: change.granularity, persistent: true });
      return;
    case 'remove':
      removeBitmap(node, name);
      return;
    case 'merge':
      mergeBitmaps(bitmapOf(node, name), [bitmapOf(sources, change.source)]);
      return;
    default:
      bitmapOf(node, name)[action]();
  }
}
