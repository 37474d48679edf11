// The node that a job puts above the image that it works on: for the life of the job all users of the image use it through this node, which
// shows in the graph that there is a job, and where.
//
//   device                 device                                                     device
//     |        begin         |                  clean (or earlier: `remove`)            |
//    image      -->       filter  <-- the job       -->                              image, or what a mirror has put in its place
//                            |
//                          image
//
//   mirror_top          mirror, commit of the active layer    hands everything on
//   commit_top          commit                                hands everything on
//   copy-before-write   backup                                a write waits until the old content is saved (`BackupFilter`)
//   copy-on-read        stream                                what is read is filled in at once (`StreamFilter`)
//
// A job reads its source through the filter's link, whose permissions are those that the filter says: while a job commits, the layers between are
// not right for anybody who reads them by themselves, and these are kept off them.

import type { Child, NodeUser } from '../block/child.js';
import type { Graph } from '../block/graph.js';
import { FilterNode } from '../block/node/filter.js';
import type { NodeOptions } from '../block/node/links.js';
import type { BlockNode } from '../block/node/node.js';
import { checkNodeName } from '../block/node-settings.js';
import type { Permissions } from '../block/roles.js';
import { PERM_ALL, Perm } from '../block/types.js';
import { BlockError, toBlockError } from '../util/errors.js';
import type { JobType } from './driver.js';
import { blockedBy, type JobResources } from './resources.js';

interface FilterKind {
  /** Whether it is read-only. Default: as the source is. */
  readOnly?: boolean;
  /** What the child is called. */
  child: 'backing' | 'file';
  /** One that was given a name is called by its options; others as what they filter. */
  hasOptions?: true;
  /** Queries show it as the root of a device, also where nobody named it. */
  alwaysShown?: true;
  /** Stands before the reason why it is refused. */
  refusal?: string;
}

/** The names are QEMU's, as are the differences. */
const KINDS = {
  mirror_top: { child: 'backing', readOnly: false },
  commit_top: { child: 'backing', readOnly: true },
  'copy-before-write': { child: 'file', readOnly: false, alwaysShown: true, refusal: 'Could not create node: ' },
  'copy-on-read': { child: 'file', hasOptions: true, refusal: 'Could not create node: ' },
} as const satisfies Record<string, FilterKind>;

export type JobFilterDriver = keyof typeof KINDS;

/** A filter that a job is to put in. */
export interface FilterPlan {
  driver: JobFilterDriver;
  /** Default: one that is made up. */
  name?: string;
}

/** What a filter node is made of. */
export type FilterParts = ConstructorParameters<typeof FilterNode>;

/** It hands everything on, and lets located requests pass. */
class JobFilterNode extends FilterNode {
  override readonly driver: JobFilterDriver;

  constructor(parts: FilterParts, driver: JobFilterDriver) {
    super(...parts);
    this.driver = driver;
  }

  override get abilities() {
    return this.passedDetails;
  }
}

/** The layers that are committed are read by the job as they are, and what is written to the base is to be written below them. */
class CommitFilterNode extends JobFilterNode {
  override needsOf(_link: Child, perm: number, shared: number): Permissions | null {
    return { perm: perm & ~Perm.CONSISTENT_READ, shared: shared | Perm.WRITE };
  }
}

/** Refuses a name that a node cannot have. Throws `invalid-argument`, `exists`. */
export function checkFilter(graph: Graph, { driver, name }: FilterPlan): void {
  if (name === undefined) return;
  try {
    checkNodeName(name);
    graph.reserveName(name);
    graph.freeName(name);
  } catch (error) {
    throw filterRefused(driver, error);
  }
}

/** `error`, which a filter was refused with, in the words for that. */
export function filterRefused(driver: JobFilterDriver, error: unknown): BlockError {
  const { refusal = '' }: FilterKind = KINDS[driver];
  const cause = toBlockError(error);
  return refusal === '' ? cause : new BlockError(cause.code, refusal + cause.reason, { cause });
}

export interface FilterUse {
  plan: FilterPlan;
  user: NodeUser;
  type: JobType;
  /** What the job needs of the filter, which it closes to others; null: it has no link to it. */
  main: Permissions | null;
  /** Makes the node. Default: one that hands everything on. */
  make?(parts: FilterParts): FilterNode;
  /** Gives it the links that it has besides that to the source. */
  link?(node: BlockNode): void;
}

export interface JobFilter {
  readonly node: BlockNode;
  /** The link to the source: the job reads through it. */
  readonly below: Child;
  /** Takes it out again; the release of the resources does so where it is still there. */
  remove(): Promise<void>;
}

/** A job that needs nothing of its filter itself. */
export const ONLY_THERE: Permissions = { perm: 0, shared: PERM_ALL };

/**
 * Puts a filter above `source`, within a drained section of it. Users that lie below `target` stay where they are, whose filter it may be. Throws as
 * `checkFilter`, and `permission`; the release of `resources` takes it out, where that was not done before.
 */
export function putFilter(resources: JobResources, use: FilterUse, source: BlockNode, target?: BlockNode): JobFilter {
  const { plan, user, type, main, link: linkMore } = use;
  const { graph } = source;
  checkFilter(graph, plan);
  const node = makeFilter(use, source);
  graph.add(node);
  let link: Child | null = null;
  let there = true;
  const remove = async (): Promise<void> => {
    if (!there) return;
    there = false;
    await graph.drained([node], async () => {
      graph.removeFilter(node);
      node.blockers.clear();
      if (link !== null) node.detach(link);
      await graph.release(node);
    });
  };
  resources.defer(remove);
  try {
    linkMore?.(node);
    graph.insertFilter(node, target);
    if (main !== null) {
      link = node.attach(user, 'job', main.perm, main.shared, 'main node');
      node.blockers.set(link, blockedBy(type));
    }
  } catch (error) {
    throw filterRefused(plan.driver, error);
  }
  return { node, below: node.primary!, remove };
}

function makeFilter({ plan, type, make }: FilterUse, source: BlockNode): FilterNode {
  const { driver, name } = plan;
  const kind: FilterKind = KINDS[driver];
  const { graph } = source;
  const { readOnly = source.readOnly } = kind;
  // What discards and zeroes become is up to the node below.
  const options: NodeOptions = { nodeName: name ?? graph.makeName(), readOnly, discard: 'unmap' };
  const own = kind.hasOptions && name !== undefined ? {} : null;
  const parts: FilterParts = [graph, options, driver, own, source, kind.child];
  const HandsOn = type === 'commit' ? CommitFilterNode : JobFilterNode;
  const node = make === undefined ? new HandsOn(parts, driver) : make(parts);
  node.implicit = name === undefined && kind.alwaysShown !== true;
  return node;
}
