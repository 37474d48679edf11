// `npm run test:nodes`: the demo, the installed package, and the quick part of the tests under each version of node that we promise. One build,
// one addon and one package serve all of them. Words are versions: `npm run test:nodes -- 24`.
import { mkdtempSync, rmSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { nodePrograms } from './nodes.mjs';
import { runsAlone, testFiles } from './test-plan.mjs';
import { mocha, ROOT, run } from './test-run.mjs';

/**
 * What another version of node may change: how programs begin and end, the addon, node's own calls; and one look at everything that rests on it.
 * The block layer calls nothing of node's: the tests of jobs and of the library go through it.
 */
const QUICK = [
  /^test\/host\/(?!throttle|fairness|net\.|direct)/,
  /^test\/cli\/(getopt|help|jobs|launcher|no-addon|output|pid-file|signals)/,
  /^test\/(library|jobs|util|schema)\//,
  /^test\/sim\/(host|docs)\.test/,
  /^test\/drivers\/(file|raw|nbd|locks)\.test/,
  /^test\/drivers\/nbd-(names|reconnect|tls)\.test/,
  /^test\/exports\/v86\/(?!guest)/,
  /^test\/(readme|workspace)\.test/,
];

/** The test files that run under every version of node. */
export function quickFiles(root = ROOT) {
  return testFiles(root).filter((file) => QUICK.some((pattern) => pattern.test(file)));
}

/**
 * Runs the demo and the installed package under each version, and the `quick` test files under those that are not the one which runs this (its
 * whole suite runs elsewhere). `build` must have run. `versions` chooses by their first figures. Gives counts, {passed, failed, skipped}.
 */
export function testNodes({ quick = quickFiles(), versions = [], others = true } = {}) {
  const sum = { passed: 0, failed: 0, skipped: 0 };
  const add = (counts) => {
    for (const key of Object.keys(sum)) sum[key] += counts[key] ?? 0;
  };
  const scratch = mkdtempSync(join(tmpdir(), 'diskwright-nodes-'));
  const env = { DISKWRIGHT_BUNDLED: '1', DISKWRIGHT_TARBALL: join(scratch, 'diskwright.tgz') };
  try {
    if (run(process.execPath, ['scripts/pack.mjs', env.DISKWRIGHT_TARBALL]) !== 0) return { ...sum, failed: 1 };
    for (const { version, program } of nodePrograms()) {
      if (versions.length > 0 && !versions.includes(version.split('.')[0])) continue;
      console.log(`\n=== node ${version}: demo`);
      add(run(program, ['scripts/demo.mjs']) === 0 ? { passed: 1 } : { failed: 1 });
      const own = version === process.versions.node;
      console.log(`\n=== node ${version}: the package${own && others ? '' : ' and the quick part of the tests'}`);
      const files = own && others ? [] : quick;
      const alone = files.filter(runsAlone);
      const together = ['test/package/package.test.ts', ...files.filter((file) => !alone.includes(file))];
      add(mocha(['--parallel', '--jobs', String(availableParallelism()), ...together], { node: program, env }));
      if (alone.length > 0) add(mocha(alone, { node: program, env }));
    }
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
  return sum;
}

if (process.argv[1] === import.meta.filename) {
  const sum = testNodes({ versions: process.argv.slice(2), others: false });
  console.log(`\n${sum.passed} passed, ${sum.failed} failed${sum.skipped > 0 ? `, ${sum.skipped} skipped` : ''}`);
  process.exitCode = sum.failed === 0 ? 0 : 1;
}
