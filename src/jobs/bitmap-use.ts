// A user's dirty bitmap in the hands of a job: frozen at the start, and at the end what `bitmap-mode` says.
//
//   mode         the job succeeded            it failed, or was cancelled
//   on-success   writes since the start       as if it had never run
//   never        as if it had never run       as if it had never run
//   always       writes since the start       writes since the start, and what was not copied

import type { DirtyBitmap } from '../block/bitmap.js';
import type { BlockNode } from '../block/node.js';
import type { BitmapSyncMode, MirrorSyncMode } from '../schema/generated/types.js';
import { BlockError } from '../util/errors.js';

export interface BitmapOptions {
  sync: MirrorSyncMode;
  bitmap?: string;
  bitmapMode?: BitmapSyncMode;
}

/** The bitmap that the options name, with its mode; null where none is used. Throws `invalid-argument`, `not-found`, `busy`. */
export function bitmapFor(node: BlockNode, options: BitmapOptions): BitmapUse | null {
  const { sync, bitmap: name } = options;
  let mode = options.bitmapMode;
  if (name === undefined) {
    if (sync === 'bitmap' || sync === 'incremental') {
      throw new BlockError('invalid-argument', `must provide a valid bitmap name for '${sync}' sync mode`);
    }
    if (mode !== undefined) {
      throw new BlockError('invalid-argument', 'Cannot specify bitmap sync mode without a bitmap');
    }
    return null;
  }
  if (sync === 'none') {
    throw new BlockError('invalid-argument', "sync mode 'none' does not produce meaningful bitmap outputs");
  }
  if (sync === 'incremental') {
    if (mode !== undefined && mode !== 'on-success') {
      throw new BlockError(
        'invalid-argument',
        "Bitmap sync mode must be 'on-success' when using sync mode 'incremental'",
      );
    }
    mode = 'on-success';
  }
  if (mode === undefined)
    throw new BlockError('invalid-argument', 'Bitmap sync mode must be given when providing a bitmap');
  if (mode === 'never' && sync !== 'bitmap') {
    throw new BlockError(
      'invalid-argument',
      `Bitmap sync mode 'never' has no meaningful effect when combined with sync mode '${sync}'`,
    );
  }
  const bitmap = node.bitmaps.get(name);
  if (bitmap === undefined)
    throw new BlockError('not-found', `Bitmap '${name}' could not be found`, { path: node.filename });
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

  /** `rest` is what was selected, but not copied. */
  fail(rest: DirtyBitmap): void {
    if (!this.#take()) return;
    if (this.#mode === 'always') {
      this.#bitmap.abdicate();
      this.#bitmap.mergeBits(rest);
    } else this.#bitmap.reclaim();
  }

  #take(): boolean {
    const was = this.#frozen;
    this.#frozen = false;
    return was;
  }
}
