// Starts the copy jobs from QMP's arguments: names become nodes, the driver is made, the job takes what it needs and runs. Where
// anything fails, everything is given back and no job is left.

import { chainOf, inChain, nodesAbove } from '../block/chain.js';
import { findLayer } from '../block/find-layer.js';
import type { Graph } from '../block/graph.js';
import { refuseSameStorage } from '../block/identity.js';
import type { BlockNode } from '../block/node.js';
import { Perm } from '../block/types.js';
import { checkSpeed } from '../host/rate-limit.js';
import type {
  BitmapSyncMode,
  BlockCommitArguments,
  BlockdevBackup,
  BlockdevMirror,
  BlockStreamArguments,
  MirrorSyncMode,
} from '../schema/generated/types.js';
import { bestEffort } from '../util/best-effort.js';
import { BlockError, toBlockError } from '../util/errors.js';
import { BackupDriver, checkPerformance, type OnCbwError } from './backup.js';
import { bitmapMode } from './bitmap-use.js';
import { ActiveCommitDriver, CommitDriver, commitBase } from './commit.js';
import type { JobDriver } from './driver.js';
import type { Job } from './job.js';
import { checkJobId, type JobManager, type ManagedJobOptions } from './manager.js';
import { checkMirrorOptions, MirrorDriver } from './mirror.js';
import { type CopyScope, warnOfSpace } from './space.js';
import { StreamDriver } from './stream.js';
import { type CompletionMode, JobTransaction } from './transaction.js';

/** Where jobs work. */
export interface JobEnvironment {
  graph: Graph;
  manager: JobManager;
  /** Root node of a device; undefined where there is no such device. Names of nodes are looked up after it. */
  device?: (name: string) => BlockNode | undefined;
  /** Starts jobs that are set up, all of a transaction together, when it is their turn on what they read and write. Default: at once. */
  launch?: (jobs: readonly Job[], nodes: readonly BlockNode[]) => void;
  /** Is told before the start that the target's file system may be too full. Default: nobody looks. */
  warn?: (message: string) => void;
}

export interface MirrorArguments extends BlockdevMirror {
  /** For `sync: incremental` and `bitmap`. */
  bitmap?: string;
  'bitmap-mode'?: BitmapSyncMode;
  /** Default: true. */
  unmap?: boolean;
  'target-is-zero'?: boolean;
}

export interface BackupArguments extends BlockdevBackup {
  'on-cbw-error'?: OnCbwError;
  'target-is-zero'?: boolean;
}

export interface CommitArguments extends BlockCommitArguments {
  /** `qemu-img commit` without `-d`: nobody uses the top, which is emptied at the end. */
  empty?: boolean;
}

/** A driver that takes its nodes before it runs. */
interface CopyDriver extends JobDriver {
  begin(user: Job): Promise<void>;
}

interface CommonArguments {
  'job-id'?: string;
  device: string;
  speed?: number;
  'filter-node-name'?: string;
  'auto-finalize'?: boolean;
  'auto-dismiss'?: boolean;
}

export async function startStream(env: JobEnvironment, args: BlockStreamArguments): Promise<Job> {
  const top = nodeOf(env, args.device);
  if (args.base !== undefined && args['base-node'] !== undefined) {
    throw new BlockError('invalid-argument', "'base' and 'base-node' cannot be specified at the same time");
  }
  const base = await pickBase(env, top, args);
  const driver = new StreamDriver({
    top,
    base,
    bottom: args.bottom === undefined ? undefined : env.graph.find(args.bottom),
    backingFile: args['backing-file'],
  });
  const last = driver.base;
  const scope = { from: nodesAbove(top, last).slice(1), target: top, fills: true };
  return start(env, driver, args, { onSourceError: args['on-error'], onTargetError: args['on-error'] }, scope);
}

/** What stays below a streamed `top`; null: nothing. */
async function pickBase(env: JobEnvironment, top: BlockNode, args: BlockStreamArguments): Promise<BlockNode | null> {
  const node = args['base-node'];
  const base =
    node !== undefined ? env.graph.find(node) : args.base === undefined ? null : await byFile(top, args.base);
  if (base !== top) return base;
  throw new BlockError('invalid-argument', `'${node ?? args.base}' is not below '${top.filename}'`, {
    path: top.filename,
  });
}

