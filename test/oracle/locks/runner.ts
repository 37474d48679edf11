// Holds an image with one program, and lets the others come.
//
//   holder  theirs  ours  theirs  ours         each pair in a folder of its own, with the same images
//   comer   theirs  theirs  ours  ours         all four say what the first says

import type { ChildProcess } from 'node:child_process';
import { cpSync } from 'node:fs';
import { type Outcome, run } from '../../support/cli.js';
import { greets, until } from '../../support/nbd-process.js';
import { mayRefuse } from './table.js';

/** The programs of one side, by QEMU's names. */
export interface Side {
  name: string;
  /** A program that ends by itself. */
  run(program: string, words: readonly string[], folder: string): Promise<Outcome>;
  /** One that stays. */
  start(program: string, words: readonly string[], folder: string): ChildProcess;
}

/** The first images that the table names, made by QEMU's tools in `folder`. */
export function makeImages(folder: string): void {
  for (const [program, ...words] of IMAGES) {
    const { code, stderr } = run(program, words, folder);
    if (code !== 0) throw new Error(`${program} ${words.join(' ')} ended with ${code}: ${stderr}`);
  }
}

const IMAGES: readonly (readonly [program: string, ...words: string[]])[] = [
  ['qemu-img', 'create', '-q', '-f', 'qcow2', 'a.qcow2', '4M'],
  ['qemu-io', '-f', 'qcow2', '-c', 'write -P 1 0 128k', 'a.qcow2'],
  ['qemu-img', 'create', '-q', '-f', 'qcow2', '-b', 'a.qcow2', '-F', 'qcow2', 'b.qcow2'],
  ['qemu-io', '-f', 'qcow2', '-c', 'write -P 2 64k 128k', 'b.qcow2'],
  ['qemu-img', 'create', '-q', '-f', 'qcow2', '-b', 'b.qcow2', '-F', 'qcow2', 'c.qcow2'],
  ['qemu-img', 'create', '-q', '-f', 'qcow2', 'd.qcow2', '4M'],
  ['qemu-img', 'create', '-q', '-f', 'raw', 'a.raw', '1M'],
];

/** The kinds of holders and comers that stay. */
const STAYING: Readonly<Record<string, string>> = { daemon: 'qemu-storage-daemon', nbd: 'qemu-nbd', io: 'qemu-io' };

/** Of the four pairs, what the comers say that do not say the same in all of them. Images are copied from `images`, to folders beside it. */
export async function lockDifferences(
  holder: string,
  comers: readonly string[],
  images: string,
  theirs: Side,
  ours: Side,
): Promise<Record<string, string>[]> {
  const pairs = [theirs, ours].flatMap((held) => [theirs, ours].map((come) => [held, come] as const));
  const said = await Promise.all(
    pairs.map(([held, come], at) => {
      const folder = `${images}-${at}`;
      cpSync(images, folder, { recursive: true });
      return outcomes(holder, held, comers, come, folder);
    }),
  );
  const isSame = (comer: string): boolean =>
    said.every((all, at) => {
      if (all[comer] === said[0][comer]) return true;
      const [held, come] = pairs[at];
      return mayRefuse(holder, held === ours, comer, come === ours) && isRefusal(all[comer]);
    });
  const wrong = comers.filter((comer) => !isSame(comer));
  return said.map((all) => Object.fromEntries(wrong.map((comer) => [comer, all[comer]])));
}

/** It fails by a lock. */
function isRefusal(said: string): boolean {
  return said.startsWith('1 ') && /Failed to get (shared )?"\w+" lock\n/.test(said);
}

async function outcomes(
  holder: string,
  held: Side,
  comers: readonly string[],
  come: Side,
  folder: string,
): Promise<Record<string, string>> {
  const holding = await start(holder, held, folder);
  if (holding.failed !== null) throw new Error(`${held.name}: ${holder} ended: ${holding.failed}`);
  try {
    const said: Record<string, string> = {};
    for (const comer of comers) said[comer] = await comes(comer, come, folder);
    return said;
  } finally {
    await holding.end();
  }
}

interface Staying {
  /** What it said where it ended at once; null: it has opened its images. */
  failed: string | null;
  end(): Promise<void>;
}

/** Resolves when the program has opened its images, or has ended. */
async function start(line: string, side: Side, folder: string): Promise<Staying> {
  const [kind, ...words] = line.replaceAll('FOLDER', folder).split(' ');
  // It speaks first when all is open.
  if (kind === 'daemon') words.push('--chardev', 'stdio,id=m', '--monitor', 'chardev=m');
  const child = side.start(STAYING[kind], words, folder);
  let errors = '';
  child.stderr!.setEncoding('utf8').on('data', (text: string) => {
    errors += text;
  });
  const spoke = new Promise<void>((resolve) => child.stdout!.once('data', () => resolve()));
  let code: number | string | null = null;
  const closed = new Promise<void>((resolve) => {
    child.once('close', (exit, signal) => {
      code = exit ?? signal;
      resolve();
    });
  });
  const socket = words[words.indexOf('-k') + 1];
  // qemu-nbd listens before it opens the image, and forgets a SIGTERM then.
  if (kind === 'nbd') await until(`${line} is open`, () => code !== null || greets(socket));
  else await Promise.race([spoke, closed]);
  return {
    failed: code === null ? null : `${code} ${comparable(errors)}`,
    end: async () => {
      if (code === null) child.kill();
      await closed;
    },
  };
}

/** What a comer says, and its exit code. One that stays is ended when it has opened its images. */
async function comes(line: string, side: Side, folder: string): Promise<string> {
  const [kind, ...rest] = line.split(' ');
  if (kind === 'daemon' || kind === 'nbd') {
    const { failed, end } = await start(line, side, folder);
    await end();
    return failed ?? 'stays';
  }
  const [before, ...commands] = (kind === 'io' ? rest.join(' ') : line).split(' :');
  const words = [...commands.flatMap((command) => ['-c', command]), ...before.split(' ')];
  const { code, stdout, stderr } = await side.run(kind === 'io' ? 'qemu-io' : 'qemu-img', words, folder);
  return `${code} ${comparable(stdout)}${comparable(stderr)}`;
}

/** Without what is ours alone (who holds the image), places, times and dates. */
function comparable(text: string): string {
  return text
    .replace(/^It is held by process .*\n/gm, '')
    .replace(/\d{4}-\d\d-\d\d \d\d:\d\d:\d\d/g, 'DATE')
    .replace(/^Run completed in [\d.]+ seconds\.$/gm, 'Run completed.')
    .replace(/^disk size: .*$/gm, 'disk size: X')
    .replace(/^Image end offset: \d+$/gm, 'Image end offset: X')
    .replace(/"offset": \d+/g, '"offset": X');
}
