// Full disks, beside the real tools: `npx tsx scripts/full-disk-soak.ts [--seeds N] [--first N] [--only guests|jobs] [-v]`. Each seed fills a
// small file system (ext4 or tmpfs) by the same requests, or the same job, with our program and with qemu-nbd or qemu-img, and compares what
// is kept with what was answered. Needs root. Exit code 1 where we lose what was answered, or do not tell what must be told.

import { parseArgs } from 'node:util';
import { runGuestSeed, type SeedOutcome } from '../test/full-disk/guest-seed.js';
import { runJobSeed } from '../test/full-disk/job-seed.js';

const { values } = parseArgs({
  options: {
    seeds: { type: 'string', default: '200' },
    first: { type: 'string', default: '1' },
    only: { type: 'string' },
    verbose: { type: 'boolean', short: 'v', default: false },
  },
});

const kinds: Record<'guests' | 'jobs', (seed: number) => Promise<SeedOutcome>> = {
  guests: runGuestSeed,
  jobs: runJobSeed,
};

async function main(): Promise<void> {
  const started = performance.now();
  const { only } = values;
  if (only !== undefined && only !== 'guests' && only !== 'jobs')
    throw new Error(`--only is guests or jobs, not '${only}'`);
  let failed = 0;
  for (const kind of only === undefined ? (['guests', 'jobs'] as const) : [only as 'guests' | 'jobs']) {
    const total: Record<string, number> = {};
    for (let seed = Number(values.first); seed < Number(values.first) + Number(values.seeds); seed++) {
      // A run that cannot be made at all says nothing of the others.
      const { about, faults, counts } = await kinds[kind](seed).catch((error: Error) => ({
        about: 'not run',
        faults: [error.message],
        counts: {},
      }));
      for (const [key, value] of Object.entries(counts)) total[key] = (total[key] ?? 0) + value;
      if (faults.length > 0) failed++;
      if (faults.length > 0 || values.verbose) {
        console.log(`${kind} ${seed} (${about}): ${faults.join('; ') || 'well'} ${JSON.stringify(counts)}`);
      }
    }
    console.log(`${kind}: ${values.seeds} seeds`, total);
  }
  console.log(`${((performance.now() - started) / 1000).toFixed(0)} s, ${failed} seeds with faults`);
  process.exitCode = failed > 0 ? 1 : 0;
}

await main();
