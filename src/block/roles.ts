// What a child is to its user, and what follows from that, one line a role: the parts that it plays (those of QEMU), whether the link
// stays where it is when another node is put in its node's place, whether the child is reopened with the node above it, which options a
// child inherits that is opened for the role, and what the link needs of it.
//
//   role      parts                     stays   follows   inherits   needs
//   image     data, metadata, primary     no      yes     storage    read; write and resize where the image is writable
//   data      data                        no      yes     storage    the same: a file that holds guest data alone
//   metadata  metadata, primary           no      yes     storage    the same: the file of a format whose guest data lies elsewhere
//   content   data, primary               no      yes     storage    the same: what a format changes byte by byte, and whose header lies elsewhere
//   header    metadata                    no      no      header     read; write only while the header is changed
//   filtered  filtered, primary           no      yes     storage    what the users of the filter need of that
//   cow       cow                         no      no      backing    read, where a user of the image does; others may write to it where all those users let others write to that
//   root      -                           no      -       of a device or an export: it goes on with the new node
//   source    -                          yes      -       of a command: it works with this very node
//   target    -                          yes      -
//   job       -                          yes      -       of a job: it keeps the node, and says what others may do with it
//   copy      -                          yes      -       of a job, too: what it reads or writes through; in words it is a device without a name
//   monitor   -                          yes      -       a node that was opened by name and has no other user

import type { BlockdevDetectZeroesOptions, BlockdevDiscardOptions } from '../schema/generated/types.js';
import { PERM_ALL, Perm } from './types.js';

/** The links of nodes to nodes. */
export type NodeRole = 'image' | 'data' | 'metadata' | 'content' | 'header' | 'filtered' | 'cow';

/** The links of everybody else. */
export type UserRole = 'root' | 'source' | 'target' | 'job' | 'copy' | 'monitor';

/** Options that a child has from the node above it, unless its own say otherwise. */
export interface InheritedOptions {
  readOnly: boolean;
  autoReadOnly: boolean;
  forceShare: boolean;
  direct: boolean;
  noFlush: boolean;
  discard: BlockdevDiscardOptions;
  detectZeroes: BlockdevDetectZeroesOptions;
}

/** What a node's needs of its children follow from. */
export interface NodeUse {
  readOnly: boolean;
  /** Share everything with other users of the image. */
  forceShare: boolean;
}

export interface Permissions {
  perm: number;
  shared: number;
}

export interface ChildRole {
  /** Guest data lies in it. */
  readonly data?: true;
  /** Metadata of the format lies in it. */
  readonly metadata?: true;
  /** The node reads as this child does. */
  readonly filtered?: true;
  /** What the node has not allocated is read from it. */
  readonly cow?: true;
  /** The child that a path through the graph follows first: the node is stored in it, or filters it. */
  readonly primary?: true;
  /** Messages and the graph show a device without a name, and not the user. */
  readonly unnamed?: true;
  /** The link keeps the node open, and that is all. */
  readonly keepsOnly?: true;
  /** The link stays at its node when another is put in the node's place. */
  readonly stays: boolean;
  /** The child is opened for writing, or read-only, as the node above it is. */
  readonly follows: boolean;
}

export interface NodeChildRole extends ChildRole {
  inherit(above: InheritedOptions): InheritedOptions;
  /** What the link needs, and lets others do, when the node above is opened. */
  permissions(above: NodeUse): Permissions;
}

const WRITE = Perm.WRITE | Perm.RESIZE;

/** What a node needs that has no users yet, where it follows from theirs: see `BlockNode.needsOf`. */
const NOTHING: Permissions = { perm: 0, shared: PERM_ALL };
/** What others may do with a backing node where a user of the image counts on its content. */
export const BACKING_FIXED = PERM_ALL & ~WRITE;

/** A format passes on only the discards and zeroes that it means, so these are let through. */
const storage = (above: InheritedOptions): InheritedOptions => ({ ...above, discard: 'unmap', detectZeroes: 'off' });

const storagePermissions = ({ readOnly, forceShare }: NodeUse): Permissions => ({
  perm: Perm.CONSISTENT_READ | (readOnly ? 0 : WRITE),
  shared: forceShare ? PERM_ALL : PERM_ALL & ~WRITE,
});

/** It may lie on a medium that cannot be written to. */
const header = (above: InheritedOptions): InheritedOptions => ({ ...storage(above), autoReadOnly: true });

/** Nobody else may write to it, but several images may be opened by one header. */
const headerPermissions = ({ forceShare }: NodeUse): Permissions => storagePermissions({ readOnly: true, forceShare });

/** It is read-only until a job needs to write it. The zeroes of a commit may then be holes there. */
const backing = (above: InheritedOptions): InheritedOptions => ({
  ...storage(above),
  readOnly: true,
  autoReadOnly: false,
});

const STORAGE = { stays: false, follows: true, inherit: storage, permissions: storagePermissions } as const;

export const ROLES: Readonly<Record<NodeRole, NodeChildRole> & Record<UserRole, ChildRole>> = {
  image: { ...STORAGE, data: true, metadata: true, primary: true },
  data: { ...STORAGE, data: true },
  metadata: { ...STORAGE, metadata: true, primary: true },
  content: { ...STORAGE, data: true, primary: true },
  header: { metadata: true, stays: false, follows: false, inherit: header, permissions: headerPermissions },
  filtered: { ...STORAGE, filtered: true, primary: true, permissions: () => NOTHING },
  cow: {
    cow: true,
    stays: false,
    follows: false,
    inherit: backing,
    permissions: () => NOTHING,
  },
  root: { stays: false, follows: false },
  source: { stays: true, follows: false },
  target: { stays: true, follows: false },
  job: { stays: true, follows: false },
  copy: { unnamed: true, stays: true, follows: false },
  monitor: { keepsOnly: true, stays: true, follows: false },
};