/** Of the active layer (it is `device` itself, or somebody writes to it): a job that becomes ready and waits for `complete`. */
export async function startCommit(env: JobEnvironment, args: CommitArguments): Promise<Job> {
  const root = nodeOf(env, args.device);
  for (const side of ['top', 'base'] as const) {
    if (args[side] !== undefined && args[`${side}-node`] !== undefined) {
      throw new BlockError('invalid-argument', `'${side}-node' and '${side}' are mutually exclusive`);
    }
  }
  const top = (await pick(env, root, args['top-node'], args.top)) ?? root;
  const base = await pick(env, root, args['base-node'], args.base);
  const backingFile = args['backing-file'];
  const active = !args.empty && (top === root || [...top.parents].some((child) => (child.perm & Perm.WRITE) !== 0));
  const driver = active
    ? new ActiveCommitDriver({ top, base, backingFile })
    : new CommitDriver({ top, base, backingFile, empty: args.empty });
  const target = commitBase(top, base);
  const scope = { from: nodesAbove(top, target), target };
  return start(env, driver, args, { onSourceError: args['on-error'], onTargetError: args['on-error'] }, scope);
}

/** What can be said of a mirror's arguments without its nodes: before a target is made. Throws `invalid-argument`, `unsupported`. */
export function checkMirrorArguments(args: Omit<MirrorArguments, 'device' | 'target'>): void {
  checkCommonArguments(args);
  checkMirrorOptions({ granularity: args.granularity || undefined, bufSize: args['buf-size'] });
  bitmapMode({ sync: args.sync, bitmap: args.bitmap, bitmapMode: args['bitmap-mode'] });
}

/** The same for a backup to a target with clusters of `clusterBytes`. */
export function checkBackupArguments(args: Omit<BackupArguments, 'device' | 'target'>, clusterBytes = 0): void {
  checkCommonArguments(args);
  const perf = args['x-perf'];
  if (perf?.['use-copy-range']) throw new BlockError('unsupported', "Parameter 'use-copy-range' is not supported");
  checkPerformance({ maxWorkers: perf?.['max-workers'], maxChunk: perf?.['max-chunk'] }, clusterBytes);
  bitmapMode({ sync: args.sync, bitmap: args.bitmap, bitmapMode: args['bitmap-mode'] });
}

function checkCommonArguments(args: Omit<CommonArguments, 'device'>): void {
  if (args['filter-node-name'] !== undefined) {
    throw new BlockError('unsupported', "Parameter 'filter-node-name' is not supported: jobs put no filter nodes in");
  }
  if (args['job-id'] !== undefined) checkJobId(args['job-id']);
  checkSpeed(args.speed ?? 0);
}

export async function startMirror(env: JobEnvironment, args: MirrorArguments): Promise<Job> {
  const source = nodeOf(env, args.device);
  const target = nodeOf(env, args.target);
  await refuseSameStorage(source, target);
  const driver = new MirrorDriver({
    source,
    target,
    sync: args.sync,
    bitmap: args.bitmap,
    bitmapMode: args['bitmap-mode'],
    granularity: args.granularity || undefined,
    bufSize: args['buf-size'],
    unmap: args.unmap,
    copyMode: args['copy-mode'],
    replaces: args.replaces === undefined ? undefined : env.graph.find(args.replaces),
    targetIsZero: args['target-is-zero'],
  });
  return start(env, driver, args, policies(args), copyScope(source, target, args.sync));
}

export async function startBackup(env: JobEnvironment, args: BackupArguments): Promise<Job> {
  const [job] = await startBackups(env, [args]);
  return job;
}

/** Several backups of one moment, which end together (`grouped`) or each on its own. All start, or none does. */
export async function startBackups(
  env: JobEnvironment,
  list: readonly BackupArguments[],
  mode: CompletionMode = 'grouped',
): Promise<Job[]> {
  const transaction = new JobTransaction(mode);
  const made: { driver: BackupDriver; job: Job; scope: CopyScope }[] = [];
  try {
    for (const args of list) {
      await refuseSameStorage(nodeOf(env, args.device), nodeOf(env, args.target));
      const driver = makeBackup(env, args);
      const job = env.manager.create(jobOptions(env, driver, args, { ...policies(args), transaction }));
      const scope = copyScope(driver.source, nodeOf(env, args.target), args.sync);
      made.push({ driver, job, scope });
      await driver.begin(job);
      if (env.warn !== undefined && !args.compress) await warnOfSpace(scope, env.warn);
    }
    await env.graph.drained(
      made.map(({ driver }) => driver.source),
      async () => {
        for (const { driver } of made) driver.takeMoment();
      },
    );
  } catch (error) {
    for (const { driver, job } of made.reverse()) await discard(driver, job, error);
    throw toBlockError(error);
  }
  const jobs = made.map(({ job }) => job);
  const scopes = made.map(({ scope }) => scope);
  // Jobs that end together must not wait for each other's turn.
  if (mode === 'grouped') launch(env, jobs, scopes);
  else for (const [i, job] of jobs.entries()) launch(env, [job], [scopes[i]]);
  return jobs;
}

