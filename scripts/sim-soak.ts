// Runs many seeds of the simulation: `npx tsx scripts/sim-soak.ts [count] [first seed] [raw|qcow2]`. Prints each seed that breaks a
// promise, and a summary. Exit code 1 where one did.

import { runScenario, type ScenarioOptions } from '../test/sim/scenario.js';

const [count = '1000', first = '1', format] = process.argv.slice(2);

async function main(): Promise<void> {
  const options: ScenarioOptions = format === 'raw' || format === 'qcow2' ? { format } : {};
  const started = performance.now();
  const total = { requests: 0, powerLosses: 0, cleanEnds: 0, failedRounds: 0 };
  let violations = 0;
  for (let seed = Number(first); seed < Number(first) + Number(count); seed++) {
    try {
      const stats = await runScenario(seed, options);
      for (const key of Object.keys(total) as (keyof typeof total)[]) total[key] += stats[key];
    } catch (error) {
      violations++;
      console.log((error as Error).message);
    }
  }
  const seconds = (performance.now() - started) / 1000;
  console.log(`${count} seeds in ${seconds.toFixed(1)} s, ${violations} violations, ${JSON.stringify(total)}`);
  process.exitCode = violations > 0 ? 1 : 0;
}

await main();
