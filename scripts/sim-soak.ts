// Runs many seeds of the simulation: `npx tsx scripts/sim-soak.ts [count] [first seed] [what]`, where `what` is `io` (raw and qcow2),
// `raw`, `qcow2`, `full-disk`, `jobs` or the name of a job. Prints each seed that breaks a promise, and a summary. Exit code 1 where one did.

import { runFullDisk } from '../test/sim/full-disk.js';
import { JOB_KINDS, runJobScenario } from '../test/sim/job-scenario.js';
import { runScenario } from '../test/sim/scenario.js';

const [count = '1000', first = '1', what = 'io'] = process.argv.slice(2);

/** Runs one seed and says what became of it. */
function runnerOf(name: string): (seed: number) => Promise<Record<string, number>> {
  if (name === 'raw' || name === 'qcow2') return async (seed) => ({ ...(await runScenario(seed, { format: name })) });
  if (name === 'full-disk') return async (seed) => ({ ...(await runFullDisk(seed)) });
  if (name === 'io') return async (seed) => ({ ...(await runScenario(seed)) });
  const kind = JOB_KINDS.find((job) => job === name);
  if (kind === undefined && name !== 'jobs') throw new Error(`what is '${name}'?`);
  return async (seed) => {
    const { kind: job, requests, end } = await runJobScenario(seed, { kind });
    return { requests, [`${job} ${end}`]: 1 };
  };
}

async function main(): Promise<void> {
  const run = runnerOf(what);
  const started = performance.now();
  const total: Record<string, number> = {};
  let violations = 0;
  for (let seed = Number(first); seed < Number(first) + Number(count); seed++) {
    try {
      for (const [key, value] of Object.entries(await run(seed))) total[key] = (total[key] ?? 0) + value;
    } catch (error) {
      violations++;
      console.log((error as Error).message);
    }
  }
  const seconds = (performance.now() - started) / 1000;
  console.log(`${count} seeds in ${seconds.toFixed(1)} s, ${violations} violations`, total);
  process.exitCode = violations > 0 ? 1 : 0;
}

await main();
