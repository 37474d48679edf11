// Images with bitmaps for tests that run qemu-img and us side by side, and what is compared of them.

import { execFile, execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { Workspace } from '../../src/index.js';
import type { Outcome } from '../support/cli.js';
import { withoutOwnWords } from '../support/own-words.js';
import { StorageDaemon } from '../support/qmp.js';
import { qemuImg } from './support.js';

const AT_ONCE = 3;

/**
 * Makes images in a new folder. `disk`: bitmaps on (recording), off, old (inconsistent). `other`: from, on, old. `large`: from. `two`: version 2. `small`: on, old; the
 * smallest clusters. `overlay`: on; its backing file is not there. `raw`.
 */
export async function makeBitmapImages(folder: string): Promise<void> {
  mkdirSync(folder);
  const path = (name: string) => join(folder, name);
  const create = (name: string, options: string, size: string, ...more: string[]) =>
    qemuImg('create', '-q', '-f', 'qcow2', '-o', options, ...more, path(name), size);
  create('disk', 'cluster_size=64k', '3M');
  create('other', 'cluster_size=4k', '3M');
  create('large', 'cluster_size=64k', '4M');
  create('two', 'compat=0.10', '1M');
  create('small', 'cluster_size=512', '3M');
  create('base', 'cluster_size=64k', '1M');
  create('overlay', 'cluster_size=64k', '3M', '-b', path('base'), '-F', 'qcow2');
  rmSync(path('base'));
  qemuImg('create', '-q', '-f', 'raw', path('raw'), '3M');
  for (const name of ['disk', 'other', 'small']) qemuImg('bitmap', '--add', path(name), 'old');
  await leaveInUse(['disk', 'other', 'small'].map(path), path('qmp'));
  const bitmap = (...words: string[]) => qemuImg('bitmap', ...words.slice(0, -2), path(words.at(-2)!), words.at(-1)!);
  bitmap('--add', '-g', '64k', 'disk', 'on');
  bitmap('--add', '-g', '512', 'disk', 'off');
  bitmap('--add', '-g', '4k', 'other', 'from');
  bitmap('--add', '-g', '32k', 'other', 'on');
  bitmap('--add', '-g', '64k', 'large', 'from');
  bitmap('--add', '-g', '512', 'small', 'on');
  bitmap('--add', '-g', '512', 'overlay', 'on');
  qemuIo(path('disk'), 'write -q 100k 1k', 'write -q 1M 512');
  bitmap('--disable', 'disk', 'off');
  qemuIo(path('disk'), 'write -q 2M 100k');
  qemuIo(path('other'), 'write -q 300k 1k', 'write -q 2900k 20k');
  qemuIo(path('large'), 'write -q 3M 200k');
  qemuIo(path('small'), 'write -q 0 1k', 'write -q 2M 1M');
}

function qemuIo(path: string, ...commands: string[]): void {
  execFileSync('qemu-io', ['-f', 'qcow2', ...commands.flatMap((command) => ['-c', command]), path]);
}

/** The bitmaps of these images are inconsistent afterwards: the program that had them open was killed. */
async function leaveInUse(paths: readonly string[], socket: string): Promise<void> {
  const killed = await StorageDaemon.start(socket);
  for (const [i, filename] of paths.entries()) {
    const file = { driver: 'file', filename };
    await killed.execute('blockdev-add', { driver: 'qcow2', 'node-name': `node${i}`, file });
  }
  killed.signal('SIGKILL');
  await killed.end();
  rmSync(socket, { force: true });
}

/** The dirty ranges of each bitmap of an image. */
export async function dirtyIn(workspace: Workspace, path: string): Promise<object> {
  const image = await workspace.open(path, { format: 'qcow2', readOnly: true });
  try {
    return Object.fromEntries(image.bitmaps.map((bitmap) => [bitmap.name, [...bitmap.runs()]]));
  } finally {
    await image.close();
  }
}

/** Runs `action` on each, some at once; rejects with all failures. */
export async function sideBySide<T>(work: readonly T[], action: (one: T) => Promise<void>): Promise<void> {
  const left = [...work];
  const failures: string[] = [];
  const next = async (): Promise<void> => {
    for (let one = left.shift(); one !== undefined; one = left.shift()) {
      await action(one).catch((error: Error) => failures.push(error.message));
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, next));
  if (failures.length > 0) throw new Error(`${failures.length} of ${work.length}:\n${failures.join('\n')}`);
}

export function isSame(a: string, b: string): boolean {
  return readFileSync(a).equals(readFileSync(b));
}

export function runIn(program: string, words: readonly string[], cwd: string): Promise<Outcome> {
  return new Promise((resolve) => {
    execFile(program, words, { cwd, timeout: 60_000 }, (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : (error.code as number | null), stdout, stderr });
    });
  });
}

/** What a program printed, and its exit code. */
export function said({ code, stdout, stderr }: Outcome): string {
  return `${stdout}${withoutOwnWords(stderr)}= ${code}`;
}

/** Names, granularities and flags, as QEMU has them. */
export function listed(path: string): object[] {
  const info = JSON.parse(qemuImg('info', '--output=json', path)) as {
    'format-specific': { data: { bitmaps?: object[] } };
  };
  return info['format-specific'].data.bitmaps ?? [];
}
