// What the suites that run over every format need of one.

import type { ImageOptions } from '../../src/schema/options.js';
import type { DriverEntry } from '../conformance/entry.js';

export interface FormatFixture {
  readonly name: string;
  /** Its images in the conformance suite. */
  readonly conformance: readonly DriverEntry[];
  /** Its images that are mutated; none where there is no metadata. */
  readonly mutants: readonly MutantKind[];
}

/** A kind of images that are mutated. */
export interface MutantKind {
  /** Named by what is in them. */
  readonly name: string;
  /** It takes much longer than others to open: there are fewer of its mutants. */
  readonly costly: boolean;
  /** It can be repaired. */
  readonly repairs: boolean;
  /** `IMAGE` is the header alone, and `DATA`, which is named, too, the disk. */
  readonly data: boolean;
  /** Of the numbers in its metadata. */
  readonly byteOrder: 'big' | 'little';
  /** How an image is opened: the same for a sound one and for a mutant. */
  readonly options: ImageOptions;
  make(): Promise<MadeMutant>;
}

/** An image, with the files that belong to it. */
export interface MadeMutant {
  readonly files: ReadonlyMap<string, Buffer>;
  /** Of `IMAGE`: what is worth breaking. */
  readonly places: readonly Place[];
}

/** A range of the file in which something has a meaning, [start, end). */
export type Place = readonly [start: number, end: number];
