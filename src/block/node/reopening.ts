// Reopening: nodes become read-only or writable, bypass the page cache or not, take other options of their drivers, or get another backing node. Several
// nodes change together: all of them, or none.
//
//   plan       which nodes, and what each is to be; may its users go on?     nothing has changed, a refusal costs nothing
//   prepare    requests end, what was written is flushed; each driver gets ready next to what it has in use: a second descriptor, new settings
//   permit     links of backing nodes move, permissions of links and image locks are taken for what follows    --+
//   commit     every node and driver switches over; cannot fail                                                 | one instant
//   complete   drivers write what they only can write now; where that fails, all switch back                  --+ ends here
//   finish     what is not in use any more is closed
//
// A node has one reopening at a time; a later one waits, and plans anew from what the earlier one left.

import type {
  BlockdevDetectZeroesOptions,
  BlockdevDiscardOptions,
  BlockdevOptions,
} from '../../schema/generated/types.js';
import type { LooseOptions } from '../../schema/loose-options.js';
import { bestEffort, reportUnforeseen } from '../../util/best-effort.js';
import { BlockError } from '../../util/errors.js';
import type { Child } from '../child.js';
import type { InheritedOptions, Permissions } from '../roles.js';
import { PERM_ALL, Perm } from '../types.js';
import type { CacheMode } from './links.js';
import type { BlockNode } from './node.js';
import { planPermissions, preparePermissions } from './permissions.js';

/** What a node is to be. What is left out stays as it is. */
export interface NodeChange {
  readonly readOnly?: boolean;
  /** A file that cannot be opened for writing stays read-only. */
  readonly autoReadOnly?: boolean;
  readonly cache?: CacheMode;
  readonly discard?: BlockdevDiscardOptions;
  readonly detectZeroes?: BlockdevDetectZeroesOptions;
  /** The driver's own options. */
  readonly options?: BlockdevOptions;
  /** Another backing node; null: none. */
  readonly backing?: BlockNode | null;
  /** Another node as the child `file`. */
  readonly file?: BlockNode;
  /** What the next reopening is to be compared with. */
  readonly opening?: Opening;
}

/** What a node was opened with, kept for the day when it is reopened: which options changed is told by comparing with these. */
export interface Opening {
  /** The node's own options, and its children's, as they were given. */
  readonly options: LooseOptions;
  /** What followed: its own options over what it inherited. */
  readonly settings: InheritedOptions;
  /** The node above, within whose options this one was opened, and whose options it inherits; null: it stands for itself. */
  heirOf: BlockNode | null;
}

/** What a driver has got ready. `commit` and `revert` are called at most once, `finish` always. */
export interface PreparedReopen {
  /** What could not be had after all, and stays. */
  readonly stays?: Pick<NodeChange, 'readOnly'>;
  /** Called with the new permissions prepared. Throws; then nothing is committed. */
  permit?(): void;
  /** Switches over. Cannot fail. */
  commit(): void;
  /** Writes what could not be written before the commit. Where it rejects, `revert` follows. */
  complete?(): Promise<void>;
  /** Switches back. Cannot fail. */
  revert(): void;
  /** Closes what is not in use: the old where it was committed, else the new. */
  finish?(): Promise<void>;
}

export type NodeChanges = ReadonlyMap<BlockNode, NodeChange>;

/** Changes `nodes`, and others with them, as `plan` says once no other reopening of them is under way. Where it rejects, all nodes are as they were. */
export async function reopenTogether(nodes: readonly BlockNode[], plan: () => NodeChanges): Promise<void> {
  const underWay = () => [...nodes, ...changes.keys()].find(({ reopening }) => reopening !== null)?.reopening;
  let changes = plan();
  for (let other = underWay(); other !== undefined; other = underWay()) {
    await other;
    changes = plan();
  }
  if (changes.size === 0) return;
  const work = new Reopening(changes).run();
  const ended = work.then(
    () => {},
    () => {},
  );
  for (const node of changes.keys()) node.reopening = ended;
  try {
    await work;
  } finally {
    for (const node of changes.keys()) node.reopening = null;
  }
}

/**
 * `node`, and the children that its bytes lie in, as far as they are not so already and nobody else writes to them. Those that were not opened within
 * its options, or say themselves whether they are read-only, stay as they are. Throws `unsupported` where one cannot change.
 */
export function withFollowers(
  node: BlockNode,
  readOnly: boolean,
  into: Map<BlockNode, NodeChange> = new Map(),
): NodeChanges {
  if (into.has(node) || node.readOnly === readOnly) return into;
  if (!node.reopens) throw reopensNot(node);
  into.set(node, { readOnly });
  for (const link of node.children.values()) {
    if (!follows(link)) continue;
    const written = ({ user, perm }: Child) => !into.has(user as BlockNode) && (perm & WRITES) !== 0;
    if (!(readOnly && [...link.node.parents].some(written))) withFollowers(link.node, readOnly, into);
  }
  return into;
}

