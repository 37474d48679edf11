// A node's links: who uses it (`parents`), what it uses itself (`children`), and with which permissions.
//
//   device, job, export, node above --Child--> this node --Child--> nodes below

import type { Host } from '../../host/host.js';
import type { BlockdevDetectZeroesOptions, BlockdevDiscardOptions } from '../../schema/generated/types.js';
import { BlockError } from '../../util/errors.js';
import { Child, checkPermissions, type NodeUser, type Use } from '../child.js';
import type { Graph } from '../graph.js';
import { type NodeRole, type Permissions, ROLES, type UserRole } from '../roles.js';
import { Perm } from '../types.js';
import type { BlockNode } from './node.js';
import { applyPermissions, type PreparedPermissions, usedPermissions } from './permissions.js';
import type { Opening } from './reopening.js';

export interface NodeOptions {
  nodeName: string;
  readOnly: boolean;
  /** What a write of zero bytes becomes (QAPI `detect-zeroes`). */
  detectZeroes?: BlockdevDetectZeroesOptions;
  /** Whether discards are passed on (QAPI `discard`). */
  discard?: BlockdevDiscardOptions;
  /** QAPI `cache`. Default: neither. */
  cache?: CacheMode;
  /** Called with the node before it has children, so that whoever opens it can detach these (`abandon`) where the opening fails later. */
  made?(node: NodeLinks): void;
  /** QAPI `force-share`: others may do what they like with the image. Default: false. */
  forceShare?: boolean;
}

/** `direct`: past the page cache. `noFlush`: flushes are ignored. */
export interface CacheMode {
  readonly direct: boolean;
  readonly noFlush: boolean;
}

/** What those hear who want a node that is closed to them for `reason`. */
function isBusy(node: NodeLinks, reason: string): BlockError {
  return new BlockError('busy', `${node.graph.titleOf(node, 'Node')} is busy: ${reason}`, { path: node.filename });
}

export abstract class NodeLinks implements NodeUser {
  readonly graph: Graph;
  readonly nodeName: string;
  /** Driver name as in `BlockdevOptions`. */
  abstract readonly driver: string;
  /** `protocol` reaches bytes, `format` gives them structure, `filter` passes them through. */
  abstract readonly kind: 'protocol' | 'format' | 'filter';
  /** What a person calls it: a path, or `json:{...}`. */
  abstract readonly filename: string;
  /** Size as a guest sees it, bytes. */
  length = 0;
  readOnly: boolean;
  closed = false;
  /** A filter that nobody asked for by name: what is told of devices leaves it out. */
  implicit = false;
  detectZeroes: BlockdevDetectZeroesOptions;
  discardMode: BlockdevDiscardOptions;
  cache: CacheMode;
  /** Others may do what they like with the image, at the risk of whoever opened it so. */
  readonly forceShare: boolean;
  /** The options that it was opened with; null where it was made by something else than `open.ts`. */
  opening: Opening | null = null;
  /** Settles when the reopening that is under way has ended; null: there is none. */
  reopening: Promise<void> | null = null;
  /** By name: `file`, `backing`, `data-file`, `children.0`. Changed by `setChild`. */
  readonly children = new Map<string, Child>();
  /** Of `children`, those with the roles `primary` and `cow`, at hand for requests; everybody else asks `chain.ts`. */
  primary: Child | null = null;
  cow: Child | null = null;
  readonly parents = new Set<Child>();
  /** Jobs that work on this node: owner -> reason. */
  readonly blockers = new Map<object, string>();
  /** Set while it becomes read-only or writable: nobody who writes may come. */
  refusesWriters = false;
  /** Of a node that holds requests back: within a drained section it does not, so that they end. Called as of every user, see `NodeUser`. */
  drainBegin?(): void;
  drainEnd?(): void;
  /** Set while it is being closed: nothing new is taken. */
  protected closing: Promise<void> | null = null;

  constructor(graph: Graph, options: NodeOptions) {
    this.graph = graph;
    this.nodeName = options.nodeName;
    this.readOnly = options.readOnly;
    this.detectZeroes = options.detectZeroes ?? 'off';
    this.cache = options.cache ?? { direct: false, noFlush: false };
    this.discardMode = options.discard ?? 'ignore';
    options.made?.(this);
    this.forceShare = options.forceShare ?? false;
  }

  get host(): Host {
    return this.graph.host;
  }

  get userName(): string {
    return `node '${this.nodeName}'`;
  }

  /** Refuses with `busy` when a job works on this node. */
  checkBlockers(): void {
    for (const reason of this.blockers.values()) throw isBusy(this, reason);
  }

  /** Links `user`, which is no node, to this node. Throws `permission` on a conflict, `read-only` for a writer of a read-only node, `locked`. */
  attach(
    this: BlockNode,
    user: NodeUser,
    role: UserRole,
    perm: number,
    shared: number,
    name: string = role === 'copy' ? 'root' : role,
  ): Child {
    return this.link({ user, name, role: ROLES[role], perm, shared });
  }

  /** Adds a link. Throws as `attach`. */
  protected link(this: BlockNode, use: Use): Child {
    this.checkLink(use);
    checkPermissions(this, use);
    const child = new Child(this, use);
    this.parents.add(child);
    try {
      this.updatePermissions();
    } catch (error) {
      this.parents.delete(child);
      throw error;
    }
    this.graph.quiescence.update();
    return child;
  }

  /** Refuses what no user can do. Throws `closed`, `read-only`. */
  checkLink({ perm }: Permissions): void {
    if (this.shut) throw this.closedError('attach');
    this.checkWriter(perm);
  }

