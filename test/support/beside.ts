// Many command lines to qemu-img and to us, some at a time, and how the two differ.

import { execFile } from 'node:child_process';
import { asOurs, type Outcome, type Workshop } from './cli.js';

/** Processes that run at once: each waits for the disk, or for its own start, for a part of the time. */
const AT_ONCE = 4;

/** One command line to both. `ours` and `theirs` are what it says there. */
export interface Beside {
  readonly ours: readonly string[];
  readonly theirs: readonly string[];
}

export interface Pair {
  readonly command: string;
  readonly ours: Outcome;
  readonly theirs: Outcome;
}

/** Runs `action` for each of `items`, `AT_ONCE` at a time; the results are in their order. */
export async function pooled<T, R>(items: readonly T[], action: (item: T, index: number) => Promise<R>): Promise<R[]> {
  const results: R[] = new Array(items.length);
  let next = 0;
  const work = async (): Promise<void> => {
    while (next < items.length) {
      const index = next++;
      results[index] = await action(items[index], index);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
  return results;
}

/** Runs a program in `folder`, with `env` beside the variables that there are; it must end within a minute. */
export function outcomeOf(
  program: string,
  args: readonly string[],
  folder: string,
  env: NodeJS.ProcessEnv = {},
): Promise<Outcome> {
  const options = { cwd: folder, encoding: 'utf8', timeout: 60_000, env: { ...process.env, ...env } } as const;
  return new Promise((resolve) => {
    execFile(program, [...args], options, (error, stdout, stderr) => {
      const code = error === null ? 0 : typeof error.code === 'number' ? error.code : null;
      resolve({ code, stdout, stderr });
    });
  });
}

/** Runs the command lines, with `env` beside the variables that there are; qemu-img's messages with our name. */
export function runBeside(shop: Workshop, commands: readonly Beside[], env: NodeJS.ProcessEnv = {}): Promise<Pair[]> {
  return pooled(commands, async ({ ours, theirs }) => {
    const [own, its] = await Promise.all([
      outcomeOf(process.execPath, [shop.bundle, ...ours], shop.folder, env),
      outcomeOf('qemu-img', theirs, shop.folder, env),
    ]);
    return { command: ours.join(' '), ours: own, theirs: asOurs(its, theirs[0]) };
  });
}

/** Those that do not say the same. */
export function different(pairs: readonly Pair[]): Pair[] {
  return pairs.filter(({ ours, theirs }) => JSON.stringify(ours) !== JSON.stringify(theirs));
}
