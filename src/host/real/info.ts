// Information about files, as `FileInfo`, by node's own calls: it is rarely needed.
import type { BigIntStats } from 'node:fs';
import { closeSync, fstatSync, openSync, stat, statSync } from 'node:fs';
import { promisify } from 'node:util';
import { BlockError } from '../../util/errors.js';
import { encodeName } from '../../util/name-bytes.js';
import { errnoError, nodeError } from '../errno.js';
import type { FileInfo, FileKind } from '../host.js';
import type { Native } from './binding.js';

const BIG = { bigint: true } as const;

// `promisify` is used because node:fs/promises takes 3 ms to load.
const statOf = (path: Buffer): Promise<BigIntStats> =>
  (promisify(stat) as (path: Buffer, options: { bigint: true }) => Promise<BigIntStats>)(path, BIG);

/** Kinds by the type bits of st_mode, shifted right by 12. */
const KINDS: Readonly<Record<number, FileKind>> = { 2: 'character', 4: 'directory', 6: 'block', 8: 'file' };

export function kindOfType(type: number): FileKind {
  return KINDS[type] ?? 'other';
}

export async function infoOfDescriptor(fd: number, path: string): Promise<FileInfo> {
  try {
    // Of an open file the system answers at once; node's pool of threads, which waits for the first need, takes longer to start.
    return infoOf(fstatSync(fd, { bigint: true }));
  } catch (error) {
    throw nodeError(error, { operation: 'info', path });
  }
}

/**
 * Information about the file at `path`; links are followed. The size of a block device is read from the device. `waits`: node's pool of threads, which
 * takes longer to start than the call, is not asked.
 */
export async function infoOfPath(native: Native, path: string, waits: boolean): Promise<FileInfo> {
  try {
    const name = encodeName(path);
    const info = infoOf(waits ? statSync(name, BIG) : await statOf(name));
    if (info.kind !== 'block') return info;
    const fd = openSync(encodeName(path), 'r');
    try {
      const size = native.fileSize(fd);
      if (size < 0) throw errnoError(size, { operation: 'stat', path });
      return { ...info, size };
    } finally {
      closeSync(fd);
    }
  } catch (error) {
    throw nodeError(error, { operation: 'stat', path });
  }
}

export function kindOfMode(mode: bigint): FileKind {
  return kindOfType(Number(mode >> 12n) & 15);
}

/** `FileInfo.id`. */
export function idOf(stats: BigIntStats): string {
  // A device may have several names, each with an inode of its own.
  return isDevice(stats.mode) ? `device:${stats.rdev}` : `${stats.dev}:${stats.ino}`;
}

function isDevice(mode: bigint): boolean {
  const kind = kindOfMode(mode);
  return kind === 'block' || kind === 'character';
}

function infoOf(stats: BigIntStats): FileInfo {
  const size = Number(stats.size);
  if (!Number.isSafeInteger(size))
    throw new BlockError(
      'limit',
      `size of ${stats.size} bytes: sizes beyond ${Number.MAX_SAFE_INTEGER} bytes (2^53 - 1) are not supported`,
    );
  return {
    kind: kindOfMode(stats.mode),
    size,
    allocated: Number(stats.blocks) * 512,
    id: idOf(stats),
    mtimeMs: Number(stats.mtimeNs) / 1e6,
  };
}
