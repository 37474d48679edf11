// What a child is to its user, and what follows from that, one line a role: the parts that it plays (those of QEMU), whether the link
// stays where it is when another node is put in its node's place, and whether the child is reopened with the node above it.
//
//   role      parts                     stays   follows
//   image     data, metadata, primary     no      yes     the file of a format that keeps everything in it
//   data      data                        no      yes     a file that holds guest data alone
//   metadata  metadata, primary           no      yes     the file of a format whose guest data lies elsewhere
//   filtered  filtered, primary           no      yes     what a filter hands on
//   cow       cow                         no      no      a backing file
//   root      -                           no      -       of a device or an export: it goes on with the new node
//   source    -                          yes      -       of a job or a command: it works with this very node
//   target    -                          yes      -
//   monitor   -                          yes      -       of whoever opened a node by name and uses it for nothing

/** The links of nodes to nodes. */
export type NodeRole = 'image' | 'data' | 'metadata' | 'filtered' | 'cow';

/** The links of everybody else. */
export type UserRole = 'root' | 'source' | 'target' | 'monitor';

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
  /** The link stays at its node when another is put in the node's place. */
  readonly stays: boolean;
  /** The child is opened for writing, or read-only, as the node above it is. */
  readonly follows: boolean;
}

export const ROLES: Readonly<Record<NodeRole | UserRole, ChildRole>> = {
  image: { data: true, metadata: true, primary: true, stays: false, follows: true },
  data: { data: true, stays: false, follows: true },
  metadata: { metadata: true, primary: true, stays: false, follows: true },
  filtered: { filtered: true, primary: true, stays: false, follows: true },
  cow: { cow: true, stays: false, follows: false },
  root: { stays: false, follows: false },
  source: { stays: true, follows: false },
  target: { stays: true, follows: false },
  monitor: { stays: true, follows: false },
};
