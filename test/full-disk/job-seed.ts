// One seed of jobs on a full disk: the same case with our program and with qemu-img (for stream: rebase; for mirror and backup: convert).

import type { SeedOutcome } from './guest-seed.js';
import { jobCase } from './job-case.js';
import { faultsOf, runJob } from './job-run.js';

export async function runJobSeed(seed: number): Promise<SeedOutcome> {
  const test = jobCase(seed);
  const ours = await runJob(test, 'diskwright');
  const theirs = await runJob(test, 'qemu-img');
  const { kind, place, placeBytes, blockSize, base, top, target, room } = test;
  const sooner = ours.exitCode !== 0 && theirs.exitCode === 0;
  return {
    about: `${kind}, ${place} ${placeBytes >> 20} MiB/${blockSize}, ${room} free, clusters ${test.rawBase ? 'raw' : base} ${top} ${test.targetFormat === 'raw' ? 'raw' : target}${test.compress ? ' -c' : ''}`,
    faults: faultsOf(test, ours, theirs),
    counts: {
      [`our ${kind} done`]: ours.exitCode === 0 ? 1 : 0,
      [`their ${kind} done`]: theirs.exitCode === 0 ? 1 : 0,
      'ours failed where theirs did not': sooner ? 1 : 0,
      'our kept KiB': ours.keptBytes >> 10,
      'their kept KiB': theirs.keptBytes >> 10,
      'our leaked KiB': ours.leakedBytes >> 10,
      'their leaked KiB': theirs.leakedBytes >> 10,
    },
  };
}
