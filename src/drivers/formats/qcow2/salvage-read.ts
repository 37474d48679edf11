// Reads of a file of which parts cannot be read: a read that fails is halved, down to a sector, which is zeroes then.

import type { Child } from '../../../block/child.js';
import { viewOf } from '../../../util/bytes.js';
import { toBlockError } from '../../../util/errors.js';
import { roundUp } from '../../../util/numbers.js';
import { isCopied } from './l2-codec.js';
import { judgePointer } from './salvage-entries.js';
import { SECTOR } from './types.js';

/** Called for each part of the buffer that could not be read: [from, to), in bytes of the buffer. */
export type LosePart = (from: number, to: number, reason: 'unreadable' | 'beyond-end') => void;

/**
 * Fills `buffer` from `offset` on; what cannot be read, or lies beyond the end of the file, is zeroes. `end`: where that is, if it is known to the byte. Rejects
 * where the caller gave up.
 */
export async function readWhatCan(
  file: Child,
  offset: number,
  buffer: Uint8Array,
  lose: LosePart,
  end = file.length,
): Promise<void> {
  const there = Math.max(0, Math.min(buffer.length, end - offset));
  if (there < buffer.length) {
    buffer.fill(0, there);
    lose(there, buffer.length, 'beyond-end');
  }
  if (there > 0) await readPart(file, offset, buffer, 0, there, lose);
}

async function readPart(
  file: Child,
  offset: number,
  buffer: Uint8Array,
  from: number,
  to: number,
  lose: LosePart,
): Promise<void> {
  try {
    await file.read(offset + from, buffer.subarray(from, to));
  } catch (cause) {
    refuseToGoOn(cause);
    if (to - from <= SECTOR) {
      buffer.fill(0, from, to);
      lose(from, to, 'unreadable');
      return;
    }
    const middle = from + roundUp((to - from) / 2, SECTOR);
    await readPart(file, offset, buffer, from, middle, lose);
    await readPart(file, offset, buffer, middle, to, lose);
  }
}

/**
 * Calls `found` with the offset of each cluster of a table of `bytes` bytes at `offset` in which more entries point to clusters of the file than do not: its
 * length is not to be trusted, and what lies behind it may be data. `hasFlags`: entries may have the copied flag, as those of a refcount table have not.
 */
export async function eachTableCluster(
  file: Child,
  clusterSize: number,
  offset: number,
  bytes: number,
  hasFlags: boolean,
  found: (offset: number, cluster: Uint8Array) => void,
): Promise<void> {
  const end = Math.min(offset + bytes, file.length);
  if (offset <= 0 || offset % clusterSize !== 0) return;
  for (let at = offset; at < end; at += clusterSize) {
    const cluster = new Uint8Array(Math.min(clusterSize, end - at) & ~7);
    await readWhatCan(file, at, cluster, () => undefined);
    const view = viewOf(cluster);
    let [good, bad] = [0, 0];
    for (let entry = 0; entry < cluster.length; entry += 8) {
      const { host, reason, isOdd } = judgePointer(
        view.getUint32(entry),
        view.getUint32(entry + 4),
        clusterSize,
        file.length,
      );
      if (reason !== null || isOdd || (!hasFlags && isCopied(view.getUint32(entry)))) bad++;
      else if (host > 0) good++;
    }
    if (good > bad) found(at, cluster);
  }
}

/** The size of the file to the byte. That of a node is whole sectors: what is behind the end reads as zeroes there, and was never written. */
export async function exactSize(file: Child): Promise<number> {
  const size = (await file.node.hostFile()?.size()) ?? file.length;
  return roundUp(size, SECTOR) === file.length ? size : file.length;
}

/** Throws what is no failure of the medium: the read was called off, the file was closed, or a mistake of ours. */
export function refuseToGoOn(cause: unknown): void {
  const error = toBlockError(cause);
  if (GIVEN_UP.has(error.code)) throw error;
}

const GIVEN_UP: ReadonlySet<string> = new Set(['cancelled', 'closed', 'bad-state', 'internal', 'limit', 'permission']);
