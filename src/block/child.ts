// A link of the graph: who uses a node, as what, and with which permissions. All requests go through it, and one that its
// permissions do not cover is a mistake of ours: it is refused before the node sees it.
//
//   Device / job / export / parent node  --Child-->  node

import type { ZeroScan } from '../host/host.js';
import type { BlkdebugEvent } from '../schema/generated/types.js';
import { BlockError } from '../util/errors.js';
import type { BlockNode } from './node/node.js';
import type { ChildRole, Permissions, UserRole } from './roles.js';
import {
  type BlockStatus,
  type Extent,
  type Located,
  type MappingGuard,
  type MovePlace,
  PERM_ALL,
  Perm,
  permNames,
  type TruncateOptions,
  type WriteFlags,
  type ZeroFlags,
} from './types.js';

/** What messages call a user of a node that has no name of its own. */
export const UNNAMED_DEVICE = 'an unnamed block device';

/** Whoever holds nodes: a node, a device, a job, an export. */
export interface NodeUser {
  /** As it is named in messages: `node 'top'`, `device 'drive0'`, `job 'job0'`. */
  readonly userName: string;
  /** Begin no new requests until `drainEnd`. Never called twice before that, however many sections and links there are. */
  drainBegin?(): void;
  /** Resolves when nothing that this user sent is under way. */
  drained?(): Promise<void>;
  drainEnd?(): void;
  /** Nodes whose requests make this user send some at once, which they wait for: where it is to be quiet, their users are first. */
  origins?(): readonly BlockNode[];
}

export class Child {
  readonly user: NodeUser;
  /** What its user calls it: `file`, `backing`, `data-file`, `children.0`; of users that are no nodes, the name of the role. */
  readonly name: string;
  readonly role: ChildRole;
  node: BlockNode;
  /** Permissions in use, and those left to others: bits of `Perm`. */
  perm: number;
  shared: number;
  /** Jobs that count on it to lead where it does. */
  frozen = 0;
  /** What a job that works below may do there besides, whatever the user's needs: bits of `Perm`, see `BlockNode.lend`. */
  lent = 0;

  constructor(node: BlockNode, { user, name, role, perm, shared }: Use) {
    this.user = user;
    this.name = name;
    this.role = role;
    this.node = node;
    this.perm = perm;
    this.shared = shared;
  }

  // ---- the node, as this user sees it -------------------------------------------------------------------------

  get filename(): string {
    return this.node.filename;
  }

  /** Bytes. */
  get length(): number {
    return this.node.length;
  }

  // ---- requests: what they do and reject with stands at `BlockNode` ---------------------------------------------
  //
  // Each needs a permission: reads `CONSISTENT_READ`, changes `WRITE` (where the node reads the same afterwards, `WRITE_UNCHANGED` is
  // enough), a change of the size `RESIZE`. Flushes and block status need none, nor do the reads of a node that hands on what is below it (a
  // filter, raw, a layer; any other format has the permission for what it is stored in anyway): who
  // asks it may know that this is not right, as a job that commits does of the layers between.