function makeBackup(env: JobEnvironment, args: BackupArguments): BackupDriver {
  checkBackupArguments(args);
  const perf = args['x-perf'];
  return new BackupDriver({
    source: nodeOf(env, args.device),
    target: nodeOf(env, args.target),
    sync: args.sync,
    bitmap: args.bitmap,
    bitmapMode: args['bitmap-mode'],
    compress: args.compress,
    onCbwError: args['on-cbw-error'],
    targetIsZero: args['target-is-zero'],
    maxWorkers: perf?.['max-workers'],
    maxChunk: perf?.['max-chunk'],
  });
}

function policies(args: Pick<BackupArguments, 'on-source-error' | 'on-target-error'>): Partial<ManagedJobOptions> {
  return { onSourceError: args['on-source-error'], onTargetError: args['on-target-error'] };
}

function jobOptions(
  env: JobEnvironment,
  driver: JobDriver,
  args: CommonArguments,
  more: Partial<ManagedJobOptions>,
): ManagedJobOptions {
  checkCommonArguments(args);
  const named = env.device?.(args.device) !== undefined;
  return {
    ...more,
    driver,
    id: args['job-id'] ?? (named ? args.device : undefined),
    speed: args.speed,
    autoFinalize: args['auto-finalize'],
    autoDismiss: args['auto-dismiss'],
  };
}

async function start(
  env: JobEnvironment,
  driver: CopyDriver,
  args: CommonArguments,
  more: Partial<ManagedJobOptions>,
  scope: CopyScope,
): Promise<Job> {
  const job = env.manager.create(jobOptions(env, driver, args, more));
  try {
    await driver.begin(job);
    if (env.warn !== undefined) await warnOfSpace(scope, env.warn);
  } catch (error) {
    await discard(driver, job, error);
    throw toBlockError(error);
  }
  launch(env, [job], [scope]);
  return job;
}

function launch(env: JobEnvironment, jobs: readonly Job[], scopes: readonly CopyScope[]): void {
  if (env.launch === undefined) for (const job of jobs) job.start();
  else {
    env.launch(
      jobs,
      scopes.flatMap(({ from, target }) => [...from, target]),
    );
  }
}

/** What a job from one image to another copies. */
function copyScope(source: BlockNode, target: BlockNode, sync: MirrorSyncMode): CopyScope {
  return { from: sync === 'full' ? chainOf(source) : [source], target, partly: sync !== 'full' && sync !== 'top' };
}

/** The job never was. What fails here is less than what failed before. */
async function discard(driver: JobDriver, job: Job, error: unknown): Promise<void> {
  const failure = toBlockError(error);
  await driver.abort?.(failure).catch(bestEffort('job'));
  await driver.clean?.().catch(bestEffort('job'));
  job.abandon(failure);
}

function nodeOf(env: JobEnvironment, name: string): BlockNode {
  return env.device?.(name) ?? env.graph.find(name);
}

async function pick(
  env: JobEnvironment,
  root: BlockNode,
  node?: string,
  file?: string,
): Promise<BlockNode | undefined> {
  if (file !== undefined) return byFile(root, file);
  if (node === undefined) return undefined;
  const found = env.graph.find(node);
  if (inChain(root, found)) return found;
  throw new BlockError('invalid-argument', `'${node}' is not in this backing file chain`, { path: root.filename });
}

/** The layer by the name of its file; of the top, the name that it was opened by. */
async function byFile(top: BlockNode, file: string): Promise<BlockNode> {
  const found = top.filename === file ? top : await findLayer(top, file);
  if (found !== null) return found;
  throw new BlockError('not-found', `Can't find '${file}' in the backing chain`, { path: top.filename });
}
