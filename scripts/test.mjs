// `npm test`: builds, then runs all tests and prints one closing line over all runs. Words go to mocha, and then only what they choose runs,
// under each engine: `npm test -- -g locks`. DISKWRIGHT_ENGINE chooses one engine.
import { readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { ensurePeers, PEERS, packagesOf } from './peers.mjs';
import { testNodes } from './test-nodes.mjs';
import { plan, testFiles } from './test-plan.mjs';
import { failures, mocha, ROOT, run } from './test-run.mjs';

const sum = { passed: 0, failed: 0, skipped: 0 };
const add = (counts) => {
  for (const key of Object.keys(sum)) sum[key] += counts[key] ?? 0;
};
const fail = (message) => {
  console.error(message);
  failures.push(message);
  sum.failed++;
};

/** How many tests each run has at least: one that has fewer fails, for its tests were lost on the way. */
const FLOORS = JSON.parse(readFileSync(new URL('test-floors.json', import.meta.url), 'utf8'));

function step(title, words) {
  console.log(`=== ${title}`);
  if (run('npm', words) === 0) add({ passed: 1 });
  else fail(`${title} failed`);
}

/** What `npm test` runs without further words. */
function everything() {
  for (const { title, engine, files, parallel } of plan(ROOT)) {
    if ((process.env.DISKWRIGHT_ENGINE ?? engine) !== engine) continue;
    console.log(`\n=== ${title}`);
    const words = parallel ? ['--parallel', '--jobs', String(availableParallelism())] : [];
    const counts = mocha([...words, ...files], { env: { DISKWRIGHT_ENGINE: engine, DISKWRIGHT_BUNDLED: '1' } });
    addRun(title, counts);
  }
  addRun('versions of node', testNodes());
}

function addRun(title, counts) {
  add(counts);
  const total = counts.passed + counts.failed + counts.skipped;
  const floor = FLOORS[title] ?? Number.POSITIVE_INFINITY;
  if (total < floor) fail(`${title}: ${total} tests ran, and there are at least ${floor} (scripts/test-floors.json)`);
}

function chosen(words) {
  let total = 0;
  for (const engine of process.env.DISKWRIGHT_ENGINE ? [process.env.DISKWRIGHT_ENGINE] : ['io_uring', 'threads']) {
    console.log(`\n=== engine ${engine}`);
    const files = words.some((word) => word.endsWith('.test.ts')) ? [] : testFiles(ROOT);
    const counts = mocha([...files, ...words], { env: { DISKWRIGHT_ENGINE: engine, DISKWRIGHT_BUNDLED: '1' } });
    add(counts);
    total += counts.passed + counts.failed + counts.skipped;
  }
  if (total === 0) fail(`no test is chosen by: ${words.join(' ')}`);
}

const missing = ensurePeers(PEERS);
if (missing.length > 0) {
  const message = `missing: ${missing.join(', ')}. Install them with: apt-get install ${packagesOf(missing).join(' ')}`;
  if (process.env.CI === 'true') fail(message);
  else console.error(message);
}
step('build', ['run', '--silent', 'build']);
step('lint', ['run', '--silent', 'lint']);
const words = process.argv.slice(2);
if (words.length === 0) everything();
else chosen(words);

if (failures.length > 0) console.log(`\n=== what failed\n${failures.join('\n\n')}`);
console.log(`\n${sum.passed} passed, ${sum.failed} failed${sum.skipped > 0 ? `, ${sum.skipped} skipped` : ''}`);
process.exitCode = sum.failed === 0 ? 0 : 1;
