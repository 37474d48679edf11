// What a job type implements, and what a running job offers it. The copy jobs (and whatever else takes long) implement
// `JobDriver`; `job.ts` owns states, verbs and events and hands `run` a `JobContext`.
//
//   Job ----> driver.run(ctx)                 created -> running ... (paused, ready, standby)
//             | pausePoint, throttle, enterIo/leaveIo, handleError, ready, progress
//             v resolves: all is copied
//   transaction: all jobs waiting -> pending -> (finalize)
//             driver.prepare()   all jobs; one rejection aborts them all
//             driver.commit()    or driver.abort()
//             driver.clean()     always, last
//             -> concluded
//
// A typical chunk of work, which any number of workers of one job may do side by side:
//
//   await ctx.throttle(length);            // rate limit, pause point, cancellation
//   await ctx.enterIo();                   // from here the job is not quiet
//   try { ...read, write... } catch (e) { failure = toBlockError(e) } finally { ctx.leaveIo(); }
//   if (failure && (await ctx.handleError(failure, isRead)) === 'report') throw failure;
//   ctx.progress.advance(length);

import type { DirtyBitmap } from '../block/bitmap.js';
import type { BlockNode } from '../block/node/node.js';
import type { Clock } from '../host/host.js';
import type { JobType } from '../schema/generated/types.js';
import type { BlockError } from '../util/errors.js';

export type { JobType };

/** What a job's driver reports; bytes for the copy jobs. Totals may change in both directions, `current` only grows. */
export interface ProgressSink {
  readonly current: number;
  readonly total: number;
  setTotal(total: number): void;
  addTotal(delta: number): void;
  /** Sets the total to what is done plus `remaining` (mirror, whose work grows with the guest's writes). */
  setRemaining(remaining: number): void;
  /**
   * `amount` more is done. `moved`: how much of it was copied, which is what a speed limit counts; the rest was passed over (holes, zeroes). Default: all
   * of it.
   */
  advance(amount: number, moved?: number): void;
}

/** `report`: the caller throws the error. `ignore`: go on as if it had not been. `retry`: the job stopped, and a user resumed it. */
export type ErrorDecision = 'report' | 'ignore' | 'retry';

export interface JobContext {
  readonly clock: Clock;
  readonly progress: ProgressSink;

  /** Somebody (user, drain, error policy) wants the job quiet: issue nothing new, let what is in flight end, call `pausePoint`. */
  readonly pauseRequested: boolean;
  /** The job was cancelled by force: `run` should end soon. Every waiting method below throws `cancelled` then. */
  readonly cancelled: boolean;
  /** The verb `complete` was taken, or a soft cancel that the driver handled: end `run` when both sides agree. */
  readonly shouldComplete: boolean;
  /** Speed limit in bytes per second, 0 = none. */
  readonly speed: number;

  /**
   * Between chunks: returns at once while nobody wants a pause; otherwise waits until the job is resumed. The status is
   * `paused` (or `standby`) from the moment that somebody waits here and nothing is between `enterIo` and `leaveIo`.
   * Throws `cancelled`.
   */
  pausePoint(): Promise<void>;

  /**
   * Marks the begin of I/O; one `leaveIo` must follow it (not when it throws). It is a pause point too: while a pause is wanted it
   * waits, and begins only once resumed. `undefined` means "begun at once". Throws `cancelled` (at once, or by its promise).
   */
  enterIo(): Promise<void> | undefined;
  leaveIo(): void;

  /**
   * Charges `bytes` to the speed limit and resolves when this chunk may start. Is a pause point; reacts to pause, cancel and
   * set-speed at once. Throws `cancelled`. Not between `enterIo` and `leaveIo`.
   */
  throttle(bytes: number): Promise<void>;

