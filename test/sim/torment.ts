// Torments a job until it ends: pauses, speeds, cancels at random moments; then lets it be, so that it must end.

import type { Random, SimHost } from '../../src/host/sim/index.js';
import type { Job } from '../../src/jobs/job.js';
import { BlockError } from '../../src/util/errors.js';
import { Violation } from './guest.js';

export interface TormentOptions {
  host: SimHost;
  random: Random;
  job: Job;
  /** It may be cancelled on the way. */
  mayCancel: boolean;
  /** What to do with a job that is ready, e.g. `complete`. */
  atReady: () => Promise<void>;
}

/** Patience with a job that nobody torments any more, in steps of `CALM_MS`. */
const CALM_STEPS = 400;
const CALM_MS = 100;

export function sleep(host: SimHost, ms: number): Promise<void> {
  return new Promise((resolve) => host.clock.timer(ms, resolve));
}

/** Resolves with what came of the job; rejects with what it failed with. */
export async function torment(options: TormentOptions): Promise<'completed' | 'cancelled'> {
  const { host, random, job } = options;
  let ended = false;
  const end = job.done.then(
    () => 'completed' as const,
    (error: BlockError) => {
      if (error.code !== 'cancelled') throw error;
      return 'cancelled' as const;
    },
  );
  const note = () => {
    ended = true;
  };
  end.then(note, note);
  for (let steps = random.below(30); steps > 0 && !ended; steps--) {
    await sleep(host, random.fraction() * random.pick([1, 10, 40]));
    if (!ended) await verb(() => disturb(options));
  }
  for (let steps = 0; !ended; steps++) {
    await verb(() => calm(options, steps > CALM_STEPS));
    if (steps > 2 * CALM_STEPS) throw new Violation('stuck', `job '${job.id}' stays '${job.status}' and does not end`);
    await sleep(host, CALM_MS);
  }
  return end;
}

async function disturb({ random, job, mayCancel, atReady }: TormentOptions): Promise<void> {
  switch (random.below(7)) {
    case 0:
    case 1:
      if (job.userPaused) job.resume();
      else job.pause();
      break;
    case 2:
    case 3:
      job.setSpeed(random.pick([0, 20_000, 200_000, 2_000_000]));
      break;
    case 4:
      if (mayCancel && random.chance(0.2)) job.cancel(true);
      break;
    default:
      if (job.status === 'ready') await atReady();
  }
}

async function calm({ job, atReady }: TormentOptions, impatient: boolean): Promise<void> {
  if (job.userPaused) job.resume();
  if (job.speed > 0) job.setSpeed(0);
  if (impatient) job.cancel(true);
  else if (job.status === 'ready') await atReady();
}

/** A verb that comes at the wrong moment is refused, and that is all. */
async function verb(action: () => Promise<void>): Promise<void> {
  try {
    await action();
  } catch (error) {
    if (!(error instanceof BlockError) || error.code !== 'bad-state') throw error;
  }
}
