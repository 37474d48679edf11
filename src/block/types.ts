// The small words that every layer above the host shares: extents, block status, request flags, permissions.

import type { HostFile, Moved, MovePiece, MoveRun, Packing } from '../host/host.js';
import type { PreallocMode } from '../schema/generated/types.js';

/** A byte range of a node. */
export interface Extent {
  offset: number;
  length: number;
}

/**
 * What a node says of one run of bytes, starting at the asked offset (QAPI `MapEntry` is made from it). It answers for itself:
 *
 *   allocated  zero
 *   yes        yes    reads as zeroes (with `data`, there is space for it)
 *   yes        no     must be read
 *   no         yes    this layer has nothing, nor has anything below it: reads as zeroes
 *   no         no     reads as the backing node does; where there is none, it must be read
 */
export interface BlockStatus {
  /** Length of the run in bytes; at least 1, at most what was asked for. */
  length: number;
  /** This layer determines the content (it does not come from the backing node). */
  allocated: boolean;
  data: boolean;
  /** Reads as zeroes, for certain. */
  zero: boolean;
  compressed: boolean;
  /**
   * Of a node that hands on another one's bytes: what the top layer of that chain leaves to the layers below it. `qemu-img map` and the
   * allocation depth count such a run as absent.
   */
  inherited?: boolean;
  /** Offset in `node` where the run's bytes lie as they are, or -1. */
  offset: number;
  /** The node that `offset` counts in (the child that holds the bytes). */
  node: import('./node/node.js').BlockNode | null;
}

/** What becomes of compressed writes: see `BlockNode.compression`. */
export type Compression = 'refused' | 'taken' | 'needed';

export interface WriteFlags {
  /** Durable when answered (force unit access). */
  fua?: boolean;
  /** Store as compressed clusters where the driver can; whole clusters only. Rejects with `unsupported` otherwise. */
  compressed?: boolean;
  /** The caller holds the range in the node's `serialiser` (a job that fills in what the node reads anyway). */
  serialised?: boolean;
  /** The node reads the same afterwards: what is written comes from a layer below. */
  unchanged?: boolean;
}

export interface ZeroFlags {
  fua?: boolean;
  /** The space may be given back. */
  mayUnmap?: boolean;
  /** Reject with `unsupported` where it would have to be written out as data. */
  noFallback?: boolean;
  /** As in `WriteFlags`. */
  serialised?: boolean;
  unchanged?: boolean;
}

export interface TruncateOptions {
  preallocation?: PreallocMode;
}

/** What a user does with a node and what it lets others do (QAPI `BlockPermission`). Bit numbers are those of the lock bytes. */
export const Perm = {
  CONSISTENT_READ: 1 << 0,
  WRITE: 1 << 1,
  WRITE_UNCHANGED: 1 << 2,
  RESIZE: 1 << 3,
} as const;

export const PERM_ALL = Perm.CONSISTENT_READ | Perm.WRITE | Perm.WRITE_UNCHANGED | Perm.RESIZE;

const PERM_NAMES: readonly [number, string][] = [
  [Perm.CONSISTENT_READ, 'consistent read'],
  [Perm.WRITE, 'write'],
  [Perm.WRITE_UNCHANGED, 'write unchanged'],
  [Perm.RESIZE, 'resize'],
];

/** `consistent read, write`: the words that conflicts are said in. */
export function permNames(perms: number): string {
  return PERM_NAMES.filter(([bit]) => (perms & bit) !== 0)
    .map(([, name]) => name)
    .join(', ');
}

/** Guards a mapping that was looked up: until it is released, the place in the file that the mapping names is not used for anything else. */
export interface MappingGuard {
  /** To be called once, when the request is answered and before its caller learns of it. */
  release(): void;
}

/**
 * Where a request can go without waiting: filled in by `BlockNode.locate`, one object per caller, used again and again. It holds until
 * something else runs: begin the request at once.
 */
export interface Located {
  /** Null, of a read only: all of the range reads as zeroes, and there is nothing to begin. */
  file: HostFile | null;
  /** Offset in `file`. */
  offset: number;
  /** To be released when the request is answered, or given up. Null: the mapping cannot change. */
  guard: MappingGuard | null;
  /**
   * Absent: the caller takes only what lies there as it is. Else, of a read, the range may also be a part of a compressed cluster, which begins at `offset`
   * then: `type` is set, and how it is stored. The caller sets `type` to null before it asks.
   */
  readonly packing?: LocatedPacking;
}

/** `Packing`, which is filled in; `type` is null for what is not compressed. */
export type LocatedPacking = Omit<Packing, 'type'> & { type: Packing['type'] | null };

/** Where a part of what is moved into a node goes. */
export interface MovePart {
  length: number;
  /** Offset in the host file, or `FROM_RUN`. */
  to: number;
}

/** Takes what is moved into a node that is no file of the host, without passing it through this program's memory. */
export interface MoveReceiver {
  /** False where the pieces are to be written by requests: nothing was begun. */
  takes(pieces: readonly MovePiece[]): boolean;
  /**
   * Sends the pieces, whose `to` are offsets in the receiver; a piece may be read from its file until this resolves. Never rejects for what a file or the
   * other side answers: `Moved.fault` says it.
   */
  receive(pieces: readonly MovePiece[]): Promise<Moved>;
}

/** Where data that is moved into a node by `Host.move`, or by the node's receiver, goes: see `BlockNode.prepareMove`. */
export interface MovePlace {
  target: HostFile | MoveReceiver;
  /** In the order of the extents, back to back. */
  parts: readonly MovePart[];
  run: MoveRun | null;
  /** `MoveRequest.slice`. */
  slice: number;
  /**
   * Takes in what the step answered: data that was taken from the run is found by the node from now on, the places of what failed, or was not
   * written, are free again. Called once; with null where no step was made.
   */
  done(moved: Moved | null): void;
}
