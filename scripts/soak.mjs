// `npm run soak`: the long runs of what `npm test` only samples. `npm run soak -- PART ...` runs some of them, without words all.
// DISKWRIGHT_SEED=N starts at another seed than the day's first, DISKWRIGHT_SEEDS=N has so many of them; a failure prints the seed that repeats it.
import { mocha, run } from './test-run.mjs';

/** Name -> test files that run with DISKWRIGHT_SOAK=1 (see test/support/sample.ts). */
const SAMPLED = {
  sim: [
    ...['scenario', 'job-scenario', 'bitmap-scenario', 'snapshots', 'resize', 'compact', 'rebase'].map(
      (name) => `test/sim/${name}.test.ts`,
    ),
    'test/drivers/qcow2/repair.test.ts',
  ],
  salvage: ['test/drivers/qcow2/salvage-random.test.ts'],
  models: ['test/drivers/qcow2/model.test.ts', 'test/drivers/qcow2/structure-crash.test.ts', 'test/jobs/model.test.ts'],
  conformance: ['test/conformance/simulated.test.ts', 'test/conformance/real.test.ts'],
  chains: ['test/interop/chains.test.ts', 'test/interop/chain-jobs.test.ts'],
  mutation: ['test/mutation/mutation.test.ts'],
  matrix: ['test/interop/matrix.test.ts'],
  'break-off': ['test/break-off/break-off.test.ts'],
  beside: [
    ...['bitmap-verb', 'dd', 'encryption-random', 'measure', 'rebase'].map((name) => `test/interop/${name}.test.ts`),
    ...['lost-streams', 'resize-amend'].map((name) => `test/cli/${name}.test.ts`),
    'test/oracle/io/generated.test.ts',
    'test/oracle/img/*.test.ts',
    'test/oracle/locks/locks.test.ts',
    'test/oracle/scripts/scripts.test.ts',
    'test/oracle/turns/turns.test.ts',
  ],
  'full-disk': ['test/full-disk/full-disk.test.ts', 'test/sim/full-disk.test.ts'],
  kills: ['test/crash/kill.test.ts'],
  guests: ['test/hypervisor/power-loss.test.ts'],
  fuzz: ['test/fuzz/nbd.test.ts'],
};

/** Name -> runs of what `npm test` does not do at all, each with what chooses it. They have no more seeds than `npm test`. */
const EXTRA = {
  devices: ['512', '4096'].map((sector) => ({
    files: ['test/conformance/real.test.ts'],
    env: { DISKWRIGHT_LOOP_SECTOR: sector },
  })),
};

const PARTS = [...Object.keys(SAMPLED), ...Object.keys(EXTRA)];

const chosen = process.argv.slice(2);
for (const part of chosen) {
  if (PARTS.includes(part)) continue;
  console.error(`soak: there is no part '${part}', only: ${PARTS.join(', ')}`);
  process.exit(2);
}
if (run('npm', ['run', '--silent', 'build']) !== 0) process.exit(1);
const failed = [];
for (const part of chosen.length > 0 ? chosen : PARTS) {
  console.log(`\n=== ${part}`);
  const runs = EXTRA[part] ?? [{ files: SAMPLED[part], env: { DISKWRIGHT_SOAK: '1' } }];
  const outcomes = runs.map(({ files, env }) =>
    mocha(['--timeout', '0', ...files], { env: { ...env, DISKWRIGHT_BUNDLED: '1' } }),
  );
  if (outcomes.some((counts) => counts.failed > 0)) failed.push(part);
}
console.log(failed.length === 0 ? '\nnothing was found' : `\nfailed: ${failed.join(', ')}`);
process.exitCode = failed.length === 0 ? 0 : 1;
