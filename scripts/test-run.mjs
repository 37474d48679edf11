// One run of mocha, counted.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** The package's folder. */
export const ROOT = new URL('..', import.meta.url).pathname;

/** Runs a command in the package's folder; gives its exit code. */
export function run(command, words, env = {}) {
  const { status } = spawnSync(command, words, { cwd: ROOT, stdio: 'inherit', env: { ...process.env, ...env } });
  return status ?? 1;
}

/** What failed in the runs of this process: titles and errors, to be said again at the end, where a log that is cut still has them. */
export const failures = [];

/**
 * Runs mocha with `words` by the node program `node`. Gives how many tests passed, failed, and were left out with a reason from the list in
 * test/support/needs.ts. A run that ends before it counts, or fails without a failed test, is a failed test.
 */
export function mocha(words, { env = {}, node = process.execPath } = {}) {
  const scratch = mkdtempSync(join(tmpdir(), 'diskwright-counts-'));
  const counts = join(scratch, 'counts.json');
  const leftOut = join(scratch, 'left-out');
  try {
    const program = join(ROOT, 'node_modules', 'mocha', 'bin', 'mocha.js');
    const status = run(node, [program, ...words], { ...env, DISKWRIGHT_COUNTS: counts, DISKWRIGHT_LEFT_OUT: leftOut });
    const { passed, failed, details } = counted(counts, status);
    failures.push(...details);
    const silent = status !== 0 && failed === 0;
    if (silent) failures.push(`mocha ended with status ${status} without a failed test: ${words.join(' ')}`);
    return { passed, failed: silent ? 1 : failed, skipped: sumOf(leftOut) };
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

function counted(file, status) {
  try {
    return JSON.parse(readFileSync(file, 'utf8'));
  } catch {
    const message = `mocha ended with status ${status} before it counted`;
    console.error(message);
    return { passed: 0, failed: 1, details: [message] };
  }
}

/** Each line of `file` begins with a number of tests. */
function sumOf(file) {
  let text = '';
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    if (error.code !== 'ENOENT') throw error;
  }
  return text.split('\n').reduce((sum, line) => sum + (Number.parseInt(line, 10) || 0), 0);
}
