// A node's links: who uses it (`parents`), what it uses itself (`children`), and with which permissions.
//
//   device, job, export, node above --Child--> this node --Child--> nodes below

import type { Host } from '../../host/host.js';
import { BlockError } from '../../util/errors.js';
import { Child, type ChildRole, checkPermissions, type NodeUser } from '../child.js';
import type { Graph } from '../graph.js';
import { PERM_ALL, Perm } from '../types.js';
import type { BlockNode } from './node.js';

export interface NodeOptions {
  nodeName: string;
  readOnly: boolean;
  /** What a write of zero bytes becomes (QAPI `detect-zeroes`). */
  detectZeroes?: 'off' | 'on' | 'unmap';
  /** Whether discards are passed on (QAPI `discard`). */
  discard?: 'ignore' | 'unmap';
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
  detectZeroes: 'off' | 'on' | 'unmap';
  discardMode: 'ignore' | 'unmap';
  file: Child | null = null;
  backing: Child | null = null;
  /** What the image's header says of its backing file, as it stands there; null where it names none. */
  backingFile: string | null = null;
  backingFormat: string | null = null;
  readonly parents = new Set<Child>();
  /** Jobs that work on this node: owner -> reason. */
  readonly blockers = new Map<object, string>();
  protected becomesReadOnly = false;
  /** Set while it is being closed: nothing new is taken. */
  protected closing: Promise<void> | null = null;

  constructor(graph: Graph, options: NodeOptions) {
    this.graph = graph;
    this.nodeName = options.nodeName;
    this.readOnly = options.readOnly;
    this.detectZeroes = options.detectZeroes ?? 'off';
    this.discardMode = options.discard ?? 'ignore';
  }

  get host(): Host {
    return this.graph.host;
  }

  get userName(): string {
    return `node '${this.nodeName}'`;
  }

  /** Refuses with `busy` when a job works on this node. */
  checkBlockers(): void {
    for (const reason of this.blockers.values()) {
      throw new BlockError('busy', `Node '${this.nodeName}' is busy: ${reason}`, { path: this.filename });
    }
  }

  /** Links `user` to this node. Throws `permission` on a conflict, `read-only` for a writer of a read-only node, `locked`. */
  attach(this: BlockNode, user: NodeUser, role: ChildRole, perm: number, shared: number): Child {
    if (this.shut) throw this.closedError('attach');
    this.checkWriter(perm);
    checkPermissions(this, { role, user, perm, shared });
    const child = new Child(user, role, this, perm, shared);
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

  detach(child: Child): void {
    this.parents.delete(child);
    this.graph.quiescence.update();
    this.updatePermissions();
  }

  /** Another use of the node that `child` links to. Throws `permission` or `locked`; then nothing has changed. */
  static changePermissions(child: Child, perm: number, shared: number): void {
    if (child.perm === perm && child.shared === shared) return;
    const { perm: oldPerm, shared: oldShared } = child;
    child.node.checkWriter(perm & ~child.perm);
    checkPermissions(child.node, { role: child.role, user: child.user, perm, shared }, child);
    child.perm = perm;
    child.shared = shared;
    try {
      child.node.updatePermissions();
    } catch (error) {
      child.perm = oldPerm;
      child.shared = oldShared;
      throw error;
    }
  }

  /** What all users of this node together do with it, and what all of them let others do: bits of `Perm`. */
  get usedPermissions(): { perm: number; shared: number } {
    let perm = 0;
    let shared: number = PERM_ALL;
    for (const parent of this.parents) {
      perm |= parent.perm;
      shared &= parent.shared;
    }
    return { perm, shared };
  }

  /** To be called after a change of `parents`. Throws `locked` where an image lock cannot be had; the driver's state is then the old one. */
  updatePermissions(): void {
    if (this.closed) return;
    const { perm, shared } = this.usedPermissions;
    this.permissionsChanged(perm, shared);
  }

  /**
   * Takes `node` as this node's child (or none). The old child is let go of, not closed: `Graph.release` does that. Throws `loop` where
   * `node` lies on this node, and as `attach`.
   */
  setChild(this: BlockNode, role: 'file' | 'backing', node: BlockNode | null, perm = 0, shared = 0): void {
    if (node?.reaches(this)) {
      throw new BlockError(
        'loop',
        `Making '${node.nodeName}' a ${role} child of '${this.nodeName}' would create a cycle`,
        { path: this.filename },
      );
    }
    this.graph.quiescence.change(() => {
      const old = this[role];
      const link = node === null ? null : node.attach(this, role, perm, shared);
      if (old !== null) old.node.detach(old);
      this[role] = link;
    });
  }

  /** This is `node`, or `node` is somewhere below. */
  reaches(node: NodeLinks): boolean {
    if (node === this) return true;
    return this.file?.node.reaches(node) === true || this.backing?.node.reaches(node) === true;
  }

  /** The uses of this node changed: take or drop image locks, hand on to children. Must either do it all or throw and change nothing. */
  protected permissionsChanged(_perm: number, _shared: number): void {}

  protected get shut(): boolean {
    return this.closing !== null;
  }

  protected checkWriter(perm: number): void {
    const refuses = this.readOnly || this.becomesReadOnly;
    if (!refuses || (perm & (Perm.WRITE | Perm.WRITE_UNCHANGED)) === 0) return;
    throw new BlockError('read-only', `Block node '${this.nodeName}' is read-only`, {
      path: this.filename,
      operation: 'attach',
    });
  }

  protected get hasWriters(): boolean {
    return (this.usedPermissions.perm & (Perm.WRITE | Perm.WRITE_UNCHANGED)) !== 0;
  }

  protected closedError(operation: string): BlockError {
    return new BlockError('closed', `${this.filename}: node '${this.nodeName}' is closed`, {
      path: this.filename,
      operation,
    });
  }
}