  detach(this: BlockNode, child: Child): void {
    this.parents.delete(child);
    this.graph.quiescence.update();
    this.updatePermissions();
  }

  /** Another use of the node that `child` links to. Throws `permission` or `locked`; then nothing has changed. */
  static changePermissions(child: Child, perm: number, shared: number): void {
    if (child.perm === perm && child.shared === shared) return;
    applyPermissions([child.node], new Map([[child, { perm, shared }]]));
  }

  /** Others may have `perm` of the child that `link` of a node leads to, until it is called with less. Throws `permission`; then nothing has changed. */
  static lend(link: Child, perm: number): void {
    const before = link.lent;
    link.lent = perm;
    try {
      applyPermissions([link.user as BlockNode]);
    } catch (error) {
      link.lent = before;
      throw error;
    }
  }

  /** What all users of this node together do with it, and what all of them let others do: bits of `Perm`. */
  get usedPermissions(): Permissions {
    return usedPermissions(this);
  }

  /** To be called after a change of `parents`. Throws as `applyPermissions`. */
  updatePermissions(this: BlockNode): void {
    applyPermissions([this]);
  }

  /**
   * Takes `node` as the child `name`. An old child of that name is detached, not closed: `Graph.release` does that. Throws as `childLink`, and as
   * `attach`.
   */
  setChild(this: BlockNode, name: string, node: BlockNode, role: NodeRole, permissions?: Permissions): void {
    const old = this.children.get(name);
    const link = this.childLink(name, node, role, permissions);
    this.graph.quiescence.change(() => {
      this.exchangeChild(name, link);
      try {
        checkPermissions(node, link, link);
        applyPermissions(old === undefined ? [this, node] : [this, node, old.node]);
      } catch (error) {
        this.exchangeChild(name, old);
        throw error;
      }
    });
  }

  /**
   * A link to `node` that is to be the child `name`; `exchangeChild` puts it in place. Default of `permissions`: as the role says of this node. Throws
   * `loop` where `node` lies on this node, `closed`, `read-only`.
   */
  childLink(
    this: BlockNode,
    name: string,
    node: BlockNode,
    role: NodeRole,
    permissions = ROLES[role].permissions(this),
  ): Child {
    if (node.reaches(this)) throw this.wouldBeCycle(name, node);
    const link = new Child(node, { user: this, name, role: ROLES[role], ...permissions });
    node.checkLink(link);
    return link;
  }

  /** Puts `link`, or nothing, in the place of the child `name`. Permissions, and who is quiet, are up to the caller. */
  exchangeChild(name: string, link: Child | undefined): void {
    const old = this.children.get(name);
    old?.node.parents.delete(old);
    link?.node.parents.add(link);
    if (link === undefined) this.children.delete(name);
    else this.children.set(name, link);
    this.#findRoles();
  }

  /** The error for a child that this node lies below already. */
  wouldBeCycle(name: string, child: NodeLinks): BlockError {
    const message = `Making '${child.nodeName}' a ${name} child of '${this.nodeName}' would create a cycle`;
    return new BlockError('loop', message, { path: this.filename });
  }

  /** Detaches the child `name`, if there is one; it is not closed. */
  removeChild(name: string): void {
    const old = this.children.get(name);
    if (old === undefined) return;
    this.graph.quiescence.change(() => {
      old.node.detach(old);
      this.children.delete(name);
      this.#findRoles();
    });
  }

  /**
   * Detaches the children that it has got so far: it could not be made, and nobody will close it. Otherwise they would stay in use for ever, by a node
   * that is nowhere.
   */
  abandon(): void {
    for (const name of [...this.children.keys()]) this.removeChild(name);
  }

  #findRoles(): void {
    const links = [...this.children.values()];
    this.primary = links.find(({ role }) => role.primary) ?? null;
    this.cow = links.find(({ role }) => role.cow) ?? null;
  }

  /** This is `node`, or `node` is somewhere below. */
  reaches(node: NodeLinks): boolean {
    if (node === this) return true;
    for (const child of this.children.values()) if (child.node.reaches(node)) return true;
    return false;
  }

  /**
   * What this node needs of a child where its own users together need `perm` and leave `shared` to others, and it is `readOnly`. Null: what the
   * link has does not follow from its users.
   */
  needsOf(_link: Child, _perm: number, _shared: number, _readOnly: boolean): Permissions | null {
    return null;
  }

  /** Gets ready for other users: takes image locks. Null: there is nothing to do. Throws `locked`; then nothing has changed. */
  preparePermissions(_perm: number, _shared: number): PreparedPermissions | null {
    return null;
  }

  /** It is being closed, or is closed: nothing new is taken. */
  get shut(): boolean {
    return this.closing !== null;
  }

  /** Refuses with `read-only` what a read-only node's user cannot do. */
  checkWriter(perm: number): void {
    const refuses = this.readOnly || this.refusesWriters;
    if (!refuses || (perm & (Perm.WRITE | Perm.WRITE_UNCHANGED)) === 0) return;
    throw new BlockError('read-only', `Block node '${this.nodeName}' is read-only`, {
      path: this.filename,
      operation: 'attach',
    });
  }

  /** Refuses with `permission` to become read-only where users together need `perm`. */
  checkUsers(perm: number, readOnly: boolean): void {
    if (!readOnly || (perm & (Perm.WRITE | Perm.WRITE_UNCHANGED)) === 0) return;
    throw new BlockError('permission', `Read-only block node '${this.nodeName}' cannot support read-write users`, {
      path: this.filename,
      operation: 'reopen',
    });
  }

  closedError(operation: string): BlockError {
    return BlockError.at(this.filename, 'closed', `node '${this.nodeName}' is closed`, { operation });
  }
}
