// Runs one job to its end: progress, Ctrl-C, exit code.

import type { JobFault } from '../jobs/error-policy.js';
import type { Job } from '../jobs/job.js';
import type { JobEnvironment } from '../jobs/job-type.js';
import { JobManager } from '../jobs/manager.js';
import { refuseAborted } from '../util/abort.js';
import { detach } from '../util/best-effort.js';
import { type BlockError, toBlockError } from '../util/errors.js';
import { printable } from '../util/foreign-text.js';
import { reportError, reportWarning, write } from './output.js';
import { openProgress, type ProgressKind, tellsTime } from './progress.js';
import { stateOf } from './rate.js';
import { Interrupt, reasonOf, type Session } from './session.js';

const UPDATE_MS = 200;

export interface JobRun {
  /** A signal ends the process at once while `interrupt.atOnce` is set. */
  start(env: JobEnvironment, interrupt: Interrupt): Promise<Job>;
  progress: ProgressKind;
  /** Bytes that the job will copy, counted before it starts (see `dataAhead`). Is called where the remaining time is told. */
  count?(signal: AbortSignal): Promise<number | undefined>;
  /** Printed on standard output after success, unless progress is JSON. */
  done?: string | (() => string);
  /** The state of the files after Ctrl-C, or after a failure, in whole sentences. */
  stateWhenCancelled: string;
  stateWhenFailed: string;
  /** The state after Ctrl-C before the job had begun. Default: what is said of a job that was cancelled is true of one that had not begun. */
  stateBefore?(): string;
}

/** Runs a job. Resolves with the exit code, after a failure has been reported. Rejects only where the job could not start. */
export async function runJob(session: Session, run: JobRun): Promise<number> {
  const manager = new JobManager(session.host.clock);
  // Before there is a target: from then on the state of the files has to be said.
  const interrupt = new Interrupt(session);
  let data: number | undefined;
  let job: Job;
  try {
    if (tellsTime(run.progress)) data = await run.count?.(interrupt.signal);
    refuseAborted(interrupt.signal);
    job = await run.start({ graph: session.graph, manager, warn: session.graph.warn }, interrupt);
  } catch (error) {
    if (!interrupt.signal.aborted || toBlockError(error).code !== 'cancelled') throw error;
    reportError(`Cancelled. ${run.stateBefore?.() ?? run.stateWhenCancelled}`);
    return interrupt.cancelledCode;
  }
  const view = openProgress(run.progress);
  // A job that is over is dismissed at once, and has the status null then: what counts is that it has concluded.
  const status = (): string => (job.status === 'null' ? 'concluded' : job.status);
  const show = (): void => {
    const { current, total, moved, bytesPerSecond } = job.progress.snapshot();
    const state = stateOf({ current, total, moved }, bytesPerSecond, { limit: job.speed, data });
    view.update({ ...state, status: status() });
  };
  const onSignal = (): void => cancel(job);
  const stops = [job.on('BLOCK_JOB_READY', () => detach('job', complete(job))), job.onFault(faultReporter())];
  interrupt.signal.addEventListener('abort', onSignal);
  if (interrupt.signal.aborted) cancel(job);
  show();
  const timer = setInterval(show, UPDATE_MS);
  let failure: BlockError | null = null;
  try {
    await job.done;
  } catch (error) {
    failure = toBlockError(error);
  } finally {
    clearInterval(timer);
    interrupt.signal.removeEventListener('abort', onSignal);
    for (const stop of stops) stop();
  }
  if (failure === null) {
    show();
    session.afterClose.push(() => {
      view.end({ event: 'completed', job: job.type });
      const { done } = run;
      if (done !== undefined && !view.json) write(`${typeof done === 'string' ? done : done()}\n`);
    });
    return 0;
  }
  const cancelled = failure.code === 'cancelled';
  view.end({ event: cancelled ? 'cancelled' : 'failed', job: job.type, error: failure.message });
  if (cancelled) {
    reportError(`Cancelled. ${run.stateWhenCancelled}`);
    return interrupt.cancelledCode;
  }
  const place = failure.path === undefined ? '' : `'${printable(failure.path)}': `;
  const where = failure.guestOffset === undefined ? '' : `at byte ${failure.guestOffset}: `;
  reportError(`${job.type} failed: ${place}${where}${reasonOf(failure)}`);
  reportError(run.stateWhenFailed);
  return 1;
}

/** Returns a function that reports each failure once, however often the range is tried again. */
function faultReporter(): (fault: JobFault) => void {
  const reported = new Set<string>();
  return (fault) => {
    // A failure that ends the job is reported with its end, by file and place.
    if (fault.action === 'report') return;
    const text = faultText(fault);
    if (reported.has(text)) return;
    reported.add(text);
    reportWarning(text);
  };
}

/** One line: the file, the guest offset, the reason, and the action that was taken. */
function faultText({ error, isRead, guestOffset, action }: JobFault): string {
  const file = error.path === undefined ? '' : ` '${printable(error.path)}'`;
  const place = guestOffset === undefined ? '' : ` at guest offset ${guestOffset}`;
  return `warning: ${isRead ? 'reading from' : 'writing to'}${file}${place} failed: ${reasonOf(error)} (${action})`;
}

/** Completes a job that is ready: it has copied everything, and nobody writes meanwhile. */
async function complete(job: Job): Promise<void> {
  try {
    await job.complete();
  } catch (error) {
    reportError(reasonOf(toBlockError(error)));
    cancel(job);
  }
}

/** Cancels the job. One that is about to conclude cannot be cancelled any more: then it succeeds. */
function cancel(job: Job): void {
  try {
    job.cancel(true);
  } catch (error) {
    if (toBlockError(error).code !== 'bad-state') throw error;
  }
}
