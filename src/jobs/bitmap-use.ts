// How a job uses a user's dirty bitmap: it is frozen at the start, and `bitmap-mode` says what it holds at the end.
//
//   mode         the job succeeded            it failed, or was cancelled
//   on-success   writes since the start       as if it had never run
//   never        as if it had never run       as if it had never run
//   always       writes since the start       writes since the start, and what was not copied

import type { DirtyBitmap } from '../block/bitmap.js';
import type { BlockNode } from '../block/node/node.js';
import type { BitmapSyncMode, MirrorSyncMode } from '../schema/generated/types.js';
import { assert } from '../util/assert.js';
import { BlockError } from '../util/errors.js';

export interface BitmapOptions {
  sync: MirrorSyncMode;
  bitmap?: string;
  bitmapMode?: BitmapSyncMode;
}

/**
 * What becomes of the bitmap that the options name; null where they name none. Throws `invalid-argument` where sync mode, bitmap and its mode do not
 * go together.
 */
export function bitmapMode(options: BitmapOptions): BitmapSyncMode | null {
  const { sync, bitmap: name } = options;
  const mode = sync === 'incremental' ? (options.bitmapMode ?? 'on-success') : options.bitmapMode;
  const refuse = (message: string): never => {
    throw new BlockError('invalid-argument', message);
  };
  if (name === undefined) {
    if (sync === 'bitmap' || sync === 'incremental') refuse(`must provide a valid bitmap name for '${sync}' sync mode`);
    if (options.bitmapMode !== undefined) refuse('Cannot specify bitmap sync mode without a bitmap');
    return null;
  }
  if (sync === 'none') refuse("sync mode 'none' does not produce meaningful bitmap outputs");
  if (sync === 'incremental' && mode !== 'on-success') {
    refuse("Bitmap sync mode must be 'on-success' when using sync mode 'incremental'");
  }
  if (mode === undefined) return refuse('Bitmap sync mode must be given when providing a bitmap');
  if (mode === 'never' && sync !== 'bitmap') {
    refuse(`Bitmap sync mode 'never' has no meaningful effect when combined with sync mode '${sync}'`);
  }
  return mode;
}

/** The bitmap that the options name, with its mode; null where none is used. Throws `invalid-argument`, `not-found`, `busy`. */
export function bitmapFor(node: BlockNode, options: BitmapOptions): BitmapUse | null {
  const { sync, bitmap: name } = options;
  const bitmap = name === undefined ? undefined : node.bitmaps.get(name);
  if (name !== undefined && bitmap === undefined) {
    throw new BlockError('not-found', `Bitmap '${name}' could not be found`, { path: node.filename });
  }
  const mode = bitmapMode(options);
  if (bitmap === undefined || mode === null) return null;
  bitmap.checkUsable();
  if (node.readOnly && bitmap.persistent && mode !== 'never') {
    throw new BlockError('read-only', `Bitmap '${name}' is readonly and cannot be modified`, { path: node.filename });
  }
  return new BitmapUse(bitmap, mode, sync);
}

export class BitmapUse {
  readonly #bitmap: DirtyBitmap;
  readonly #mode: BitmapSyncMode;
  /** The bitmap says what is copied. */
  readonly #selects: boolean;
  #frozen = false;

  constructor(bitmap: DirtyBitmap, mode: BitmapSyncMode, sync: MirrorSyncMode) {
    this.#bitmap = bitmap;
    this.#mode = mode;
    this.#selects = sync === 'bitmap' || sync === 'incremental';
  }

  /** Within a drained section: the moment that the job starts from. Throws `busy`. */
  freeze(): void {
    this.#bitmap.createSuccessor();
    this.#frozen = true;
  }

  /** Marks in `work` what the frozen bitmap selects: everything where it does not select. */
  select(work: DirtyBitmap): void {
    assert(this.#frozen, 'a job selects from a frozen bitmap');
    if (this.#selects) work.mergeBits(this.#bitmap);
    else work.set(0, work.size);
  }

  /** `allCopied`: source and target are alike now, so that writes since the start do not count either (a mirror's end). */
  succeed(allCopied = false): void {
    if (!this.#take()) return;
    if (this.#mode === 'never') this.#bitmap.reclaim();
    else {
      this.#bitmap.abdicate();
      if (allCopied) this.#bitmap.clear();
    }
  }

  /** `rest` is what was selected, but not copied; null: the job never ran, and the bitmap is as if there had been none. */
  fail(rest: DirtyBitmap | null): void {
    if (!this.#take()) return;
    if (this.#mode === 'always' && rest !== null) {
      this.#bitmap.abdicate();
      this.#bitmap.mergeBits(rest, true);
    } else this.#bitmap.reclaim();
  }

  #take(): boolean {
    const was = this.#frozen;
    assert(!was || this.#bitmap.hasSuccessor, 'the bitmap that a job froze stays frozen until the job ends');
    this.#frozen = false;
    return was;
  }
}
