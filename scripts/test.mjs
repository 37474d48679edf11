// `npm test`: builds what is not built, then runs the tests under each I/O engine and prints one closing line
// over all runs. Arguments go to mocha: `npm test -- -g locks`.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ensurePeers, PEERS, packagesOf } from './peers.mjs';

const root = new URL('..', import.meta.url).pathname;
const scratch = mkdtempSync(join(tmpdir(), 'diskwright-test-'));
const sum = { passed: 0, failed: 0, skipped: 0 };

function run(command, words, env = {}) {
  const { status } = spawnSync(command, words, { cwd: root, stdio: 'inherit', env: { ...process.env, ...env } });
  return status ?? 1;
}

/** One mocha run; a run that dies before it can count is a failure. */
function mocha(title, words, env) {
  console.log(`\n=== ${title}`);
  const counts = join(scratch, 'counts.json');
  rmSync(counts, { force: true });
  const status = run('npx', ['mocha', 'test/**/*.test.ts', ...words, ...process.argv.slice(2)], {
    ...env,
    DISKWRIGHT_COUNTS: counts,
  });
  try {
    const one = JSON.parse(readFileSync(counts, 'utf8'));
    for (const key of Object.keys(sum)) sum[key] += one[key];
    if (status !== 0 && one.failed === 0) sum.failed++;
  } catch {
    console.error(`${title}: ended with status ${status} before it counted`);
    sum.failed++;
  }
}

const missing = ensurePeers(PEERS);
if (missing.length > 0) {
  console.error(`missing: ${missing.join(', ')}. Install them with: apt-get install ${packagesOf(missing).join(' ')}`);
  if (process.env.CI === 'true') sum.failed++;
}
for (const [title, words] of [
  ['build', ['run', '--silent', 'build']],
  ['lint', ['run', '--silent', 'lint']],
]) {
  console.log(`=== ${title}`);
  if (run('npm', words) !== 0) sum.failed++;
  else sum.passed++;
}
const engines = process.env.DISKWRIGHT_ENGINE ? [process.env.DISKWRIGHT_ENGINE] : ['io_uring', 'threads'];
engines.forEach((engine, index) => {
  // The simulated host has no engine, and a guest's jobs and its power loss show what the other engine does: once is enough.
  const words =
    index === 0
      ? []
      : [
          '--ignore',
          'test/sim/**',
          '--ignore',
          'test/crash/**',
          '--ignore',
          'test/schema/**',
          '--ignore',
          'test/util/**',
          '--ignore',
          'test/hypervisor/{backup,no-space,records,restart,throttle}.test.ts',
          '--ignore',
          'test/exports/v86/guest.test.ts',
        ];
  const chains = index === 0 ? {} : { DISKWRIGHT_CHAINS: process.env.DISKWRIGHT_CHAINS ?? '60' };
  mocha(`tests, engine ${engine}`, words, { DISKWRIGHT_ENGINE: engine, ...chains });
});

rmSync(scratch, { recursive: true, force: true });
console.log(`\n${sum.passed} passed, ${sum.failed} failed${sum.skipped > 0 ? `, ${sum.skipped} skipped` : ''}`);
process.exitCode = sum.failed === 0 ? 0 : 1;
