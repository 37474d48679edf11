// A dirty bitmap of an image, as the library hands it out: what was written since it began to record, or was cleared. How jobs use one (successors,
// holds) is not public.

import type { DirtyBitmap, DirtyRun } from '../block/bitmap.js';
import { wrongType } from '../schema/shape.js';
import { mergeBitmaps } from '../workspace/bitmap.js';

/** Wraps a bitmap of an image. */
export let wrapBitmap: (bitmap: DirtyBitmap) => Bitmap;

/** Which parts of an image were written. It is named in `bitmap` of a backup or a mirror, and in `bitmaps` of a service. */
export class Bitmap {
  readonly #bitmap: DirtyBitmap;

  private constructor(bitmap: DirtyBitmap) {
    this.#bitmap = bitmap;
  }

  static {
    wrapBitmap = (bitmap) => new Bitmap(bitmap);
  }

  get name(): string {
    return this.#bitmap.name ?? '';
  }
  /** Bytes that one bit stands for. */
  get granularity(): number {
    return this.#bitmap.granularity;
  }
  /** Bytes that are dirty, in whole granules. */
  get dirtyBytes(): number {
    return this.#bitmap.dirtyBytes;
  }
  /** Whether writes are recorded. */
  get recording(): boolean {
    return this.#bitmap.recording;
  }
  /** It is stored in the image. */
  get persistent(): boolean {
    return this.#bitmap.persistent;
  }
  /** It was not stored when its image was last written to: nobody knows what is dirty. It can only be removed. */
  get inconsistent(): boolean {
    return this.#bitmap.inconsistent;
  }
  /** A job or a service uses it: it cannot be changed meanwhile. */
  get busy(): boolean {
    return this.#bitmap.busy;
  }

  /** Records from now on. Throws `busy`, and `bad-state` where it is inconsistent. */
  enable(): void {
    this.#bitmap.enable();
  }
  /** Records no more; what is dirty stays so. Throws as `enable`. */
  disable(): void {
    this.#bitmap.disable();
  }
  /** Forgets what is dirty. Throws as `enable`, and `read-only` where it is stored in an image that is. */
  clear(): void {
    this.#bitmap.clear();
  }
  /**
   * Adds what is dirty in `sources`, bitmaps of this image or of others, of any granularity: all, or none. Throws as `clear`, `invalid-argument` for one of a disk of
   * another size, `limit`.
   */
  merge(...sources: Bitmap[]): void {
    const found = sources.map((source, index) => {
      if (!(source instanceof Bitmap)) throw wrongType(`sources[${index}]`, 'Bitmap', source);
      return source.#bitmap;
    });
    mergeBitmaps(this.#bitmap, found);
  }

  /** The dirty runs in order, bytes. */
  *runs(): Generator<DirtyRun, void, undefined> {
    for (let at = 0; ; ) {
      const run = this.#bitmap.nextDirtyRun(at);
      if (run === undefined) return;
      yield run;
      at = run.offset + run.length;
    }
  }
}
