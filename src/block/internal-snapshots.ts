// Internal snapshots: states of a disk that are kept within its own image. What a format does for them (`Abilities.snapshots`), and how they are named.

import type { SnapshotInfo } from '../schema/generated/types.js';

/** A snapshot by its ID, its name, or both. */
export interface SnapshotKey {
  id?: string;
  name?: string;
}

/** What is said of a new snapshot; what is left out follows from the moment, or is 0. */
export interface SnapshotFields {
  name: string;
  /** Since the Epoch. Default: now. */
  date?: { seconds: number; nanoseconds: number };
  /** Nanoseconds for which the machine had been running. */
  vmClock?: bigint;
  /** Bytes of the machine's state that was written before (`writeVmState`). */
  vmStateSize?: number;
  icount?: number;
}

/** All changes wait for the requests under way, and hold back those that come meanwhile. */
export interface InternalSnapshots {
  list(): SnapshotInfo[];
  /** Rejects with `read-only`, `limit` (a refcount would overflow), `unsupported`, `corrupt-image`, `no-space`, `io`. */
  create(fields: SnapshotFields): Promise<SnapshotInfo>;
  /**
   * Makes the disk, with its size, what it was. Where that is another size than the disk has by then, `resizing` is called before anything is changed: it takes the
   * permission for it, or throws, and returns what gives it back. Rejects as `create`, and with `not-found`.
   */
  apply(id: string, resizing?: () => () => void): Promise<void>;
  /** Rejects as `create`, and with `not-found`. */
  remove(id: string): Promise<void>;
  /** Shows a snapshot, with its size, in place of the disk: of a node that is read-only, before its first request. Rejects with `not-found`, `corrupt-image`, `io`. */
  show(id: string): Promise<void>;
  /** Where the machine's state begins, in bytes from the start of the disk. */
  vmStateOffset(): number;
  /** The machine's state, as a range of bytes behind the disk. */
  readVmState(offset: number, buffer: Uint8Array): Promise<void>;
  writeVmState(offset: number, buffer: Uint8Array): Promise<void>;
}

type Named = Pick<SnapshotInfo, 'id' | 'name'>;

/** The first snapshot with this ID and this name, as far as they are given; null where there is none. */
export function findSnapshot<T extends Named>(list: readonly T[], { id, name }: SnapshotKey): T | null {
  if (id === undefined && name === undefined) return null;
  const fits = (one: T): boolean => (id === undefined || one.id === id) && (name === undefined || one.name === name);
  return list.find(fits) ?? null;
}

/** The snapshot that one word names: its ID, or where none has it as that, its name. */
export function snapshotCalled<T extends Named>(list: readonly T[], idOrName: string): T | null {
  return findSnapshot(list, { id: idOrName }) ?? findSnapshot(list, { name: idOrName });
}

/** The ID of the next snapshot: the largest number among the IDs, and one more. */
export function nextSnapshotId(ids: readonly string[]): string {
  let largest = 0n;
  for (const id of ids) {
    const digits = /^\s*\+?(\d+)/.exec(id)?.[1];
    if (digits !== undefined && BigInt(digits) > largest) largest = BigInt(digits);
  }
  return String(largest + 1n);
}
