// What the suites that run over every format need of one.

import type { Random } from '../../src/host/sim/index.js';
import type { ImageOptions } from '../../src/schema/options.js';
import type { DriverEntry } from '../conformance/entry.js';
import type { Effects } from '../schema/effects/kit.js';

export interface FormatFixture {
  readonly name: string;
  /** Its images in the conformance suite. */
  readonly conformance: readonly DriverEntry[];
  /** Its images that are mutated; none where there is no metadata. */
  readonly mutants: readonly MutantKind[];
  /** How many mutants a test run has, and the soak. Default: 1,000 and 20,000. */
  readonly mutantCounts?: { readonly fixed: number; readonly soak: number };
  /** Its images in the simulation of guests; left out: none but where a scenario draws the format by itself. */
  readonly simulated?: SimulatedFormat;
  /** Its images that we and QEMU's tools write in turns; left out: none but in tests of its own. */
  readonly shared?: SharedFormat;
  /** The proofs of its options (test/schema/members.test.ts), of a format whose proofs are not there. */
  readonly effects?: Effects;
}

/** How images of a format are drawn for the simulation. */
export interface SimulatedFormat {
  draw(random: Random): SimulatedImage;
  /** What an unclean end leaves is repaired before it is checked. */
  readonly repairs: boolean;
  /** Of which format backing files are: of the same one, or raw alone. Default: raw and qcow2. */
  readonly backing?: 'itself' | 'raw';
}

export interface SimulatedImage {
  sectors: number;
  /** Bytes of a block: writes go to the edges of blocks more often. */
  clusterBytes: number;
  /** Members of the options of `create`, beside driver, size, and backing file. */
  create: object;
}

/** How images of a format are drawn that we and QEMU's tools write in turns. */
export interface SharedFormat {
  draw(random: Random): SharedImage;
  /** `qemu-img check` knows the format. */
  readonly checks: boolean;
}

export interface SharedImage {
  /** Bytes of the disk that is asked for. */
  size: number;
  /** As for `-o`: the same words for both tools. */
  options: readonly string[];
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
  /** The file that is opened, and names `IMAGE`. Left out: `IMAGE` is opened. */
  readonly descriptor?: string;
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
