// The jobs of `snapshot-save`, `snapshot-load` and `snapshot-delete`: internal snapshots of several disks, of one moment. There is no machine whose state would
// be kept with them. They stay listed until they are dismissed, as the job of `blockdev-create` does.

import type { Graph } from '../block/graph.js';
import { findSnapshot } from '../block/internal-snapshots.js';
import type { BlockNode } from '../block/node/node.js';
import {
  applyInternalSnapshot,
  createInternalSnapshot,
  deleteInternalSnapshot,
  snapshotsIn,
} from '../block/snapshot-changes.js';
import { snapshotsOf } from '../block/snapshots-of.js';
import { bestEffort } from '../util/best-effort.js';
import { BlockError, toBlockError } from '../util/errors.js';
import { messageInWords } from '../util/system-words.js';
import type { JobContext, JobDriver, JobType } from './driver.js';
import type { Job } from './job.js';
import type { JobEnvironment } from './job-type.js';

export interface SnapshotJobArguments {
  'job-id': string;
  tag: string;
  vmstate?: string;
  devices: readonly string[];
}

type SnapshotJobType = Extract<JobType, `snapshot-${string}`>;
type Work = (nodes: readonly BlockNode[], args: SnapshotJobArguments) => Promise<void>;

const WORK: Readonly<Record<SnapshotJobType, Work>> = {
  'snapshot-save': async (nodes, { tag, vmstate }) => {
    if (nodes.some((node) => idOf(node, tag) !== null))
      throw wrong(`Snapshot '${tag}' already exists in one or more devices`);
    checkStateNode(nodes, vmstate);
    const made: { node: BlockNode; id: string }[] = [];
    try {
      for (const node of nodes) made.push({ node, id: (await createInternalSnapshot(node, { name: tag })).id });
    } catch (error) {
      for (const { node, id } of made) await deleteInternalSnapshot(node, id).catch(bestEffort('undoing a snapshot'));
      throw error;
    }
  },

  'snapshot-load': async (nodes, { tag, vmstate }) => {
    if (nodes.some((node) => idOf(node, tag) === null))
      throw wrong(`Snapshot '${tag}' does not exist in one or more devices`);
    checkStateNode(nodes, vmstate);
    for (const [done, node] of nodes.entries()) {
      try {
        await applyInternalSnapshot(node, idOf(node, tag)!);
      } catch (error) {
        throw done === 0 ? error : halfLoaded(nodes, done, tag, toBlockError(error));
      }
    }
  },

  'snapshot-delete': async (nodes, { tag }) => {
    for (const node of nodes) {
      const id = idOf(node, tag);
      if (id !== null) await deleteInternalSnapshot(node, id);
    }
  },
};

/** There is no way back for those that were loaded: what they held before is lost. The error says which they are. */
function halfLoaded(nodes: readonly BlockNode[], done: number, tag: string, error: BlockError): BlockError {
  const names = (some: readonly BlockNode[]): string => some.map(({ nodeName }) => `'${nodeName}'`).join(', ');
  const state = `Snapshot '${tag}' was loaded into ${names(nodes.slice(0, done))}, not into ${names(nodes.slice(done))}`;
  const { code, path, errno, operation } = error;
  return new BlockError(code, `${state}: ${messageInWords(error)}`, { path, errno, operation, cause: error });
}

class SnapshotDriver implements JobDriver {
  readonly isBlockJob = false;
  readonly type: SnapshotJobType;
  readonly #graph: Graph;
  readonly #args: SnapshotJobArguments;

  constructor(type: SnapshotJobType, graph: Graph, args: SnapshotJobArguments) {
    this.type = type;
    this.#graph = graph;
    this.#args = args;
  }

  async run({ progress }: JobContext): Promise<void> {
    progress.setTotal(1);
    try {
      const nodes = nodesOf(this.#graph, this.#args.devices);
      await this.#graph.drained([...nodes], () => WORK[this.type](nodes, this.#args));
    } finally {
      progress.advance(1);
    }
  }
}

/** Starts one of the jobs. What is wrong with the nodes is the job's error. Throws `invalid-argument` for a bad id, `exists`. */
export function startSnapshotJob(
  { graph, manager }: JobEnvironment,
  type: SnapshotJobType,
  args: SnapshotJobArguments,
): Job {
  const driver = new SnapshotDriver(type, graph, args);
  const job = manager.create({ driver, id: args['job-id'], autoDismiss: false });
  job.start();
  return job;
}

/** The nodes, each once, without those that are read-only. Throws `not-found`, `unsupported`, `invalid-argument`. */
function nodesOf(graph: Graph, names: readonly string[]): BlockNode[] {
  if (names.length === 0) throw wrong('At least one device is required for snapshot');
  const nodes = new Set<BlockNode>();
  for (const name of names) {
    const node = graph.nodes.get(name);
    if (node === undefined) throw new BlockError('not-found', `No block device node '${name}'`);
    if (node.readOnly) continue;
    try {
      snapshotsOf(node);
    } catch (cause) {
      throw new BlockError('unsupported', `Device '${name}' is writable but does not support snapshots`, { cause });
    }
    nodes.add(node);
  }
  return [...nodes];
}

function checkStateNode(nodes: readonly BlockNode[], name: string | undefined): void {
  if (nodes.some(({ nodeName }) => nodeName === name)) return;
  throw new BlockError('not-found', `vmstate block device '${name}' does not exist`);
}

function idOf(node: BlockNode, name: string): string | null {
  return findSnapshot(snapshotsIn(node), { name })?.id ?? null;
}

function wrong(message: string): BlockError {
  return new BlockError('invalid-argument', message);
}
