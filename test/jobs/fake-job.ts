// Jobs without disks: a driver whose work a test writes down, on a clock that the test moves.
import type { JobContext, JobDriver, JobType } from '../../src/jobs/driver.js';
import type { JobEvent } from '../../src/jobs/events.js';
import type { Job } from '../../src/jobs/job.js';
import { JobManager, type ManagedJobOptions } from '../../src/jobs/manager.js';
import { BlockError } from '../../src/util/errors.js';
import { FakeClock } from '../support/fake-clock.js';

export class FakeDriver implements JobDriver {
  readonly type: JobType = 'mirror';
  /** What was called, in order. */
  readonly calls: string[] = [];
  readonly #work: (ctx: JobContext) => Promise<void>;
  prepareError: Error | undefined;
  commitError: Error | undefined;
  /** `abort` waits for it. */
  abortGate: Promise<void> = Promise.resolve();
  softCancel = false;

  constructor(work: (ctx: JobContext) => Promise<void> = async () => undefined) {
    this.#work = work;
  }

  async run(ctx: JobContext): Promise<void> {
    this.calls.push('run');
    await this.#work(ctx);
  }
  async prepare(): Promise<void> {
    this.calls.push('prepare');
    if (this.prepareError) throw this.prepareError;
  }
  async commit(): Promise<void> {
    this.calls.push('commit');
    if (this.commitError) throw this.commitError;
  }
  async abort(): Promise<void> {
    this.calls.push('abort');
    await this.abortGate;
  }
  async clean(): Promise<void> {
    this.calls.push('clean');
  }
  complete(): void {
    this.calls.push('complete');
  }
  cancel(force: boolean): boolean {
    this.calls.push(`cancel ${force}`);
    return this.softCancel && !force;
  }
  change(options: unknown): void {
    this.calls.push(`change ${JSON.stringify(options)}`);
  }
}

/** Works until somebody asks it to end. */
export const idle = async (ctx: JobContext): Promise<void> => {
  while (!ctx.shouldComplete) await ctx.sleep(Number.POSITIVE_INFINITY);
};
export const idleWhenReady = async (ctx: JobContext): Promise<void> => {
  ctx.ready();
  await idle(ctx);
};
export const fail =
  (code: 'io' | 'no-space' = 'io') =>
  async (): Promise<void> => {
    throw new BlockError(code, 'the disk is gone');
  };

export interface World {
  clock: FakeClock;
  manager: JobManager;
  /** Every event as `NAME id detail`. */
  log: string[];
  events: JobEvent[];
  add(driver: JobDriver, options?: Omit<ManagedJobOptions, 'driver'>): Job;
}

export function makeWorld(): World {
  const clock = new FakeClock();
  const manager = new JobManager(clock);
  const log: string[] = [];
  const events: JobEvent[] = [];
  manager.events.onAny((event) => {
    events.push(event);
    const id = 'id' in event.data ? event.data.id : event.data.device;
    log.push(event.event === 'JOB_STATUS_CHANGE' ? `${id} ${event.data.status}` : `${id} ${event.event}`);
  });
  return { clock, manager, log, events, add: (driver, options = {}) => manager.create({ ...options, driver }) };
}

/** The code of what `action` throws or rejects with, `none` where it does not. */
export async function codeOf(action: () => unknown): Promise<string> {
  return (await errorOf(action))?.code ?? 'none';
}
export async function errorOf(action: () => unknown): Promise<BlockError | undefined> {
  try {
    await action();
  } catch (error) {
    if (error instanceof BlockError) return error;
    throw error;
  }
  return undefined;
}