function follows({ role, user, node: { opening } }: Child): boolean {
  return role.follows && opening?.heirOf === user && opening.options.members['read-only'] === undefined;
}

/** The error for a node whose driver cannot change how it is open. */
export function reopensNot({
  driver,
  nodeName,
  filename,
}: Pick<BlockNode, 'driver' | 'nodeName' | 'filename'>): BlockError {
  const message = `Block format '${driver}' used by node '${nodeName}' does not support reopening files`;
  return new BlockError('unsupported', message, { path: filename });
}

const WRITES = Perm.WRITE | Perm.WRITE_UNCHANGED;

class Reopening {
  readonly #changes: Map<BlockNode, NodeChange>;
  /** Nodes from the top down. */
  readonly #nodes: BlockNode[];
  readonly #prepared: { node: BlockNode; driver: PreparedReopen }[] = [];
  /** Of each link that moved: who has it, and the link before and after. */
  readonly #links: { node: BlockNode; old: Child | undefined; link: Child | undefined }[] = [];
  /** Links of children `file` that moved, and from where. */
  readonly #files: { node: BlockNode; link: Child; from: BlockNode }[] = [];
  /** Undoes what was committed, last first. */
  readonly #undo: (() => void)[] = [];

  constructor(changes: NodeChanges) {
    this.#changes = new Map(changes);
    this.#nodes = fromTheTop([...changes.keys()]);
  }

  async run(): Promise<void> {
    // What was sent to the old file is not to be under way beside what goes to the new one.
    const moves = [...this.#changes.values()].some(({ file }) => file !== undefined);
    if (moves) await this.#nodes[0].graph.drained(this.#nodes, () => this.#run());
    else await this.#run();
  }

  async #run(): Promise<void> {
    const turning = this.#nodes.filter((node) => this.#turns(node));
    // Before anything waits for requests to end.
    this.#plan();
    try {
      for (const node of this.#nodes) await node.idle();
      for (const node of turning) node.refusesWriters = true;
      this.#plan();
      for (const node of this.#nodes) if (!node.readOnly) await node.flush();
      for (const node of this.#nodes) await this.#prepare(node);
      this.#nodes[0].graph.quiescence.change(() => this.#switch());
      await this.#complete();
    } finally {
      for (const node of turning) node.refusesWriters = false;
      for (const { driver } of this.#prepared) await driver.finish?.().catch(bestEffort('reopen'));
    }
    for (const { node, old } of this.#links) {
      if (old === undefined) continue;
      // It inherits nothing from its overlay any more.
      if (old.node.opening?.heirOf === node) old.node.opening.heirOf = null;
      await old.node.graph.release(old.node).catch(bestEffort('closing a backing node'));
    }
    for (const { node, from } of this.#files) {
      if (from.opening?.heirOf === node) from.opening.heirOf = null;
      await from.graph.release(from).catch(bestEffort('closing a file'));
    }
  }

  #plan(): void {
    this.#checkFiles();
    planPermissions(this.#nodes, new Map(), this.#readOnly());
  }

  #turns(node: BlockNode): boolean {
    const { readOnly } = this.#changes.get(node)!;
    return readOnly !== undefined && readOnly !== node.readOnly;
  }

  /** Which nodes become read-only (true) or writable. */
  #readOnly(): Map<BlockNode, boolean> {
    const turning = this.#nodes.filter((node) => this.#turns(node));
    return new Map(turning.map((node) => [node, !node.readOnly]));
  }

  /** Refuses with `read-only` a node that becomes writable over a file that is not. */
  #checkFiles(): void {
    const becomes = this.#readOnly();
    for (const [node, readOnly] of becomes) {
      if (readOnly) continue;
      for (const link of node.children.values()) {
        const { perm } = node.needsOf(link, 0, PERM_ALL, readOnly) ?? link;
        if (link.role.follows && (perm & Perm.WRITE) !== 0 && (becomes.get(link.node) ?? link.node.readOnly))
          throw isReadOnly(link.node);
      }
    }
  }

  async #prepare(node: BlockNode): Promise<void> {
    const change = this.#changes.get(node)!;
    const driver = await node.prepareReopen(change);
    if (driver === null) return;
    this.#prepared.push({ node, driver });
    if (driver.stays !== undefined) this.#changes.set(node, { ...change, readOnly: node.readOnly });
  }

