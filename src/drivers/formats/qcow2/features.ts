// Feature bits and their names: those that this driver supports, and the name table in images, by which a reader can name a bit that it does not know
// (specification: "Feature name table").

import { BlockError } from '../../../util/errors.js';
import { Autoclear, Extension, type HeaderArea, Incompatible, KNOWN_INCOMPATIBLE } from './header.js';

const ENTRY_BYTES = 48;
/** QEMU writes no feature name table where a cluster is smaller. */
export const FEATURE_NAMES_MIN_CLUSTER = 8192;

/** type (0 incompatible, 1 compatible, 2 autoclear), bit, name: in QEMU's order. */
const FEATURE_NAMES: readonly [number, number, string][] = [
  [0, 0, 'dirty bit'],
  [0, 1, 'corrupt bit'],
  [0, 2, 'external data file'],
  [0, 3, 'compression type'],
  [0, 4, 'extended L2 entries'],
  [1, 0, 'lazy refcounts'],
  [2, 0, 'bitmaps'],
  [2, 1, 'raw external data'],
];

/** The extension's data as QEMU writes it into new version 3 images. */
export function encodeFeatureNames(): Uint8Array {
  const bytes = new Uint8Array(FEATURE_NAMES.length * ENTRY_BYTES);
  FEATURE_NAMES.forEach(([type, bit, name], index) => {
    bytes[index * ENTRY_BYTES] = type;
    bytes[index * ENTRY_BYTES + 1] = bit;
    bytes.set(Buffer.from(name), index * ENTRY_BYTES + 2);
  });
  return bytes;
}

/** Names of the bits of `mask` among the incompatible features: from the image's own table, or `Unknown incompatible feature: <hex>`. */
function namesOf(area: HeaderArea, mask: bigint): string {
  const table = area.extensions.find(({ type }) => type === Extension.featureNames)?.data ?? new Uint8Array(0);
  const names: string[] = [];
  let left = mask;
  for (let at = 0; at + ENTRY_BYTES <= table.length; at += ENTRY_BYTES) {
    const bit = 1n << BigInt(table[at + 1] & 63);
    if (table[at] !== 0 || (left & bit) === 0n) continue;
    const text = table.subarray(at + 2, at + ENTRY_BYTES);
    const end = text.indexOf(0);
    names.push(Buffer.from(end < 0 ? text : text.subarray(0, end)).toString());
    left &= ~bit;
  }
  if (left !== 0n) names.push(`Unknown incompatible feature: ${left.toString(16)}`);
  return names.join(', ');
}

function unsupported(path: string, message: string): BlockError {
  return BlockError.at(path, 'unsupported', message, { operation: 'open' });
}

/**
 * Checks that this driver can read the image correctly, and write it if `writable`. With `onlyHeader`, the caller will not read guest data.
 * Throws `unsupported`, naming the feature, and `corrupt-image` for a corrupt image that is opened for writing.
 */
export function checkFeatures(area: HeaderArea, path: string, writable: boolean, onlyHeader = false): void {
  const { header } = area;
  const unknown = header.incompatibleFeatures & ~KNOWN_INCOMPATIBLE;
  if (unknown !== 0n) throw unsupported(path, `Unsupported qcow2 feature(s): ${namesOf(area, unknown)}`);
  const hasDataFile = (header.incompatibleFeatures & Incompatible.dataFile) !== 0n;
  if (!onlyHeader && !hasDataFile && (header.autoclearFeatures & Autoclear.dataFileRaw) !== 0n) {
    throw BlockError.at(path, 'invalid-image', 'data-file-raw requires a data file', { operation: 'open' });
  }
  if (!writable) return;
  if ((header.incompatibleFeatures & Incompatible.corrupt) !== 0n) {
    throw BlockError.at(path, 'corrupt-image', 'qcow2: Image is corrupt; cannot be opened read/write', {
      operation: 'open',
    });
  }
}
