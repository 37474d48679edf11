// One job: its state, its verbs, its end.
//
//   start() -> driver.run(context) -> transaction: waiting, pending -> prepare -> commit | abort -> clean -> concluded -> null
//
//   verbs.ts         which state follows which, and which verb is taken where
//   gate.ts          when a pause has come into force
//   error-policy.ts  what a failed request leads to
//   transaction.ts   what happens to jobs that end together; job-end.ts: what their drivers do then
//   job-info.ts      what queries and events tell of a job

import type { DirtyBitmap } from '../block/bitmap.js';
import type { NodeUser } from '../block/child.js';
import type { BlockNode } from '../block/node/node.js';
import type { Clock } from '../host/host.js';
import { checkSpeed, RateLimit } from '../host/rate-limit.js';
import type { BlockErrorAction, BlockJobInfo, JobInfo, JobStatus } from '../schema/generated/types.js';
import { cancelledError } from '../util/abort.js';
import { detach, reportUnforeseen } from '../util/best-effort.js';
import { BlockError, toBlockError } from '../util/errors.js';
import { Context, type ContextOwner } from './context.js';
import type { JobDriver, JobType } from './driver.js';
import { type ErrorPolicies, ErrorPolicy, type JobFault } from './error-policy.js';
import { type JobEvent, type JobEventMap, type JobEventName, JobEvents } from './events.js';
import { Gate } from './gate.js';
import { endDriver } from './job-end.js';
import { blockJobEvent, blockJobInfo, errorMember, jobInfo } from './job-info.js';
import { Progress } from './progress.js';
import { JobTransaction, type TransactionMember } from './transaction.js';
import { checkTransition, checkVerb, nothingToChange } from './verbs.js';

export interface JobOptions extends ErrorPolicies {
  id: string;
  driver: JobDriver;
  clock: Clock;
  /** Bytes per second; 0 or absent = no limit. */
  speed?: number;
  /** Default: true. */
  autoFinalize?: boolean;
  autoDismiss?: boolean;
  /** Default: one of its own. */
  transaction?: JobTransaction;
  /** Called when the driver has released everything, before the job is concluded. A rejection is the job's error. */
  afterwards?: () => Promise<void>;
  /** What events and queries say of why it failed. Default: the error's message. */
  errorText?: (error: BlockError, isBlockJob: boolean) => string;
  /** Where its events go; default: an emitter of its own. */
  events?: JobEvents;
  /** Its driver comes into the graph only now: until `begun` is called, a cancel waits. Default: false. */
  begins?: boolean;
}

/** After a forced cancel, for so long requests under way may be answered. */
const CANCEL_PATIENCE_MS = 500;

