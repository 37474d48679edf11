// Starts jobs of any type: arguments are checked, names become nodes, drivers are made, each job links itself to its nodes, and all
// run. Where anything fails, everything is released and no job is left.
//
//   check -> make -> create the job -> driver.begin -> [all have begun: one moment] -> launch

import { checkSpeed } from '../host/rate-limit.js';
import { cancelledError } from '../util/abort.js';
import { bestEffort } from '../util/best-effort.js';
import { toBlockError } from '../util/errors.js';
import { StartClaims } from './claims.js';
import type { JobDriver } from './driver.js';
import type { Job } from './job.js';
import {
  type CommonArguments,
  checkOwnArguments,
  filterOf,
  type JobEnvironment,
  type JobTypeDefinition,
  type MadeJob,
  nodeOf,
} from './job-type.js';
import { warnOfSpace } from './space.js';
import { type CompletionMode, JobTransaction } from './transaction.js';

/** Starts one job. Rejects with what is wrong with its arguments, or of its nodes: `busy`, `permission`, ... */
export async function startJob<A extends CommonArguments>(
  env: JobEnvironment,
  type: JobTypeDefinition<A>,
  args: A,
): Promise<Job> {
  const [job] = await startJobs(env, type, [args]);
  return job;
}

/**
 * Refuses what `startJobs` would refuse whatever the targets are, before one of them is made: arguments, job ids that are taken or given twice,
 * sources that another job works on. Then runs `action`, which makes the targets and starts the jobs in the environment that it is called
 * with; until then nobody else gets the ids and the sources. Rejects with `invalid-argument`, `exists`, `busy`, `not-found`, ...
 */
export async function withClaims<A extends CommonArguments, T>(
  env: JobEnvironment,
  type: JobTypeDefinition<A>,
  list: readonly (Omit<A, 'device' | 'target'> & CommonArguments)[],
  action: (env: JobEnvironment) => Promise<T>,
): Promise<T> {
  const claims = new StartClaims(env.manager);
  try {
    for (const args of list) {
      const source = nodeOf(env, args.device);
      claims.takeSource(source, type.name);
      type.checkSource?.(env, source, args);
      checkOwnArguments(type, args);
      filterOf(env, type, args);
      const id = jobIdOf(env, args);
      if (id !== undefined) claims.takeId(id);
      checkSpeed(args.speed ?? 0);
    }
    return await action({ ...env, claims });
  } finally {
    claims.release();
  }
}

function checkSource<A extends CommonArguments>(env: JobEnvironment, type: JobTypeDefinition<A>, args: A): void {
  const source = nodeOf(env, args.device);
  if (!type.checksBusy) source.checkBlockers();
  type.checkSource?.(env, source, args);
  checkOwnArguments(type, args);
}

/** After everything else, as the reference does. */
function checkId(env: JobEnvironment, args: CommonArguments): void {
  const id = jobIdOf(env, args);
  if (id !== undefined) env.manager.checkFree(id);
  checkSpeed(args.speed ?? 0);
}

/** A job of a device has the device's name, unless it is given one. */
function jobIdOf(env: JobEnvironment, args: CommonArguments): string | undefined {
  return args['job-id'] ?? (env.device?.(args.device) === undefined ? undefined : args.device);
}

interface BegunJob extends MadeJob {
  job: Job;
}

/** Jobs that have begun, of one moment, and are about to run. */
export interface BegunJobs {
  readonly jobs: readonly Job[];
  /** They run: at once, or as the environment says. */
  launch(): void;
  /** They are cancelled instead, each as a job that a user cancels; resolves when all are gone. */
  abandon(): Promise<void>;
}

/** Several jobs of one moment, which end together (`grouped`) or each on its own. All start, or none does. */
export async function startJobs<A extends CommonArguments>(
  env: JobEnvironment,
  type: JobTypeDefinition<A>,
  list: readonly A[],
  mode: CompletionMode = 'grouped',
): Promise<readonly Job[]> {
  const begun = await beginJobs(env, type, list, new JobTransaction(mode));
  begun.launch();
  return begun.jobs;
}

/** As `startJobs`, but for the last step. The jobs belong to `transaction`. */
export async function beginJobs<A extends CommonArguments>(
  env: JobEnvironment,
  type: JobTypeDefinition<A>,
  list: readonly A[],
  transaction: JobTransaction,
): Promise<BegunJobs> {
  const begun: BegunJob[] = [];
  try {
    // One of those that end together was cancelled before this one began.
    if (transaction.isAborting) throw cancelledError();
    for (const args of list) {
      // Refused before there is a job: nobody learns of one that never began. What is claimed was checked when it was.
      if (env.claims === undefined) checkSource(env, type, args);
      const made = await type.make(env, args);
      if (env.claims === undefined) checkId(env, args);
      const job = createJob(env, made, args, transaction);
      begun.push({ ...made, job });
      env.claims?.handOver(nodeOf(env, args.device));
      await made.driver.begin(job);
      if (env.warn !== undefined && !made.sizeUnknown) await warnOfSpace(made.scope, env.warn);
    }
    await takeMoment(env, begun);
  } catch (error) {
    for (const { driver, job } of begun.reverse()) await discard(driver, job, error);
    throw toBlockError(error);
  }
  const jobs = begun.map(({ job }) => job);
  for (const job of jobs) job.begun();
  return {
    jobs,
    launch: () => {
      // One that was cancelled meanwhile has ended.
      const waiting = begun.filter(({ job }) => job.status === 'created');
      // Jobs that end together must not wait for each other's turn.
      if (transaction.mode === 'individual') for (const one of waiting) launch(env, [one]);
      else if (waiting.length > 0) launch(env, waiting);
    },
    abandon: async () => {
      // Others of their transaction may have taken them along.
      for (const job of jobs) if (job.status === 'created') job.cancel(true);
      await Promise.allSettled(jobs.map((job) => job.done));
    },
  };
}

function createJob(env: JobEnvironment, made: MadeJob, args: CommonArguments, transaction: JobTransaction): Job {
  const id = jobIdOf(env, args);
  return env.manager.create({
    driver: made.driver,
    id,
    claimed: id !== undefined && env.claims?.hasId(id),
    speed: args.speed,
    onSourceError: made.onSourceError,
    onTargetError: made.onTargetError,
    autoFinalize: args['auto-finalize'],
    autoDismiss: args['auto-dismiss'],
    afterwards: env.closesTargets ? () => env.graph.release(made.scope.target) : undefined,
    transaction,
    begins: true,
  });
}

async function takeMoment(env: JobEnvironment, begun: readonly BegunJob[]): Promise<void> {
  const sources = begun.flatMap(({ source, driver }) =>
    source === undefined || driver.takeMoment === undefined ? [] : [source],
  );
  if (sources.length === 0) return;
  await env.graph.drained(sources, async () => {
    for (const { driver } of begun) driver.takeMoment?.();
  });
}

function launch(env: JobEnvironment, begun: readonly BegunJob[]): void {
  const jobs = begun.map(({ job }) => job);
  if (env.launch === undefined) for (const job of jobs) job.start();
  else {
    env.launch(
      jobs,
      begun.flatMap(({ scope: { from, target } }) => [...from, target]),
    );
  }
}

/** Undoes the creation of a job. A failure here does not hide the one that came before it, `error`. */
async function discard(driver: JobDriver, job: Job, error: unknown): Promise<void> {
  const failure = toBlockError(error);
  await driver.abort?.(failure).catch(bestEffort('job'));
  await driver.clean?.().catch(bestEffort('job'));
  job.abandon(failure);
}
