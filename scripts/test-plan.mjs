// Which test files run where. What is not named here runs under the first engine, in parallel with others.
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { DAY } from './day.mjs';

/** These measure time or memory, or need the whole machine: one after the other, when nothing else runs. */
const ALONE = [
  'test/exports/nbd/limits.test.ts',
  'test/exports/nbd/outbox.test.ts',
  'test/exports/v86/guest.test.ts',
  'test/fuzz/**',
  'test/host/background.test.ts',
  'test/host/environment-end.test.ts',
  'test/host/fairness.test.ts',
  'test/host/lifetime.test.ts',
  'test/host/memory.test.ts',
  'test/host/net.test.ts',
  'test/host/throttle.test.ts',
  'test/hypervisor/**',
  'test/interop/huge.test.ts',
];

/** What an engine decides: how files and sockets are read and written, and what rests directly on that. */
const ENGINE_MATTERS = [
  'test/conformance/real.test.ts',
  'test/drivers/file*.test.ts',
  'test/drivers/nbd*.test.ts',
  'test/exports/nbd/**',
  'test/fuzz/**',
  'test/host/**',
  'test/interop/chains.test.ts',
  'test/interop/nbd-*.test.ts',
];

/** Those among them that rest on no engine: they run on the simulated host or on none, or choose the engine themselves. */
const NO_ENGINE = [
  'test/drivers/file.test.ts',
  'test/drivers/file-flush.test.ts',
  'test/drivers/file-growth-beside.test.ts',
  'test/drivers/file-resize-fails.test.ts',
  'test/exports/nbd/budget-fairness.test.ts',
  'test/exports/nbd/outbox.test.ts',
  'test/host/binding.test.ts',
  'test/host/engine-choice.test.ts',
  'test/host/sim-net.test.ts',
  'test/host/throttle.test.ts',
];

/** The longest ones come first, so that no core is left with one of them at the end. */
const LONGEST = [
  'test/conformance/simulated.test.ts',
  'test/crash/kill.test.ts',
  'test/conformance/real.test.ts',
  'test/interop/info-map-check.test.ts',
  'test/sim/scenario.test.ts',
  'test/sim/job-scenario.test.ts',
  'test/oracle/qmp/jobs.test.ts',
  'test/oracle/qmp/states.test.ts',
  'test/drivers/qcow2/interop.test.ts',
  'test/interop/chain-jobs.test.ts',
];

/**
 * Comparisons with other programs, two processes for each answer, and whole guests: more than half of the time. A run takes one of `TURNS` parts of these files, another
 * one each day, and each engine another one. `npm run test:whole` takes all.
 */
const BY_TURNS = [
  'test/exports/v86/guest.test.ts',
  'test/hypervisor/**',
  'test/interop/**',
  'test/oracle/locks/**',
  'test/oracle/qmp/**',
];
const TURNS = 4;
const WHOLE = process.env.DISKWRIGHT_WHOLE === '1';

const any = (patterns) => (file) => patterns.some((pattern) => matches(file, pattern));

/** `*` stands for anything within a folder, `**` for everything below. */
function matches(file, pattern) {
  const source = pattern
    .replace(/[.+?^${}()|[\]\\]/g, '\\$&')
    .replaceAll('**', '\u0000')
    .replaceAll('*', '[^/]*');
  return new RegExp(`^${source.replaceAll('\u0000', '.*')}$`).test(file);
}

const restsOnEngine = (file) => any(ENGINE_MATTERS)(file) && !any(NO_ENGINE)(file);

/** May this file run only when nothing else does? */
export const runsAlone = any(ALONE);

/** Every test file of the project, in order of its path. */
export function testFiles(root) {
  return readdirSync(join(root, 'test'), { recursive: true })
    .filter((name) => name.endsWith('.test.ts'))
    .map((name) => `test/${name}`)
    .sort();
}

/** What is left of `files`, in their order, without those by turns that are not today's. `shift` days on, others are. */
function inTurn(files, shift) {
  if (WHOLE) return files;
  const byTurns = files.filter(any(BY_TURNS));
  return files.filter((file) => {
    const place = byTurns.indexOf(file);
    return place < 0 || (place + DAY + shift) % TURNS === 0;
  });
}

/** The runs of a test, in order: title, engine, files, and whether several files run at once. The package has runs of its own (test-nodes.mjs). */
export function plan(root) {
  const files = testFiles(root).filter((file) => !file.startsWith('test/package/'));
  for (const pattern of [...ALONE, ...ENGINE_MATTERS, ...NO_ENGINE, ...LONGEST, ...BY_TURNS]) {
    if (!files.some(any([pattern])))
      throw new Error(`scripts/test-plan.mjs names ${pattern}, and no test file is so called`);
  }
  const rank = (file) => (LONGEST.indexOf(file) + LONGEST.length + 1) % (LONGEST.length + 1);
  const runs = [];
  for (const [shift, engine] of ['io_uring', 'threads'].entries()) {
    const today = inTurn(files, shift);
    const ours = engine === 'io_uring' ? today : today.filter(restsOnEngine);
    const alone = ours.filter(any(ALONE));
    const together = ours.filter((file) => !alone.includes(file)).sort((a, b) => rank(a) - rank(b));
    runs.push({ title: `engine ${engine}`, engine, files: together, parallel: true });
    runs.push({ title: `engine ${engine}, one file at a time`, engine, files: alone, parallel: false });
  }
  return runs;
}