/** Made by `JobManager.create`. As a `NodeUser` it can hold nodes itself, and is then paused while they drain. */
export class Job implements NodeUser {
  readonly id: string;
  readonly type: JobType;
  readonly autoFinalize: boolean;
  readonly autoDismiss: boolean;
  /** Resolves when the job is concluded and succeeded; rejects with its error (`cancelled` where it was cancelled). */
  readonly done: Promise<void>;
  readonly progress: Progress;
  readonly #driver: JobDriver;
  readonly #afterwards: (() => Promise<void>) | undefined;
  readonly #events: JobEvents;
  readonly #clock: Clock;
  readonly #errorText: NonNullable<JobOptions['errorText']>;
  readonly #limit: RateLimit;
  readonly #gate: Gate;
  readonly #context: Context;
  readonly #policy: ErrorPolicy;
  readonly #transaction: JobTransaction;
  readonly #member: TransactionMember;
  #status: JobStatus = 'undefined';
  #error: BlockError | undefined;
  #begins: boolean;
  #started = false;
  #ended = false;
  #stopPatience = (): void => undefined;
  #cancelled = false;
  /** Why it was cancelled, as the caller of `cancel` said: the cause of its error. */
  #cancelReason: unknown;
  #softCancelled = false;
  #shouldComplete = false;
  /** A `complete` that the driver has not answered yet; a second one waits for the same answer. */
  #completing: Promise<void> | undefined;
  #userPaused = false;
  #settle: { resolve: () => void; reject: (error: BlockError) => void } = {
    resolve: () => undefined,
    reject: () => undefined,
  };

  /** Throws `invalid-argument` for a bad speed. */
  constructor(options: JobOptions) {
    this.id = options.id;
    this.type = options.driver.type;
    this.autoFinalize = options.autoFinalize ?? true;
    this.autoDismiss = options.autoDismiss ?? true;
    this.#begins = options.begins ?? false;
    this.#driver = options.driver;
    this.#afterwards = options.afterwards;
    this.#events = options.events ?? new JobEvents();
    this.#clock = options.clock;
    this.#errorText = options.errorText ?? (({ message }) => message);
    this.#limit = new RateLimit(options.clock, options.speed ?? 0);
    this.progress = new Progress(options.clock);
    this.#policy = new ErrorPolicy(options);
    this.#gate = new Gate(options.clock, {
      paused: () => {
        this.progress.pause();
        this.#go(this.#status === 'ready' ? 'standby' : 'paused');
      },
      resumed: () => {
        this.progress.resume();
        this.#go(this.#status === 'standby' ? 'ready' : 'running');
      },
    });
    this.#context = new Context(this.#contextOwner(), this.#gate, this.#limit, this.progress, options.clock);
    this.done = new Promise((resolve, reject) => {
      this.#settle = { resolve, reject };
    });
    // A rejection may stay unhandled: the error is in the events and in `error` too.
    this.done.catch(() => undefined);
    this.#member = this.#transactionMember();
    this.#transaction = (options.transaction ?? new JobTransaction()).group();
    this.#transaction.add(this.#member);
    this.#go('created');
  }

  get status(): JobStatus {
    return this.#status;
  }
  /** Why it failed. */
  get error(): BlockError | undefined {
    return this.#error;
  }
  /** The same in the words of events and queries. */
  get errorText(): string | undefined {
    return this.#error === undefined ? undefined : this.#errorText(this.#error, this.isBlockJob);
  }
  get speed(): number {
    return this.#limit.speed;
  }
  /** A user (or the error policy) paused it, not a drain alone. */
  get userPaused(): boolean {
    return this.#userPaused;
  }

  /** Whether it was cancelled, and has not ended yet or will end so. */
  get isCancelled(): boolean {
    return this.#cancelled || this.#softCancelled;
  }

  /** What it has still to copy, where it goes by a bitmap of its own; null where it does not. */
  get dirtyBitmap(): DirtyBitmap | null {
    return this.#driver.dirtyBitmap ?? null;
  }

  /** Whether it has BLOCK_JOB_* events, and is one of those that `query-block-jobs` lists. */
  get isBlockJob(): boolean {
    return this.#driver.isBlockJob ?? true;
  }

  info(): JobInfo {
    return jobInfo(this);
  }

  blockInfo(): BlockJobInfo {
    const ioStatus = this.#policy.ioStatus;
    return blockJobInfo(this, { busy: !this.#gate.quiet, paused: this.#gate.pauseRequested, ioStatus });
  }

  /** Listens to an event of this job; the result ends that. */
  on<K extends JobEventName>(name: K, listener: (data: JobEventMap[K]) => unknown): () => void {
    return this.#events.on(name, listener);
  }

  /** What has happened to this job, in order: all of it, or the last thousand events. */
  get log(): readonly JobEvent[] {
    return this.#events.log;
  }

  /** Listens to all events of this job; the result ends that. */
  onAny(listener: (event: JobEvent) => unknown): () => void {
    return this.#events.onAny(listener);
  }

  /** Listens to failed requests, with more details than BLOCK_JOB_ERROR has. The listener must not throw. The result ends that. */
  onFault(listener: (fault: JobFault) => void): () => void {
    return this.#policy.onFault(listener);
  }

  /** Its driver is in the graph. Where it was cancelled meanwhile, it ends. */
  begun(): void {
    this.#begins = false;
    if (!this.#cancelled) return;
    this.#cancelNow();
    this.#transaction.abort(this.#member);
  }

  /** created -> running. Throws `bad-state` in any other state. */
  start(): void {
    if (this.#status !== 'created') {
      throw new BlockError('bad-state', `Job '${this.id}' in state '${this.#status}' cannot be started`);
    }
    this.#started = true;
    this.#gate.begin();
    this.progress.resume();
    this.#go('running');
    detach(`${this.type} job`, this.#main());
  }

  /** created -> null: what was to follow the job's creation failed. Throws `bad-state` in any other state. */
  abandon(error: BlockError): void {
    if (this.#status !== 'created') {
      throw new BlockError('bad-state', `Job '${this.id}' in state '${this.#status}' cannot be abandoned`);
    }
    this.#error = error;
    this.#ended = true;
    this.#transaction.remove(this.#member);
    this.#go('null');
    this.#settle.reject(error);
  }

  // Verbs. Each throws `bad-state` in a state that does not take it.

  /** Marks the job for pausing; it is `paused` (`standby`) when nothing of it is under way any more. */
  pause(): void {
    checkVerb(this.id, this.#status, 'pause');
    if (this.#userPaused) throw new BlockError('bad-state', 'Job is already paused');
    this.#userPaused = true;
    this.#gate.pause();
  }

  resume(): void {
    if (!this.#userPaused) throw new BlockError('bad-state', "Can't resume a job that was not paused");
    checkVerb(this.id, this.#status, 'resume');
    this.#userResume();
  }

  /** Bytes per second, 0 = no limit. Takes effect at once. Throws `invalid-argument`. */
  setSpeed(speed: number): void {
    checkVerb(this.id, this.#status, 'set-speed');
    checkSpeed(speed);
    this.#limit.setSpeed(speed);
    this.#gate.notify();
  }

  /**
   * Without `force` a job that is ready may end well, but without its last step (a mirror does not pivot): one that has ended already, and waits to
   * be finalized, is undone. Resumes a paused job. It may come too late: then the job succeeds.
   */
  cancel(force = false, reason?: unknown): void {
    checkVerb(this.id, this.#status, 'cancel');
    if (this.#cancelled || !this.#transaction.canAbort) return;
    this.#cancelReason = reason;
    if (this.#askDriverToCancel(force) && !force && !this.#ended) {
      this.#softCancelled = true;
      this.#shouldComplete = true;
      if (this.#userPaused) this.#userResume();
      this.#gate.notify();
      return;
    }
    this.#cancelNow();
    if (this.#ended) this.#transaction.abort(this.#member);
  }

  /** Asks a ready job to end. Resolves when the driver agreed; `done` tells when it has. Rejects with what the driver refused. */
  async complete(): Promise<void> {
    checkVerb(this.id, this.#status, 'complete');
    if (this.#cancelled || this.#softCancelled || this.#driver.complete === undefined) {
      throw new BlockError('bad-state', `The active block job '${this.id}' cannot be completed`);
    }
    if (this.#shouldComplete) return;
    this.#completing ??= (async () => this.#driver.complete?.())();
    try {
      await this.#completing;
    } finally {
      this.#completing = undefined;
    }
    this.#shouldComplete = true;
    this.#gate.notify();
  }

  /** Makes the outcome of the whole transaction final; resolves when all its jobs are concluded, whatever came of them. */
  async finalize(): Promise<void> {
    checkVerb(this.id, this.#status, 'finalize');
    await this.#transaction.finalize();
  }

  /** Forgets a concluded job. */
  dismiss(): void {
    checkVerb(this.id, this.#status, 'dismiss');
    this.#go('null');
  }

  /** Changes what the job type can change while it runs. Throws `unsupported` where that is nothing. */
  change(options: unknown): void {
    checkVerb(this.id, this.#status, 'change');
    if (this.#driver.change === undefined) throw nothingToChange();
    this.#driver.change(options);
    this.#gate.notify();
  }

  // Drain, as the block layer's NodeUser.

  get userName(): string {
    return `${this.type} job '${this.id}'`;
  }
  /** Asks the job to be quiet, apart from what a user asks. */
  drainBegin(): void {
    this.#gate.pause();
  }
  drained(): Promise<void> {
    return this.#gate.whenQuiet();
  }
  drainEnd(): void {
    this.#gate.resume();
  }
  origins(): readonly BlockNode[] {
    return this.#driver.origins?.() ?? [];
  }

  #go(status: JobStatus): void {
    checkTransition(this.id, this.#status, status);
    this.#status = status;
    this.#events.emit('JOB_STATUS_CHANGE', { id: this.id, status });
  }

  async #main(): Promise<void> {
    let error: BlockError | undefined;
    try {
      await this.#gate.pausePoint();
      await this.#driver.run(this.#context);
    } catch (thrown) {
      error = toBlockError(thrown, { operation: this.type });
    }
    // What works on no node holds up nobody at its end.
    await this.#gate.end(this.#driver.isBlockJob === false);
    this.progress.pause();
    this.#ended = true;
    this.#stopPatience();
    if (this.#cancelled) this.#error = cancelledError(this.#cancelReason ?? error);
    else if (error !== undefined) this.#error = error;
    this.#enterAborting();
    this.#transaction.memberEnded(this.#member);
  }

  #enterAborting(): void {
    if (this.#error !== undefined && this.#status !== 'aborting') this.#go('aborting');
  }

  #userResume(): void {
    this.#userPaused = false;
    this.#policy.forget();
    this.#driver.userResume?.();
    this.#gate.resume();
  }

  /** A driver that fails to cancel softly is cancelled by force. */
  #askDriverToCancel(force: boolean): boolean {
    if (!this.#started) return false;
    try {
      return this.#driver.cancel?.(force) === true;
    } catch (error) {
      reportUnforeseen(`${this.type} job`, error);
      return false;
    }
  }

  #cancelNow(): void {
    this.#cancelled = true;
    this.#gate.cancel();
    // What is about to come into the graph is taken out of it when all of it is there.
    if (this.#begins) return;
    // A server that says nothing must not keep the job, and with `copy-mode` write-blocking its guests. One that answers is soon done.
    if (this.#started && !this.#ended) {
      this.#stopPatience = this.#clock.timer(CANCEL_PATIENCE_MS, () => this.#driver.cancelRequests?.());
    }
    if (this.#userPaused) this.#userResume();
    if (!this.#started) this.#ended = true;
    if (!this.#ended) return;
    this.#error ??= cancelledError(this.#cancelReason);
    this.#enterAborting();
  }

  /** One of the events that block jobs alone have. */
  #emitBlock<K extends JobEventName & `BLOCK_JOB_${string}`>(name: K, data: JobEventMap[K]): void {
    if (this.isBlockJob) this.#events.emit(name, data);
  }

  #contextOwner(): ContextOwner {
    const job = this;
    return {
      get shouldComplete() {
        return job.#shouldComplete;
      },
      becomeReady() {
        if (job.#status !== 'running' || job.#cancelled) return;
        job.#go('ready');
        job.#emitBlock('BLOCK_JOB_READY', blockJobEvent(job));
      },
      actionOnError(error, isRead, guestOffset) {
        return job.#actionOnError(error, isRead, guestOffset);
      },
    };
  }

  #actionOnError(error: BlockError, isRead: boolean, guestOffset?: number): BlockErrorAction {
    const action = this.#policy.actionOf(error, isRead);
    const operation = isRead || this.#driver.isAllReading === true ? 'read' : 'write';
    this.#emitBlock('BLOCK_JOB_ERROR', { device: this.id, operation, action });
    this.#policy.happened({ error, isRead, guestOffset, action });
    if (action === 'stop' && !this.#userPaused && !this.#cancelled) {
      this.#userPaused = true;
      this.#gate.pause();
    }
    return action;
  }

  #transactionMember(): TransactionMember {
    const job = this;
    return {
      autoFinalize: this.autoFinalize,
      get failure() {
        return job.#error;
      },
      get ended() {
        return job.#ended;
      },
      toWaiting: () => this.#go('waiting'),
      toPending: () => {
        if (this.#status !== 'waiting') return;
        this.#go('pending');
        if (!this.autoFinalize) this.#emitBlock('BLOCK_JOB_PENDING', { type: this.type, id: this.id });
      },
      prepare: async () => this.#driver.prepare?.(),
      fail: (error) => {
        if (error !== undefined) {
          this.#error ??= error;
          this.#enterAborting();
        } else if (!this.#cancelled && this.#error === undefined) {
          this.#askDriverToCancel(true);
          this.#cancelNow();
        }
      },
      finish: () => this.#finish(),
    };
  }

  async #finish(): Promise<void> {
    // The first error is the job's; one that comes while it is undone adds nothing that a user could act upon.
    await endDriver(this.#driver, this.#error, this.#afterwards, (error) => {
      this.#error ??= error;
      this.#enterAborting();
    });
    const error = this.#error;
    if (this.#started) {
      if (this.#cancelled) this.#emitBlock('BLOCK_JOB_CANCELLED', blockJobEvent(this));
      else this.#emitBlock('BLOCK_JOB_COMPLETED', { ...blockJobEvent(this), ...errorMember(this) });
    }
    this.#go('concluded');
    if (error === undefined) this.#settle.resolve();
    else this.#settle.reject(error);
    if ((this.autoDismiss || !this.#started) && this.status === 'concluded') this.#go('null');
  }
}
