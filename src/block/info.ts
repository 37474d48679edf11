// What there is to know of an image without reading its data, and what a format adds to it. Format-neutral: a driver that
// has more to say implements `Inspectable`.

import type { ImageInfo, ImageInfoSpecific } from '../schema/generated/types.js';
import { fileOf } from './chain.js';
import { resolveBackingNameOf } from './filename.js';
import type { BlockNode } from './node/node.js';

/** What a format says of itself. */
export interface FormatDetails {
  /** Bytes of a cluster, where the format has clusters. */
  clusterSize?: number;
  /** It was not closed properly. */
  dirty?: boolean;
  specific?: ImageInfoSpecific;
}

/** The outcome of a consistency check, in clusters where nothing else is said. */
export interface CheckResult {
  /** Errors that kept the check from looking further. */
  checkErrors: number;
  corruptions: number;
  leaks: number;
  /** Bytes up to which the file is in use. */
  imageEndOffset: number;
  totalClusters: number;
  allocatedClusters: number;
  fragmentedClusters: number;
  compressedClusters: number;
}

/** A node whose format can tell more. */
export interface Inspectable {
  formatDetails(): FormatDetails;
  /**
   * Checks the consistency of all metadata; each finding is one call of `report`. Changes nothing. Rejects with `io`, and with `limit`
   * where the image is too large or too broken to be checked.
   */
  checkConsistency?(report: (finding: string) => void): Promise<CheckResult>;
}

function isInspectable(node: BlockNode): node is BlockNode & Inspectable {
  return 'formatDetails' in node && typeof node.formatDetails === 'function';
}

/** The consistency check of `node`'s format; null where the format has none. */
export function consistencyCheckOf(
  node: BlockNode,
): ((report: (finding: string) => void) => Promise<CheckResult>) | null {
  if (!isInspectable(node) || node.checkConsistency === undefined) return null;
  return node.checkConsistency.bind(node);
}

/** Bytes that the files of `node` (its backing chain excepted) take on the host's disk; null where nothing says. */
export async function allocatedBytes(node: BlockNode): Promise<number | null> {
  const file = node.hostFile();
  if (file !== null) return (await file.info()).allocated;
  const below = fileOf(node);
  if (below !== null) return allocatedBytes(below);
  return node.driver === 'null-co' ? 0 : null;
}

/** QAPI `ImageInfo` of one node (without `backing-image`). */
export async function imageInfo(node: BlockNode): Promise<ImageInfo> {
  const details = isInspectable(node) ? node.formatDetails() : {};
  const actual = await allocatedBytes(node);
  const info: ImageInfo = {
    filename: node.filename,
    format: node.driver,
    'virtual-size': node.length,
  };
  // A raw image has what its protocol says of it: an export says nothing.
  const below = fileOf(node);
  const silent = !isInspectable(node) && below?.driver === 'nbd';
  if (below !== null && !silent) info['dirty-flag'] = details.dirty ?? false;
  if (actual !== null) info['actual-size'] = actual;
  if (details.clusterSize !== undefined) info['cluster-size'] = details.clusterSize;
  if (node.backingFile !== null) {
    info['backing-filename'] = node.backingFile;
    info['full-backing-filename'] = resolveBackingNameOf(node, node.backingFile);
    if (node.backingFormat !== null) info['backing-filename-format'] = node.backingFormat;
  }
  if (details.specific !== undefined) info['format-specific'] = details.specific;
  return info;
}
