// What a job holds of the graph (links, blockers, write access, observers). All of it is released in reverse order, however the job ends.

import { backingFormatFor, backingNameFor } from '../block/backing-name.js';
import { cowChild, filteredChild, wayDownTo } from '../block/chain.js';
import type { Child, NodeUser } from '../block/child.js';
import { openingName } from '../block/filename.js';
import type { Graph } from '../block/graph.js';
import { backingFileOf, needFormat } from '../block/node/format.js';
import { BlockNode } from '../block/node/node.js';
import { usedPermissions } from '../block/node/permissions.js';
import type { WriteObserver } from '../block/observer.js';
import { PERM_ALL, Perm } from '../block/types.js';
import { BlockError } from '../util/errors.js';
import type { JobType } from './driver.js';

/** Guests may go on reading and writing: the job depends on the size alone. */
export const SAME_SIZE_SHARED = PERM_ALL & ~Perm.RESIZE;
/** A job reads here what nobody may change. */
export const FROZEN_SHARED = PERM_ALL & ~(Perm.WRITE | Perm.RESIZE);
/** A layer between what is committed and the base: it is not right for who reads it by itself. */
export const BETWEEN_SHARED = Perm.WRITE_UNCHANGED | Perm.WRITE;

/** What others may do with the `source` of a copy: where nobody here can write to it, no other process may either. */
export function sourceShared(source: BlockNode): number {
  return source.readOnly ? FROZEN_SHARED : SAME_SIZE_SHARED;
}

/** Somebody may change what `node` reads as. */
export function hasWriter(node: BlockNode): boolean {
  return (usedPermissions(node).perm & Perm.WRITE) !== 0;
}

/** A node that was made writable. */
export interface WriteAccess {
  /** Makes it read-only again, where it was. */
  restore(): Promise<void>;
  /** It stays writable. */
  keep(): void;
}

/** The link that the job took in `begin`. */
export function linkOf(link: Child | null): Child {
  if (link === null) throw new BlockError('internal', 'the job has not begun', { operation: 'job' });
  return link;
}

/** Why a node that a job of this type works on is closed to others. */
export function blockedBy(type: JobType): string {
  return `block device is in use by block job: ${type}`;
}

/** Refuses, with `busy`, what another job works on: from `top` down to `base`, without that; null: all of it. */
export function checkWayDown(top: BlockNode, base: BlockNode | null): void {
  for (const node of wayDownTo(top, base)) node.checkBlockers();
}

/** Refuses a target of another size than the source. Throws `invalid-argument`. */
export function refuseOtherSize(source: BlockNode, target: BlockNode): void {
  if (target.length === source.length) return;
  throw new BlockError('invalid-argument', 'Source and target image have different sizes', { path: target.filename });
}

/** Refuses a target that cannot be written to. Throws `read-only`. */
export function refuseReadOnly({ readOnly, nodeName, filename }: BlockNode): void {
  if (readOnly) throw new BlockError('read-only', `Block node '${nodeName}' is read-only`, { path: filename });
}

export class JobResources {
  readonly #graph: Graph;
  #undo: (() => void | Promise<void>)[] = [];

  constructor(graph: Graph) {
    this.#graph = graph;
  }

  /** Will run on release, before everything that was deferred earlier. */
  defer(undo: () => void | Promise<void>): void {
    this.#undo.push(undo);
  }

  /** Keeps `node` for the job, which calls it `name`, and says what others may do with it. Throws `permission`. */
  keep(user: NodeUser, node: BlockNode, name: string, shared: number): Child {
    return this.#attached(node.attach(user, 'job', 0, shared, name));
  }

  /** A link through which the job reads or writes. Throws `permission`, `read-only`. */
  attach(user: NodeUser, node: BlockNode, perm: number, shared: number): Child {
    return this.#attached(node.attach(user, 'copy', perm, shared));
  }

