// Amends an image that is open: its version, the width of its refcounts, and what its header says. All that can be refused is refused by `planAmend`, before
// anything is touched. Each step is one switch of the header (header-update.ts, refcount-width.ts), so power loss leaves the image as it was before or after a
// step, with leaks at worst. The order, which lets each step rely on those before it:
//
//   version 3 -> refcount width -> data file, raw, lazy refcounts -> (size, by the caller) -> version 2

import type { AmendProgress } from '../../../block/abilities.js';
import { encodeFeatureNames, FEATURE_NAMES_MIN_CLUSTER } from './features.js';
import {
  Autoclear,
  Compatible,
  Extension,
  encodeExtensions,
  type HeaderExtension,
  Incompatible,
  type Qcow2Header,
  V2_HEADER_LENGTH,
  V3_WRITTEN_HEADER_LENGTH,
} from './header.js';
import { changeHeader, layouts } from './header-update.js';
import type { Qcow2Image } from './image.js';
import { RefcountDeltas } from './refcount-deltas.js';
import { changeRefcountWidth, checkRefcountsFit } from './refcount-width.js';
import { checkSize } from './resize.js';
import { completed, isComplete } from './snapshot-table.js';
import { dropReferences } from './snapshots.js';
import { MAX_BACKING_NAME_BYTES } from './types.js';
import { expandZeroes } from './zero-expand.js';
import { checkSnapshotZeroes, expandSnapshotZeroes } from './zero-expand-snapshots.js';

/** What is to be changed; what is left out stays. */
export interface AmendPlan {
  version?: 2 | 3;
  refcountBits?: number;
  lazyRefcounts?: boolean;
  /** Name of the external data file; null: the header names none. */
  dataFile?: string | null;
  dataFileRaw?: false;
}

/** Options as they are given: the names of qemu-img's, in QAPI's spelling. */
export interface Qcow2AmendOptions {
  /** Bytes: the caller changes the size. */
  size?: number;
  version?: string;
  'refcount-bits'?: number;
  'lazy-refcounts'?: boolean;
  'data-file'?: string;
  'data-file-raw'?: boolean;
  'backing-file'?: string;
  'backing-fmt'?: string;
}

/** Checks all options, in QEMU's words, and says what they change. Rejects with `invalid-argument`, `unsupported`, `io`, `corrupt-image`. */
export async function planAmend(image: Qcow2Image, options: Qcow2AmendOptions): Promise<AmendPlan> {
  const { header, geometry } = image;
  const refuse = (message: string) => image.error('invalid-argument', message, 'amend');
  const { version: named, 'data-file': dataFile } = options;
  const version = named === undefined ? geometry.version : versionOf(named);
  if (version === null) throw refuse(`Unknown compatibility level ${named}`);
  const bits = options['refcount-bits'] ?? geometry.refcountBits;
  if (bits < 1 || bits > 64 || !Number.isInteger(Math.log2(bits))) {
    throw refuse('Refcount width must be a power of two and may not exceed 64 bits');
  }
  checkBacking(image, options);
  if (dataFile !== undefined && !image.data.isExternal) {
    throw refuse('data-file can only be set for images that use an external data file');
  }
  if (dataFile !== undefined && Buffer.byteLength(dataFile) > MAX_BACKING_NAME_BYTES) {
    throw refuse('Data file name too long');
  }
  const isRaw = (header.autoclearFeatures & Autoclear.dataFileRaw) !== 0n;
  if (options['data-file-raw'] === true && !isRaw) throw refuse('data-file-raw cannot be set on existing images');
  if (options.size !== undefined) checkSize(image, options.size);
  if (version === 2) await checkVersion2(image, options, bits);
  const plan: AmendPlan = {};
  if (version !== geometry.version) plan.version = version;
  if (bits !== geometry.refcountBits) {
    await checkRefcountsFit(image, bits);
    plan.refcountBits = bits;
  }
  const isLazy = (header.compatibleFeatures & Compatible.lazyRefcounts) !== 0n;
  const lazy = options['lazy-refcounts'];
  if (lazy !== undefined && lazy !== isLazy) plan.lazyRefcounts = lazy;
  if (dataFile !== undefined) plan.dataFile = dataFile === '' ? null : dataFile;
  if (options['data-file-raw'] === false && isRaw) plan.dataFileRaw = false;
  checkRoom(image, plan);
  return plan;
}

function versionOf(named: string): 2 | 3 | null {
  if (named === '0.10' || named === 'v2') return 2;
  return named === '1.1' || named === 'v3' ? 3 : null;
}

function checkBacking(image: Qcow2Image, options: Qcow2AmendOptions): void {
  const { 'backing-file': file, 'backing-fmt': format } = options;
  if (file === undefined && format === undefined) return;
  const own = image.extensions.find(({ type }) => type === Extension.backingFormat);
  const ownFormat = own === undefined ? undefined : Buffer.from(own.data).toString();
  if (file === (image.backingFile ?? undefined) && format === ownFormat) return;
  throw image.error(
    'invalid-argument',
    "Cannot amend the backing file\nYou can use 'qemu-img rebase' instead.",
    'amend',
  );
}

