// The format-specific information of a qcow2 image: all of it is in the header, its extensions and the bitmap directory.

import type { FormatDetails } from '../../../block/abilities.js';
import type {
  ImageInfoSpecificQCow2,
  ImageInfoSpecificQCow2Encryption,
  Qcow2BitmapInfo,
} from '../../../schema/generated/types.js';
import type { StoredBitmap } from './bitmap-directory.js';
import { Autoclear, Compatible, Extension, extensionText, type HeaderArea, Incompatible } from './header.js';

/** Order of the members in qemu-img's output. */
export const QCOW2_DETAIL_ORDER: readonly string[] = [
  'compat',
  'compression-type',
  'lazy-refcounts',
  'bitmaps',
  'refcount-bits',
  'encrypt',
  'data-file',
  'data-file-raw',
  'corrupt',
  'extended-l2',
];

/** The details of an image with this header, these bitmaps and this encryption. */
export function qcow2Details(
  { header, extensions }: HeaderArea,
  bitmaps: readonly StoredBitmap[],
  encryption: ImageInfoSpecificQCow2Encryption | null,
): FormatDetails {
  const has = (mask: bigint, bit: bigint): boolean => (mask & bit) !== 0n;
  const { incompatibleFeatures, compatibleFeatures, autoclearFeatures } = header;
  const data: ImageInfoSpecificQCow2 = {
    compat: header.version === 2 ? '0.10' : '1.1',
    'compression-type': header.compressionType === 1 ? 'zstd' : 'zlib',
    'refcount-bits': 2 ** header.refcountOrder,
  };
  if (header.version === 3) {
    data['lazy-refcounts'] = has(compatibleFeatures, Compatible.lazyRefcounts);
    data.corrupt = has(incompatibleFeatures, Incompatible.corrupt);
    data['extended-l2'] = has(incompatibleFeatures, Incompatible.extendedL2);
    if (bitmaps.length > 0) data.bitmaps = bitmaps.map(bitmapInfo);
  }
  if (has(incompatibleFeatures, Incompatible.dataFile)) {
    const name = extensionText(extensions, Extension.dataFile);
    if (name !== null) data['data-file'] = name;
    data['data-file-raw'] = has(autoclearFeatures, Autoclear.dataFileRaw);
  }
  if (encryption !== null) data.encrypt = encryption;
  return {
    ...(encryption !== null && { encrypted: true }),
    clusterSize: 2 ** header.clusterBits,
    dirty: has(incompatibleFeatures, Incompatible.dirty),
    specific: { type: 'qcow2', data },
  };
}

function bitmapInfo({ name, granularity, inUse, auto }: StoredBitmap): Qcow2BitmapInfo {
  const flags: Qcow2BitmapInfo['flags'] = [];
  if (inUse) flags.push('in-use');
  if (auto) flags.push('auto');
  return { flags, name, granularity };
}