  /**
   * Sleeps, and ends early at every verb that is taken and at `wake()` (look at the state after it). Is a pause point. Throws
   * `cancelled`. Not between `enterIo` and `leaveIo`. `Infinity`: until something happens. Nothing is missed between a test of some
   * state and a call of `sleep` in the same turn, and nothing piles up as it would with `Promise.race`.
   */
  sleep(delayMs: number): Promise<void>;
  /** Ends the sleeps under way, e.g. from a hook that saw a guest's write. */
  wake(): void;

  /**
   * Resolves at the next verb, pause request, cancellation or `wake()`; never rejects. Is no pause point itself: to be raced against
   * something else, with `pausePoint` called after it. In a loop that may turn often before a verb comes, use `sleep` and `wake`.
   */
  changed(): Promise<void>;

  /** Source and target agree for the first time: status `ready`, event BLOCK_JOB_READY. More calls do nothing. */
  ready(): void;

  /**
   * Asks the job's error policy (`on-source-error` for reads, `on-target-error` for writes), emits BLOCK_JOB_ERROR, and with
   * `stop` pauses the job until a user resumes it. Throws `cancelled`. Not between `enterIo` and `leaveIo`. A `cancelled` error is
   * always `report`, without an event. `guestOffset`: where in the image the request failed, bytes, for who listens to `Job.onFault`.
   */
  handleError(error: BlockError, isRead: boolean, guestOffset?: number): Promise<ErrorDecision>;

  /**
   * Runs a section in which the job drains nodes that it is itself attached to: the job counts as quiet meanwhile, so that the
   * drain does not wait for the job that asked for it. No I/O of the job may be in flight when it is called.
   */
  drainedSection<T>(section: () => Promise<T>): Promise<T>;
}

export interface JobDriver {
  readonly type: JobType;
  /** What it has still to copy, where it goes by a bitmap of its own. */
  readonly dirtyBitmap?: DirtyBitmap;
  /** False where it works on no device: then it has no BLOCK_JOB_* events, and `query-jobs` alone lists it. Default: true. */
  readonly isBlockJob?: boolean;
  /** It writes by reading: events call whatever failed a read. Default: false. */
  readonly isAllReading?: boolean;

  /**
   * Does the work. Resolves when everything is copied (for a job with a ready state: after `shouldComplete`). A rejection fails
   * the job and with it a grouped transaction. What is still between `enterIo` and `leaveIo` when it settles is waited for, and workers
   * that still wait in the context are rejected with `cancelled`. While a pause is wanted, finalization waits for its end.
   */
  run(ctx: JobContext): Promise<void>;

  /** In finalization, before anything is committed; a rejection aborts all jobs of the transaction. */
  prepare?(): Promise<void>;
  /** The job succeeded: graph changes, headers. A rejection is the job's error; other jobs of the transaction commit all the same. */
  commit?(): Promise<void>;
  /** The job, or another one of its transaction, failed or was cancelled. Also called when `run` never was. */
  abort?(error: BlockError): Promise<void>;
  /** Last of all, after `commit` or `abort`: releases everything. */
  clean?(): Promise<void>;

  /**
   * Verb `complete`; without this method the verb is refused. A rejection refuses the verb and the job stays ready. After it
   * `ctx.shouldComplete` is true.
   */
  complete?(): void | Promise<void>;

  /**
   * Verb `cancel`. `true` = this is a soft cancel and the driver handles it: `ctx.shouldComplete` becomes true, `run` ends
   * normally and the job counts as completed (a ready mirror that does not pivot). Anything else: the job is cancelled, which `force`
   * always is; the driver may stop what it has in flight.
   */
  cancel?(force: boolean): boolean;

  /**
   * The job was cancelled by force and has still not ended: fails those of its requests that may never be answered. For jobs that write to a target
   * of their own.
   */
  cancelRequests?(): void;

  /** Verb `change`; without it the verb is refused. Throws `invalid-argument` for what cannot be changed. */
  change?(options: unknown): void;

  /** A user resumed the job after a pause (error states may be forgotten). */
  userResume?(): void;
  /** Nodes whose guests' requests the job takes part in before they are answered: see `NodeUser.origins`. */
  origins?(): readonly BlockNode[];
}