/** What an image of version 2 cannot be. */
async function checkVersion2(image: Qcow2Image, options: Qcow2AmendOptions, bits: number): Promise<void> {
  const { header, geometry } = image;
  const refuse = (message: string) => image.error('invalid-argument', message, 'amend');
  if (bits !== 16) {
    const words =
      options['refcount-bits'] === undefined
        ? 'compat=0.10 requires refcount_bits=16'
        : 'Refcount widths other than 16 bits require compatibility level 1.1 or above (use compat=1.1 or greater)';
    throw refuse(words);
  }
  if (options['lazy-refcounts'] === true) {
    throw refuse('Lazy refcounts only supported with compatibility level 1.1 and above (use compat=1.1 or greater)');
  }
  if (geometry.version === 2) return;
  if (image.data.isExternal) throw refuse('Cannot downgrade an image with a data file');
  const features = header.incompatibleFeatures & ~Incompatible.dirty;
  if (features !== 0n) {
    throw refuse(`Cannot downgrade an image with incompatible features 0x${features.toString(16)} set`);
  }
  if (image.extensions.some(({ type }) => type === Extension.bitmaps)) {
    throw refuse('Cannot downgrade an image with bitmaps');
  }
  await checkSnapshotZeroes(image);
}

/** Throws `invalid-argument` where the header that `plan` makes does not fit into its cluster. */
function checkRoom(image: Qcow2Image, plan: AmendPlan): void {
  const { clusterSize } = image.geometry;
  const name = image.header.backingFileOffset === 0 ? 0 : image.header.backingFileSize;
  let { headerLength } = image.header;
  let { extensions } = image;
  if (plan.version === 3) headerLength = V3_WRITTEN_HEADER_LENGTH;
  if (plan.dataFile !== undefined) [extensions] = layouts(extensions, Extension.dataFile, plan.dataFile);
  if (headerLength + encodeExtensions(extensions).length + name <= clusterSize) return;
  throw image.error('invalid-argument', 'The header does not fit into its cluster', 'amend');
}

/** All steps up to the size. The image must be opened again where it resolves with true, or rejects. Nobody uses it meanwhile. */
export async function amendBefore(image: Qcow2Image, plan: AmendPlan, progress: AmendProgress): Promise<boolean> {
  if (plan.version === 3) {
    await completeSnapshots(image);
    await changeHeader(image, () => ({ fields: VERSION_3, layouts: [withNames(image, VERSION_3.headerLength)] }));
    return true;
  }
  if (plan.refcountBits !== undefined) {
    await changeRefcountWidth(image, plan.refcountBits, progress);
    return true;
  }
  const { dataFile, dataFileRaw, lazyRefcounts } = plan;
  if (dataFile === undefined && dataFileRaw === undefined && lazyRefcounts === undefined) return false;
  await changeHeader(image, () => ({
    fields: featuresOf(image.header, plan),
    layouts: dataFile === undefined ? [image.extensions] : layouts(image.extensions, Extension.dataFile, dataFile),
  }));
  return true;
}

/** Gives the snapshots the fields that version 3 demands, and that version 2 may have. */
async function completeSnapshots(image: Qcow2Image): Promise<void> {
  const { list } = image.snapshots;
  if (list.every((one) => isComplete(one, 3))) return;
  const snapshots = list.map((one) => (isComplete(one, 3) ? one : completed(one)));
  await dropReferences(image, new RefcountDeltas(image), snapshots, [], () => undefined);
}

/** The last step: version 2. The image must be opened again afterwards. */
export async function amendAfter(image: Qcow2Image, progress: AmendProgress): Promise<void> {
  await expandSnapshotZeroes(image, progress);
  await expandZeroes(image, progress);
  const others = image.extensions.filter(({ type }) => type !== Extension.featureNames);
  await changeHeader(image, () => ({ fields: VERSION_2, layouts: [others] }));
}

function featuresOf(header: Qcow2Header, { dataFileRaw, lazyRefcounts }: AmendPlan): Partial<Qcow2Header> {
  let { autoclearFeatures, compatibleFeatures } = header;
  if (dataFileRaw === false) autoclearFeatures &= ~Autoclear.dataFileRaw;
  if (lazyRefcounts === true) compatibleFeatures |= Compatible.lazyRefcounts;
  if (lazyRefcounts === false) compatibleFeatures &= ~Compatible.lazyRefcounts;
  return { autoclearFeatures, compatibleFeatures };
}

/** The extensions with the table of feature names, where a new image would have it and there is room. */
function withNames(image: Qcow2Image, headerLength: number): HeaderExtension[] {
  const { clusterSize } = image.geometry;
  const own = image.extensions;
  if (clusterSize < FEATURE_NAMES_MIN_CLUSTER || own.some(({ type }) => type === Extension.featureNames)) return own;
  const all = [...own, { type: Extension.featureNames, data: encodeFeatureNames() }];
  const name = image.header.backingFileOffset === 0 ? 0 : image.header.backingFileSize;
  return headerLength + encodeExtensions(all).length + name <= clusterSize ? all : own;
}

const NO_FEATURES = {
  incompatibleFeatures: 0n,
  compatibleFeatures: 0n,
  autoclearFeatures: 0n,
  compressionType: 0,
  additional: new Uint8Array(0),
} as const;

const VERSION_3 = { version: 3, headerLength: V3_WRITTEN_HEADER_LENGTH, refcountOrder: 4, ...NO_FEATURES } as const;
const VERSION_2 = { version: 2, headerLength: V2_HEADER_LENGTH, refcountOrder: 4, ...NO_FEATURES } as const;