  /** All of it in one instant: where it throws, nothing has changed. */
  #switch(): void {
    for (const node of this.#nodes) if (node.shut) throw node.closedError('reopen');
    try {
      for (const node of this.#changes.keys()) {
        this.#moveBacking(node);
        this.#moveFile(node);
      }
      this.#checkFiles();
      const uses = new Map<Child, Permissions>();
      for (const { link } of this.#files) uses.set(link, link);
      for (const { link } of this.#links) if (link !== undefined) uses.set(link, link);
      this.#permit(uses, this.#readOnly());
    } catch (error) {
      this.#moveLinksBack();
      throw error;
    }
    for (const { driver } of this.#prepared) {
      driver.commit();
      this.#undo.push(() => driver.revert());
    }
    for (const node of this.#nodes) this.#set(node);
  }

  #permit(uses: Map<Child, Permissions>, readOnly: Map<BlockNode, boolean>): void {
    const before = new Map([...uses.keys()].map((link) => [link, { perm: link.perm, shared: link.shared }]));
    const moved = this.#links.flatMap(({ old, link }) => [old?.node, link?.node]).filter((node) => node !== undefined);
    const files = this.#files.flatMap(({ link, from }) => [link.node, from]);
    const nodes = [...this.#nodes, ...moved, ...files];
    const permissions = preparePermissions(nodes, uses, readOnly);
    try {
      for (const { driver } of this.#prepared) driver.permit?.();
    } catch (error) {
      permissions.abort();
      throw error;
    }
    permissions.commit();
    this.#undo.push(() => {
      this.#moveLinksBack();
      preparePermissions(nodes, before, new Map([...readOnly].map(([node, becomes]) => [node, !becomes]))).commit();
    });
  }

  #moveBacking(node: BlockNode): void {
    const { backing } = this.#changes.get(node)!;
    const old = node.cow ?? undefined;
    if (backing === undefined || backing === (old?.node ?? null)) return;
    const link = backing === null ? undefined : node.childLink('backing', backing, 'cow');
    node.exchangeChild('backing', link);
    this.#links.push({ node, old, link });
  }

  /** The link stays the same object: the driver may have it at hand. */
  #moveFile(node: BlockNode): void {
    const { file } = this.#changes.get(node)!;
    const link = node.children.get('file');
    if (file === undefined || link === undefined || link.node === file) return;
    if (file.reaches(node)) throw node.wouldBeCycle('file', file);
    file.checkLink(link);
    this.#files.push({ node, link, from: link.node });
    moveLink(link, file);
    // What a filter writes is what its users do: see `checkLink`.
    if (link.role.filtered || this.#changes.get(node)!.readOnly !== false) return;
    if (this.#changes.get(file)?.readOnly ?? file.readOnly) throw isReadOnly(file);
  }

  #moveLinksBack(): void {
    for (const { link, from } of this.#files.splice(0).reverse()) moveLink(link, from);
    for (const { node, old } of this.#links.splice(0).reverse()) node.exchangeChild('backing', old);
  }

  #set(node: BlockNode): void {
    const { readOnly, cache, detectZeroes, discardMode, opening } = node;
    const change = this.#changes.get(node)!;
    this.#undo.push(() => Object.assign(node, { readOnly, cache, detectZeroes, discardMode, opening }));
    node.readOnly = change.readOnly ?? readOnly;
    node.cache = change.cache ?? cache;
    node.detectZeroes = change.detectZeroes ?? detectZeroes;
    node.discardMode = change.discard ?? discardMode;
    node.opening = change.opening ?? opening;
  }

  /** What lies below is first. */
  async #complete(): Promise<void> {
    try {
      for (const { driver } of [...this.#prepared].reverse()) await driver.complete?.();
    } catch (error) {
      this.#nodes[0].graph.quiescence.change(() => {
        for (const undo of this.#undo.reverse()) this.#attempt(undo);
      });
      throw error;
    }
  }

  /** Best effort: what the caller must learn is why it was undone. */
  #attempt(undo: () => void): void {
    try {
      undo();
    } catch (error) {
      reportUnforeseen('undoing a reopening', error);
    }
  }
}

function moveLink(link: Child, to: BlockNode): void {
  link.node.parents.delete(link);
  link.node = to;
  to.parents.add(link);
}

function isReadOnly({ filename }: BlockNode): BlockError {
  return new BlockError('read-only', 'Block node is read-only', { path: filename, operation: 'reopen' });
}

/** Each node before those that lie below it. */
function fromTheTop(nodes: readonly BlockNode[]): BlockNode[] {
  const order: BlockNode[] = [];
  const seen = new Set<BlockNode>();
  const visit = (node: BlockNode): void => {
    if (seen.has(node)) return;
    seen.add(node);
    for (const link of node.children.values()) visit(link.node);
    order.push(node);
  };
  for (const node of nodes) visit(node);
  return order.reverse().filter((node) => nodes.includes(node));
}
