// What a stored bitmap may say after power loss. The life of a bitmap is cut into spans: a new one begins with each change that is no write (it is cleared, disabled,
// merged, the disk gets another size). Within a span, writes only add to it.
//
//   span 0: bits B0, writes W0 | span 1: bits B1, writes W1 | span 2 ...
//   ^ oldest that may be on disk: the span in which the last completed flush was issued
//
// A bitmap that is found without the mark `in use` must be that of one of these spans: B <= bits <= B + W, if it recorded. And whatever was written in that
// span or later, and reached the disk, must be in it.

import type { DirtyBitmap } from '../../src/block/bitmap.js';
import { Violation } from './guest.js';
import { SECTOR } from './model.js';
import type { VerifiedBitmap } from './verify-bitmaps.js';

interface Written {
  first: number;
  /** Empty: zeroes, or a discard; whether these reached the disk cannot be told. */
  values: readonly number[];
}

interface Span {
  size: number;
  recording: boolean;
  bits: Uint8Array;
  /** Where it was, or may have been, marked. */
  may: Uint8Array;
  writes: Written[];
}

export class BitmapModel {
  readonly bitmap: DirtyBitmap;
  readonly #spans: Span[] = [];

  constructor(bitmap: DirtyBitmap) {
    this.bitmap = bitmap;
    this.begin();
  }

  /** The bitmap was changed otherwise than by a write. Nothing is under way. */
  begin(): void {
    const bits = bitsOf(this.bitmap);
    const { size, recording } = this.bitmap;
    this.#spans.push({ size, recording, bits, may: bits.slice(), writes: [] });
  }

  /** Everything before this moment is on disk, or will be: a flush is issued. Give the result to `flushed`. */
  issueFlush(): number {
    return this.#spans.length - 1;
  }

  flushed(issued: number): void {
    for (let span = 0; span < issued; span++) this.#spans[span].size = -1;
  }

  wrote(first: number, count: number, values: readonly number[]): void {
    const span = this.#spans[this.#spans.length - 1];
    span.writes.push({ first, values });
    if (span.recording) this.#mark(span.may, first, count);
  }

  #mark(into: Uint8Array, first: number, count: number): void {
    const { granularity } = this.bitmap;
    into.fill(1, Math.floor((first * SECTOR) / granularity), Math.ceil(((first + count) * SECTOR) / granularity));
  }

  /** Nothing is under way: what was answered is marked in memory, and nothing that was not asked for. */
  checkMemory(): void {
    const span = this.#spans[this.#spans.length - 1];
    const bits = bitsOf(this.bitmap);
    if (!isWithin(span.bits, bits) || !isWithin(bits, span.may)) {
      throw new Violation(
        'bitmap',
        `bitmap '${this.bitmap.name}' in memory has bits that it must not have, or lost some`,
      );
    }
  }

  /** `found` is on disk, and `content`, by sector. */
  checkDisk(found: VerifiedBitmap, size: number, content: readonly number[]): void {
    if (found.inUse) return;
    const wrong: string[] = [];
    for (let i = 0; i < this.#spans.length; i++) {
      const reason = this.#mismatch(i, found, size, content);
      if (reason === null) return;
      if (this.#spans[i].size >= 0) wrong.push(`span ${i}: ${reason}`);
    }
    throw new Violation('bitmap', `bitmap '${found.name}' looks right, and is not: ${wrong.join('; ')}`);
  }

  #mismatch(index: number, found: VerifiedBitmap, size: number, content: readonly number[]): string | null {
    const span = this.#spans[index];
    if (span.size !== size) return `a disk of ${span.size} bytes`;
    if (span.recording !== found.auto) return `recording: ${span.recording}`;
    if (!isWithin(span.bits, found.bits)) return 'bits are missing';
    if (!isWithin(found.bits, span.may)) return 'too many bits';
    for (let later = index; later < this.#spans.length; later++) {
      if (!found.auto && !this.#spans[later].recording) continue;
      for (const { first, values } of this.#spans[later].writes) {
        for (const [i, value] of values.entries()) {
          if (content[first + i] !== value) continue;
          const granule = Math.floor(((first + i) * SECTOR) / found.granularity);
          if (found.bits[granule] !== 1) return `sector ${first + i} was written in span ${later}, and is not marked`;
        }
      }
    }
    return null;
  }

  /** All was stored: `found` is what is in memory. */
  checkStored(found: VerifiedBitmap | undefined): void {
    const { name, granularity } = this.bitmap;
    const bits = bitsOf(this.bitmap);
    if (found === undefined) throw new Violation('bitmap', `bitmap '${name}' was not stored`);
    const same = !found.inUse && found.auto === this.bitmap.enabled && found.granularity === granularity;
    if (!same || Buffer.compare(bits, found.bits) !== 0) {
      throw new Violation('bitmap', `bitmap '${name}' is not on disk as it was in memory`);
    }
  }
}

export function bitsOf(bitmap: DirtyBitmap): Uint8Array {
  const bits = new Uint8Array(Math.ceil(bitmap.size / bitmap.granularity));
  for (let run = bitmap.nextDirtyRun(0); run !== undefined; run = bitmap.nextDirtyRun(run.offset + run.length)) {
    bits.fill(
      1,
      Math.floor(run.offset / bitmap.granularity),
      Math.ceil((run.offset + run.length) / bitmap.granularity),
    );
  }
  return bits;
}

function isWithin(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((bit, i) => bit <= b[i]);
}