  read(offset: number, buffer: Uint8Array, scan?: ZeroScan): Promise<void> {
    if (!this.#mayRead) return this.#refuse('read', Perm.CONSISTENT_READ);
    return this.node.read(offset, buffer, scan);
  }

  readExtents(extents: readonly Extent[], buffer: Uint8Array, scan?: ZeroScan): Promise<void> {
    if (!this.#mayRead) return this.#refuse('read', Perm.CONSISTENT_READ);
    return this.node.readExtents(extents, buffer, scan);
  }

  /** As `BlockNode.locate`; false also where the permission is missing: `read` and `write` say so. */
  locate(offset: number, length: number, write: boolean, into: Located): boolean {
    if (write ? (this.perm & Perm.WRITE) === 0 : !this.#mayRead) return false;
    return this.node.locate(offset, length, write, into);
  }

  sent(): void {
    this.node.sent();
  }

  answered(write: boolean, offset: number, length: number, guard: MappingGuard | null): void {
    this.node.answered(write, offset, length, guard);
  }

  givenUp(guard: MappingGuard | null): void {
    this.node.givenUp(guard);
  }

  /** The user's algorithm has come to `event`: a blkdebug node below acts on it, and may hold the user up. Undefined: nothing is to be waited for. */
  raise(event: BlkdebugEvent): Promise<void> | undefined {
    return this.node.debugEvents?.raise(event);
  }

  blockStatus(offset: number, length: number): Promise<BlockStatus> {
    return this.node.blockStatus(offset, length);
  }

  blockStatusSync(offset: number, length: number): BlockStatus | null {
    return this.node.blockStatusSync(offset, length);
  }

  write(offset: number, buffer: Uint8Array, flags?: WriteFlags): Promise<void> {
    if ((this.perm & changePerm(flags)) === 0) return this.#refuse('write', Perm.WRITE);
    return this.node.write(offset, buffer, flags);
  }

  writeExtents(extents: readonly Extent[], buffer: Uint8Array, flags?: WriteFlags): Promise<void> {
    if ((this.perm & changePerm(flags)) === 0) return this.#refuse('write', Perm.WRITE);
    return this.node.writeExtents(extents, buffer, flags);
  }

  /** As `BlockNode.prepareMove`; null also where the permission is missing: `writeExtents` says so. */
  async prepareMove(extents: readonly Extent[], granule: number, flags?: WriteFlags): Promise<MovePlace | null> {
    if ((this.perm & changePerm(flags)) === 0) return null;
    return this.node.prepareMove(extents, granule, flags);
  }

  writeZeroes(offset: number, length: number, flags?: ZeroFlags): Promise<void> {
    if ((this.perm & changePerm(flags)) === 0) return this.#refuse('write zeroes', Perm.WRITE);
    return this.node.writeZeroes(offset, length, flags);
  }

  discard(offset: number, length: number): Promise<void> {
    if ((this.perm & Perm.WRITE) === 0) return this.#refuse('discard', Perm.WRITE);
    return this.node.discard(offset, length);
  }

  flush(): Promise<void> {
    return this.node.flush();
  }

  truncate(size: number, options?: TruncateOptions): Promise<void> {
    if ((this.perm & Perm.RESIZE) === 0) return this.#refuse('resize', Perm.RESIZE);
    return this.node.truncate(size, options);
  }

  reserve(offset: number, length: number, ahead?: number): Promise<number> {
    if ((this.perm & CHANGE) === 0) return this.#refuse('reserve', Perm.WRITE);
    return this.node.reserve(offset, length, ahead);
  }

  /** The node reads the same afterwards, since the one below holds what it held. */
  makeEmpty(): Promise<void> {
    if ((this.perm & CHANGE) === 0) return this.#refuse('make empty', Perm.WRITE_UNCHANGED);
    return this.node.makeEmpty();
  }

  expectWrites(bytes: number): void {
    this.node.expectWrites(bytes);
  }

  get #mayRead(): boolean {
    return (this.perm & Perm.CONSISTENT_READ) !== 0 || this.role.cow === true || this.role.primary === true;
  }

  #refuse(operation: string, perm: number): Promise<never> {
    const { node, name, user } = this;
    const message = `${user.userName} asked for '${operation}' of its '${name}' child, node '${node.nodeName}', without having the permission '${permNames(perm)}'`;
    return Promise.reject(new BlockError('internal', message, { path: node.filename, operation }));
  }
}

const CHANGE = Perm.WRITE | Perm.WRITE_UNCHANGED;

/** The permissions of which a change needs one. */
function changePerm(flags: { serialised?: boolean; unchanged?: boolean } | undefined): number {
  return flags?.serialised === true || flags?.unchanged === true ? CHANGE : Perm.WRITE;
}

/** Runs `action` with a link to `node` that is detached afterwards. Throws as `BlockNode.attach`. */
export async function withLink<T>(
  node: BlockNode,
  { user, role, perm, shared }: OutsideUse,
  action: (link: Child) => Promise<T>,
): Promise<T> {
  const link = node.attach(user, role, perm, shared);
  try {
    return await action(link);
  } finally {
    link.node.detach(link);
  }
}

/** What somebody wants to be to a node; a `Child` is one. */
export type Use = Pick<Child, 'name' | 'role' | 'user' | 'perm' | 'shared'>;

/** The same of a user that is no node. */
export type OutsideUse = Pick<Child, 'user' | 'perm' | 'shared'> & { role: UserRole };

/** Of a user that reads, and leaves all else to others. */
export function readingUse(userName: string, role: UserRole = 'root'): OutsideUse {
  return { user: { userName }, role, perm: Perm.CONSISTENT_READ, shared: PERM_ALL };
}

/**
 * Refuses with `permission` when `use` of `node` would conflict with one of its other users. `except` is the link that is being changed; `planned`
 * has the permissions that others are about to have.
 */
export function checkPermissions(
  node: BlockNode,
  use: Use,
  except?: Child,
  planned?: ReadonlyMap<Child, Permissions>,
): void {
  const { perm, shared } = use;
  // The newest is named first, as QEMU does.
  for (const other of [...node.parents].reverse()) {
    if (other === except) continue;
    const its = planned?.get(other) ?? other;
    const wanted = perm & ~its.shared;
    const held = its.perm & ~shared;
    if (wanted === 0 && held === 0) continue;
    const mine = `${nameOfUser(use)} (uses node '${node.nodeName}' as '${use.name}' child)`;
    const theirs = `${nameOfUser(other)} (uses node '${node.nodeName}' as '${other.name}' child)`;
    const [needs, refuses] = wanted !== 0 ? [mine, theirs] : [theirs, mine];
    throw new BlockError(
      'permission',
      `Permission conflict on node '${node.nodeName}': permissions '${permNames(wanted !== 0 ? wanted : held)}' are both required by ${needs} and unshared by ${refuses}.`,
      { path: node.filename, operation: 'attach' },
    );
  }
}

function nameOfUser({ role, user }: Pick<Use, 'role' | 'user'>): string {
  return role.unnamed ? UNNAMED_DEVICE : user.userName;
}
