// The daemon under random commands: `npx tsx scripts/daemon-soak.ts [--seeds N] [--first N] [--commands N] [--kill]`. Each seed runs a daemon with
// four disks that guests write to over NBD, and sends it so many commands; with `--kill` the daemon is killed at a random moment. Prints a line a
// seed, with what the daemon held at rest: at the start, after 500 commands, at the end. Exit code 1 where an image is not consistent, a guest does
// not find what it wrote, or descriptors, nodes or memory have grown.

import { parseArgs } from 'node:util';
import { runSoak } from '../test/daemon-soak/run.js';

const { values } = parseArgs({
  options: {
    seeds: { type: 'string', default: '10' },
    first: { type: 'string', default: '1' },
    commands: { type: 'string', default: '400' },
    kill: { type: 'boolean', default: false },
  },
});

let failed = 0;
let commands = 0;
for (let seed = Number(values.first); seed < Number(values.first) + Number(values.seeds); seed++) {
  const outcome = await runSoak({ seed, commands: Number(values.commands), kill: values.kill });
  commands += outcome.commands;
  if (outcome.faults.length > 0) failed++;
  const { faults, rests, ...counts } = outcome;
  const figures = { ...counts, rests: [...rests.slice(0, 2), ...rests.slice(2).slice(-1)] };
  console.log(`seed ${seed}: ${faults.length === 0 ? 'well' : faults.join('; ')} ${JSON.stringify(figures)}`);
}
console.log(`${values.seeds} seeds, ${commands} commands, ${failed} seeds with faults`);
process.exitCode = failed > 0 ? 1 : 0;
