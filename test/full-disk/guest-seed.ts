// One seed of guests on a full disk: the same case on our server and on qemu-nbd.

import { guestCase } from './guest-case.js';
import { faultsOf, runGuest } from './guest-run.js';

export interface SeedOutcome {
  about: string;
  /** What breaks a promise; none where all is well. */
  faults: string[];
  counts: Record<string, number>;
}

export async function runGuestSeed(seed: number): Promise<SeedOutcome> {
  const test = guestCase(seed);
  const ours = await runGuest(test, 'diskwright');
  const theirs = await runGuest(test, 'qemu-nbd');
  const { place, placeBytes, blockSize, format, clusterSize, image, depth, ending } = test;
  return {
    about: `${place} ${placeBytes >> 20} MiB/${blockSize}, ${format} ${clusterSize} ${image}, depth ${depth}, ${ending}`,
    faults: faultsOf(ours, theirs),
    counts: {
      'our answers': ours.answered,
      'our refusals': ours.refused,
      'our lost sectors': ours.lost.size,
      'our failed flushes': ours.flushesFailed,
      'our leaks': ours.leaks,
      'their answers': theirs.answered,
      'their refusals': theirs.refused,
      'their lost sectors': theirs.lost.size,
      'their failed flushes': theirs.flushesFailed,
      'their leaks': theirs.leaks,
    },
  };
}