  #attached(child: Child): Child {
    this.defer(() => this.detach(child));
    return child;
  }

  /** Gives a link back before the end. */
  detach(child: Child): void {
    if (child.node.parents.has(child)) child.node.detach(child);
  }

  /** Makes the node of `link` longer, which the job is not allowed otherwise. Rejects with `permission`, and as `truncate`. */
  async lengthen(link: Child, size: number): Promise<void> {
    const { perm, shared } = link;
    BlockNode.changePermissions(link, perm | Perm.RESIZE, shared);
    try {
      await link.truncate(size);
    } finally {
      BlockNode.changePermissions(link, perm, shared);
    }
  }

  /**
   * The job, which has a link for reading, writes through it from then on, with `perm`. The node is made writable where it is not, which takes a
   * while: what the link does not share is refused to others meanwhile. Rejects with `permission`, `locked`, `read-only`.
   */
  async beginWriting(link: Child, perm: number): Promise<WriteAccess> {
    const { perm: before } = link;
    const access = await this.writable(link.node);
    BlockNode.changePermissions(link, perm, link.shared);
    // A node with a writer cannot be made read-only again.
    this.defer(() => {
      if (link.node.parents.has(link)) BlockNode.changePermissions(link, link.perm & before, link.shared);
    });
    return access;
  }

  /** Keeps other jobs off `node`. Throws `busy` where one is there. */
  block(node: BlockNode, type: JobType): void {
    node.checkBlockers();
    node.blockers.set(this, blockedBy(type));
    this.defer(() => {
      node.blockers.delete(this);
    });
  }

  /** The chain from `top` down to `base` stays as it is, but for what the job does to it itself, which gives back the links first. */
  freeze(top: BlockNode, base: BlockNode): void {
    for (const node of wayDownTo(top, base)) {
      const link = filteredChild(node) ?? cowChild(node);
      if (link === null) continue;
      link.frozen++;
      this.defer(() => {
        link.frozen--;
      });
    }
  }

  /** Others may have `perm` of a backing node, of which `child` is the overlay's link; until the release, or for good where `keep` is called. */
  share(child: Child, perm: number): { keep(): void } {
    const before = child.lent;
    let kept = false;
    BlockNode.lend(child, before | perm);
    this.defer(() => {
      if (!kept && child.node.parents.has(child)) BlockNode.lend(child, before);
    });
    return {
      keep: () => {
        kept = true;
      },
    };
  }

  /** Makes `node` writable where it is not. The result makes it read-only again; so does the release, unless `keep` was called. */
  async writable(node: BlockNode): Promise<WriteAccess> {
    let pending = node.readOnly;
    if (pending) await node.reopen(false);
    const restore = async (): Promise<void> => {
      if (!pending || node.closed) return;
      pending = false;
      await node.reopen(true);
    };
    this.defer(restore);
    return {
      restore,
      keep: () => {
        pending = false;
      },
    };
  }

  observe(node: BlockNode, observer: WriteObserver): void {
    node.addObserver(observer);
    this.defer(() => node.removeObserver(observer));
  }

  /** Closes nodes that nobody uses any more, once the job has released everything. */
  dropLater(nodes: readonly BlockNode[]): void {
    this.#undo.unshift(async () => {
      for (const node of nodes) await this.#graph.release(node);
    });
  }

  /** Releases everything. All is tried; the first error is thrown. */
  async release(): Promise<void> {
    let failure: { error: unknown } | null = null;
    for (let undo = this.#undo.pop(); undo !== undefined; undo = this.#undo.pop()) {
      try {
        await undo();
      } catch (error) {
        failure ??= { error };
      }
    }
    await this.#graph.unusedClosed().catch((error: unknown) => {
      failure ??= { error };
    });
    if (failure !== null) throw failure.error;
  }
}

/** A drained section that lasts until `end` is called: over two phases of a job's completion. */
export async function holdDrained(graph: Graph, nodes: readonly BlockNode[]): Promise<{ end(): Promise<void> }> {
  let open: () => void = () => {};
  const latch = new Promise<void>((resolve) => {
    open = resolve;
  });
  return new Promise((resolve, reject) => {
    const section = graph.drained(nodes, async () => {
      resolve({
        end: () => {
          open();
          return section;
        },
      });
      await latch;
    });
    section.catch(reject);
  });
}

/**
 * Refuses, before a job has copied anything, what `changeBacking` would refuse at its end: a format that keeps the name
 * it has, a name that leads elsewhere, or has no room in the header. Rejects with `unsupported`, `invalid-argument`.
 */
export async function checkBackingName(
  overlay: BlockNode,
  backing: BlockNode | null,
  name: string | null,
): Promise<void> {
  const header = await headerNaming(overlay, backing, name);
  needFormat(overlay).checkBackingChange(header.file, header.format);
}

/** What the header of `overlay` is to say where `backing` is its backing node. Rejects as `backingNameFor`. */
async function headerNaming(overlay: BlockNode, backing: BlockNode | null, name: string | null) {
  if (backing === null) return { file: null, format: null };
  const file = await backingNameFor(openingName(overlay), backing, { asked: name ?? undefined });
  return { file, format: backingFormatFor(backing) };
}

/**
 * Gives `overlay` another backing node and writes it into the header, in a drained section. When it fails, both are as they were.
 * `overlay` must be writable. `name` is written into the header, if it leads to `backing`; null: a name that does.
 */
export async function changeBacking(
  graph: Graph,
  overlay: BlockNode,
  backing: BlockNode | null,
  name: string | null,
): Promise<void> {
  const { file, format } = await headerNaming(overlay, backing, name);
  await graph.drained([overlay], async () => {
    const image = needFormat(overlay);
    const { backingFile, backingFormat } = image;
    await image.changeBackingFile(file, format);
    try {
      await graph.setBacking(image, backing);
    } catch (error) {
      await image.changeBackingFile(backingFile, backingFormat);
      throw error;
    }
  });
}

/** Writes into the header of `overlay`, which is writable, the name of `backing`, unless what it names is that file. Rejects as `changeBackingFile`. */
export async function nameBacking(overlay: BlockNode, backing: BlockNode): Promise<void> {
  const name = await newNameFor(overlay, backing);
  if (name !== null) await needFormat(overlay).changeBackingFile(name, backingFormatFor(backing));
}

/** Refuses what `nameBacking` would refuse, before a job has copied anything. */
export async function checkNameBacking(overlay: BlockNode, backing: BlockNode): Promise<void> {
  const name = await newNameFor(overlay, backing);
  if (name !== null) needFormat(overlay).checkBackingChange(name, backingFormatFor(backing));
}

/** The name by which `backing` is found from `overlay`; null where the header has it already. */
async function newNameFor(overlay: BlockNode, backing: BlockNode): Promise<string | null> {
  const recorded = backingFileOf(overlay);
  const name = await backingNameFor(openingName(overlay), backing, { recorded });
  return name === recorded ? null : name;
}
