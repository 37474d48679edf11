// The node that a job puts above the image that it works on: for the life of the job all users of the image use it through this node, which
// shows in the graph that there is a job, and where.
//
//   device                 device                                                     device
//     |        begin         |                  clean (or earlier: `remove`)            |
//    image      -->       filter  <-- the job       -->                              image, or what a mirror has put in its place
//                            |
//                          image  <-- the job
//
// It hands everything on, and lets located requests pass. What the job does about guests' writes it does at the image itself, so that those count who
// use the image past the filter, too.

import type { NodeUser } from '../block/child.js';
import type { Graph } from '../block/graph.js';
import { FilterNode } from '../block/node/filter.js';
import type { BlockNode } from '../block/node/node.js';
import { checkNodeName } from '../block/node-settings.js';
import { PERM_ALL } from '../block/types.js';
import { BlockError } from '../util/errors.js';
import type { JobType } from './driver.js';
import { blockedBy, type JobResources } from './resources.js';

interface FilterKind {
  /** What the child is called. */
  child: 'backing' | 'file';
  /** One that was given a name is called by its options; others as what they filter. */
  hasOptions?: true;
  /** Is told of in devices although nobody named it. */
  alwaysShown?: true;
  /** Stands before the reason why its name is refused. */
  refusal?: string;
}

/** The names are QEMU's, as are the differences. */
const KINDS = {
  mirror_top: { child: 'backing' },
  commit_top: { child: 'backing' },
  'copy-before-write': { child: 'file', alwaysShown: true, refusal: 'Could not create node: ' },
  'copy-on-read': { child: 'file', hasOptions: true, refusal: 'Could not create node: ' },
} as const satisfies Record<string, FilterKind>;

export type JobFilterDriver = keyof typeof KINDS;

/** A filter that a job is to put in. */
export interface FilterPlan {
  driver: JobFilterDriver;
  /** Default: one that is made up. */
  name?: string;
}

class JobFilterNode extends FilterNode {
  override readonly driver: JobFilterDriver;

  constructor(graph: Graph, nodeName: string, { driver, name }: FilterPlan, source: BlockNode) {
    const kind: FilterKind = KINDS[driver];
    // What discards and zeroes become is up to the node below.
    const options = { nodeName, readOnly: source.readOnly, discard: 'unmap' } as const;
    super(graph, options, driver, kind.hasOptions && name !== undefined ? {} : null, source, kind.child);
    this.driver = driver;
    this.implicit = name === undefined && kind.alwaysShown !== true;
  }

  override get abilities() {
    return this.passedDetails;
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
    const { refusal = '' }: FilterKind = KINDS[driver];
    if (error instanceof BlockError && refusal !== '') throw new BlockError(error.code, refusal + error.message);
    throw error;
  }
}

export interface FilterUse {
  plan: FilterPlan;
  user: NodeUser;
  type: JobType;
}

export interface JobFilter {
  readonly node: BlockNode;
  /** Takes it out again; the release of the resources does so where it is still there. */
  remove(): Promise<void>;
}

/**
 * Puts a filter above `source`, within a drained section of it, and closes it to others. Users that lie below `target` stay where they are, whose
 * filter it may be. Throws as `checkFilter`, and `permission`; the release of `resources` takes it out, where that was not done before.
 */
export function putFilter(resources: JobResources, use: FilterUse, source: BlockNode, target?: BlockNode): JobFilter {
  const { graph } = source;
  const { plan, user, type } = use;
  checkFilter(graph, plan);
  const node = new JobFilterNode(graph, plan.name ?? graph.makeName(), plan, source);
  graph.add(node);
  const link = node.attach(user, 'source', 0, PERM_ALL);
  node.blockers.set(link, blockedBy(type));
  const remove = async (): Promise<void> => {
    if (!node.parents.has(link)) return;
    await graph.drained([node], async () => {
      graph.takeOut(node);
      node.blockers.delete(link);
      node.detach(link);
      await graph.release(node);
    });
  };
  resources.defer(remove);
  graph.replaceNode(source, node, target);
  return { node, remove };
}
