// A job type as those who start jobs see it, and what the types share.
//
//   arguments (QAPI's words) --check--> --make--> driver, what it copies, error policies --start.ts--> a running job
//
// A job type is one file with a `JobTypeDefinition`, which turns the arguments of its QMP command into a driver. The driver stands there, too, or, where it
// is long, in a file of its own (`mirror.ts`, `mirror-driver.ts`). One line in `registry.ts` makes the type known by its name.

import { wayDown } from '../block/chain.js';
import { findLayer } from '../block/find-layer.js';
import type { Graph } from '../block/graph.js';
import type { BlockNode } from '../block/node/node.js';
import { checkSpeed } from '../host/rate-limit.js';
import type { BlockdevOnError } from '../schema/generated/types.js';
import { BlockError } from '../util/errors.js';
import type { StartClaims } from './claims.js';
import type { JobDriver, JobType } from './driver.js';
import type { Job } from './job.js';
import { checkFilter, type FilterPlan, type JobFilterDriver } from './job-filter.js';
import type { JobManager } from './manager.js';
import type { CopyScope } from './space.js';

/** Where jobs work. */
export interface JobEnvironment {
  graph: Graph;
  manager: JobManager;
  /** What is kept for the jobs that are started here. */
  claims?: StartClaims;
  /** Root node of a device; undefined where no device has that name. Names of nodes are looked up after it. */
  device?: (name: string) => BlockNode | undefined;
  /** Starts jobs that are set up, all of a transaction together, when it is their turn on what they read and write. Default: at once. */
  launch?: (jobs: readonly Job[], nodes: readonly BlockNode[]) => void;
  /** A job closes its target at its end, where nobody else uses it. Default: who opened it does. */
  closesTargets?: boolean;
  /** Jobs put filter nodes above the images that they work on. Default: they do not. */
  filters?: boolean;
  /** Is called before the start where the target's file system may be too full. Default: that is not looked up. */
  warn?: (message: string) => void;
}

/** Arguments that every job type takes. */
export interface CommonArguments {
  'job-id'?: string;
  device: string;
  speed?: number;
  /** Of job types that have a filter, and only where jobs put filter nodes in. */
  'filter-node-name'?: string;
  'auto-finalize'?: boolean;
  'auto-dismiss'?: boolean;
}

/** A driver that links itself to its nodes before it runs. */
export interface StartableDriver extends JobDriver {
  /** Links the job to its nodes and blocks them for others. After a rejection there is no job. */
  begin(user: Job): Promise<void>;
  /** Called within a drained section of `source` once all jobs of the transaction have begun: the job is about the content of this moment. */
  takeMoment?(): void;
}

/** A job that is about to be created. */
export interface MadeJob {
  driver: StartableDriver;
  /** What it reads and writes. */
  scope: CopyScope;
  /** What becomes of failed reads and writes. Default: `report`. */
  onSourceError?: BlockdevOnError;
  onTargetError?: BlockdevOnError;
  /** The node that is drained for `takeMoment`. */
  source?: BlockNode;
  /** How much the target will take is not known: it is not compared with the free space. */
  sizeUnknown?: boolean;
}

export interface JobTypeDefinition<A extends CommonArguments> {
  readonly name: JobType;
  /** The filter node that it puts in; absent: none, and its arguments name none. */
  readonly filter?: JobFilterDriver;
  /** `make` refuses what other jobs work on, the source included, after it has looked at the names of layers. */
  readonly checksBusy?: true;
  /**
   * Checks what can be checked without nodes, before a target is made. `clusterBytes` is the cluster size that the target will have, 0 where
   * that is not known. Throws `invalid-argument`, `unsupported`.
   */
  check?(args: Omit<A, 'device' | 'target'>, clusterBytes: number): void;
  /**
   * Checks what the arguments say of the source, and of other nodes that are there, before a target is made. Throws `not-found`, `busy`,
   * `read-only`, `invalid-argument`.
   */
  checkSource?(env: JobEnvironment, source: BlockNode, args: Omit<A, 'device' | 'target'>): void;
  /** Turns checked arguments into a driver: names become nodes. Rejects with `not-found`, `invalid-argument`, ... */
  make(env: JobEnvironment, args: A): Promise<MadeJob>;
}

/** As `checkOwnArguments`, and the speed. Throws `invalid-argument`, `unsupported`. */
export function checkJobArguments<A extends CommonArguments>(
  type: JobTypeDefinition<A>,
  args: Omit<A, 'device' | 'target'> & Pick<CommonArguments, 'speed'>,
  clusterBytes = 0,
): void {
  checkSpeed(args.speed ?? 0);
  checkOwnArguments(type, args, clusterBytes);
}

/** Checks the arguments of a job as far as that takes no nodes; see `JobTypeDefinition.check`. Throws `invalid-argument`, `unsupported`. */
export function checkOwnArguments<A extends CommonArguments>(
  type: JobTypeDefinition<A>,
  args: Omit<A, 'device' | 'target'>,
  clusterBytes = 0,
): void {
  type.check?.(args, clusterBytes);
}

type FilterArguments = Pick<CommonArguments, 'filter-node-name'>;
type FilteringType = Pick<JobTypeDefinition<never>, 'filter'>;

/** The filter that a job of this type is to put in; null: none. Throws `unsupported`, and as `checkFilter`. */
export function filterOf(env: JobEnvironment, type: FilteringType, args: FilterArguments): FilterPlan | null {
  const plan = filterPlan(env, type, args);
  if (plan !== null) checkFilter(env.graph, plan);
  return plan;
}

/** The same with a name that is not looked at yet. Throws `unsupported`. */
export function filterPlan(
  { filters }: JobEnvironment,
  { filter: driver }: FilteringType,
  { 'filter-node-name': name }: FilterArguments,
): FilterPlan | null {
  if (filters && driver !== undefined) return { driver, name };
  if (name === undefined) return null;
  throw new BlockError('unsupported', "Parameter 'filter-node-name' is not supported: jobs put no filter nodes in");
}

// ---- names in arguments ------------------------------------------------------------------------------------------

/** The node that `device` or `target` names. Throws `not-found`. */
export function nodeOf(env: JobEnvironment, name: string): BlockNode {
  const found = env.device?.(name) ?? env.graph.lookUp(name);
  if (found !== undefined) return found;
  throw new BlockError('not-found', `Cannot find device='${name}' nor node-name='${name}'`);
}

/** A layer of the chain of `root` by its node's name or by its file's; undefined where neither is given. Rejects with `not-found`, `invalid-argument`. */
export async function layerOf(
  env: JobEnvironment,
  root: BlockNode,
  node?: string,
  file?: string,
): Promise<BlockNode | undefined> {
  if (file !== undefined) return layerByFile(root, file);
  if (node === undefined) return undefined;
  const found = env.graph.find(node);
  if (wayDown(root).includes(found)) return found;
  throw new BlockError('invalid-argument', `'${node}' is not in this backing file chain`, { path: root.filename });
}

/** The layer by the name of its file; of the top, the name that it was opened by. Rejects with `not-found`. */
export async function layerByFile(top: BlockNode, file: string): Promise<BlockNode> {
  const found = top.filename === file ? top : await findLayer(top, file);
  if (found !== null) return found;
  throw new BlockError('not-found', `Can't find '${file}' in the backing chain`, { path: top.filename });
}
