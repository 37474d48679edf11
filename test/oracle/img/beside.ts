// Runs the commands of a case by Debian's qemu-img and by us on copies of the same images, and compares all that there is to see.

import { createHash } from 'node:crypto';
import { readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { type Outcome, run } from '../../support/cli.js';
import { withoutOwnWords } from '../../support/own-words.js';
import type { Case } from './cases.js';
import type { Images } from './images.js';

/** What a case leaves: what each command said, and what is in the folder. */
export interface Result {
  said: readonly Outcome[];
  /** By name. */
  files: Readonly<Record<string, unknown>>;
}

export interface Pair {
  ours: Result;
  theirs: Result;
  /** What only one of them can tell: content that differs, an image of ours that has errors. */
  faults: readonly string[];
  /** We have changed no file, and made none. */
  untouched: boolean;
}

/** These change nothing, but with `-r`. */
const LOOKING = ['info', 'map', 'check', 'compare', 'measure', 'bench'];

const changes = (words: readonly string[]): boolean =>
  !LOOKING.includes(words[0]) || words.some((word) => /^(-[a-zA-Z]*[rw]|--r)/.test(word));

/** A rebase that is not `-u`. */
const keepsContent = (words: readonly string[]): boolean =>
  words[0] === 'rebase' && !words.some((word) => /^-[a-zA-Z]*u/.test(word));

/** Whether qemu-img reads other bytes there. What it cannot read is compared elsewhere. */
const isOther = (before: string, after: string): boolean =>
  run('qemu-img', ['compare', '-U', before, after], '.').code === 1;

/** Where the content is another one than qemu-img makes: whether ours is that of an image that the command names, with zeroes behind it. */
function nameSources(faults: string[], words: readonly string[], folder: string, images: Images): void {
  for (const [at, fault] of faults.entries()) {
    const [, name] = /^(.*): the content differs, as qemu-img reads it$/.exec(fault) ?? [];
    if (name === undefined) continue;
    const equals = (word: string): boolean =>
      run('qemu-img', ['compare', '-U', images.path(word), join(folder, name)], '.').code === 0;
    const source = words.slice(1).find((word) => word !== name && images.has(word) && equals(word));
    if (source !== undefined) faults[at] = `${fault} (ours is that of ${source})`;
  }
}

/** Runs a command line in a folder. */
export type Program = (words: readonly string[], folder: string) => Outcome | Promise<Outcome>;

/** Runs a case with both. Ours is compared as it is: `theirs` says what qemu-img says in our words. */
export async function runCase({ commands }: Case, images: Images, ours: Program, theirs: Program): Promise<Pair> {
  if (!commands.some(changes)) {
    const said = (by: Program) => runAll(by, commands, images.folder);
    return {
      ours: { said: await said(ours), files: {} },
      theirs: { said: await said(theirs), files: {} },
      faults: [],
      untouched: true,
    };
  }
  const folders = [images.copyFor(commands.flat()), images.copyFor(commands.flat())];
  try {
    const before = contents(folders[0]);
    const ourSaid = await runAll(ours, commands, folders[0]);
    const theirSaid = await runAll(theirs, commands, folders[1]);
    const changed = changedFiles(before, folders);
    const faults: string[] = [];
    for (const name of changed) faults.push(...(await faultsOf(name, folders, ours)));
    if (commands[0][0] === 'convert') nameSources(faults, commands[0], folders[0], images);
    if (commands.every(keepsContent)) {
      const lost = changed.filter((name) => before.has(name) && isOther(images.path(name), join(folders[0], name)));
      faults.push(...lost.map((name) => `${name}: the content is not what it was before`));
    }
    return {
      ours: { said: ourSaid.map(withoutPlaces), files: looks(folders[0], changed) },
      theirs: { said: theirSaid.map(withoutPlaces), files: looks(folders[1], changed) },
      faults,
      untouched: isDeepStrictEqual(before, contents(folders[0])),
    };
  } finally {
    for (const folder of folders) rmSync(folder, { recursive: true, force: true });
  }
}

async function runAll(by: Program, commands: Case['commands'], folder: string): Promise<Outcome[]> {
  const said: Outcome[] = [];
  for (const words of commands) said.push(filtered(await by(words, folder), folder));
  return said;
}

/** What differs from run to run, or has a name of its own. */
export function filtered({ code, stdout, stderr }: Outcome, folder: string): Outcome {
  const filter = (text: string): string =>
    withoutOwnWords(text)
      .replaceAll(folder, 'FOLDER')
      .replace(/\d{4}-\d\d-\d\d \d\d:\d\d:\d\d/g, 'DATE')
      .replace(/"date-(n?sec)": \d+/g, '"date-$1": 0')
      // Each has a help of its own.
      .replace(/qemu-img version .*$/s, 'HELP')
      // Ours names the verb's help.
      .replace(/^Try '.*--help' for more information$/gm, 'Try HELP')
      // Calibrated by time.
      .replace(/("(?:master-key-)?iters"|iters): \d+/g, '$1: 0')
      .replace(/^Run completed in [\d.]+ seconds\.$/gm, 'Run completed.')
      .replace(/^disk size: .*$/gm, 'disk size: X')
      .replace(/"actual-size": \d+/g, '"actual-size": 0')
      .replace(/\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b/g, 'UUID');
  // One message of qemu-img has no line feed at its end.
  return { code, stdout: filter(stdout), stderr: filter(stderr).trimEnd() };
}

/** What is allocated in another order lies in other places. */
function withoutPlaces({ stdout, ...rest }: Outcome): Outcome {
  return { ...rest, stdout: stdout.replace(/(Image end offset|"image-end-offset"): \d+/g, '$1: 0') };
}

function namesIn(folder: string): string[] {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((name) => statSync(join(folder, name)).isFile())
    .sort();
}

/** A digest of each file. */
function contents(folder: string): Map<string, string> {
  const digest = (name: string) =>
    createHash('sha1')
      .update(readFileSync(join(folder, name)))
      .digest('hex');
  return new Map(namesIn(folder).map((name) => [name, digest(name)]));
}

/** The files that one of the two has changed, made or removed. */
function changedFiles(before: ReadonlyMap<string, string>, folders: readonly string[]): string[] {
  const after = folders.map(contents);
  const names = new Set([...before.keys(), ...after.flatMap((files) => [...files.keys()])]);
  return [...names].filter((name) => after.some((files) => files.get(name) !== before.get(name))).sort();
}

/** What qemu-img says of these files. */
function looks(folder: string, names: readonly string[]): Record<string, unknown> {
  const there = new Set(namesIn(folder));
  const look = (name: string): unknown => {
    if (!there.has(name)) return 'is not there';
    return [
      filtered(run('qemu-img', ['info', '--output=json', name], folder), folder).stdout.replace(
        /"(?:offset|vm-state-size|icount)": \d+/g,
        '',
      ),
      mapOf(run('qemu-img', ['map', '--output=json', name], folder)),
    ];
  };
  return Object.fromEntries(names.map((name) => [name, look(name)]));
}

/** Bytes up to `end` that are of one kind. */
interface MapRun {
  end: number;
  depth: number;
  zero: boolean;
  data: boolean;
}

/** A map without the places in the file, which may be others. */
function mapOf({ code, stdout }: Outcome): number | null | MapRun[] {
  if (code !== 0) return code;
  const runs = JSON.parse(stdout) as (Omit<MapRun, 'end'> & { start: number; length: number })[];
  return mergedRuns(runs.map(({ start, length, depth, zero, data }) => ({ end: start + length, depth, zero, data })));
}

/** With one run where several of a kind stand one behind the other. */
function mergedRuns(runs: readonly MapRun[]): MapRun[] {
  const merged: MapRun[] = [];
  for (const run of runs) {
    const last = merged.at(-1);
    if (last !== undefined && isDeepStrictEqual({ ...last, end: run.end }, run)) last.end = run.end;
    else merged.push({ ...run });
  }
  return merged;
}

/** What is wrong with the file `name` that we left, as both read it. */
async function faultsOf(name: string, folders: readonly string[], ourProgram: Program): Promise<string[]> {
  const [ours, theirs] = folders.map((folder) => join(folder, name));
  const both = folders.every((folder) => namesIn(folder).includes(name));
  if (!both) return [];
  const faults: string[] = [];
  const format = run('qemu-img', ['info', '--output=json', ours], folders[0]).stdout;
  // Without its password an encrypted image cannot be read; what it holds is compared elsewhere.
  if (/"encrypted": true/.test(format)) return faults;
  const code = (program: string, ...words: string[]) => run(program, words, folders[0]).code;
  const compared = code('qemu-img', 'compare', '-U', ours, theirs);
  if (compared === 1) faults.push(`${name}: the content differs, as qemu-img reads it`);
  const again = (await ourProgram(['compare', '-U', ours, theirs], folders[0])).code;
  if (again !== compared) faults.push(`${name}: our compare ends with ${again}, qemu-img's with ${compared}`);
  const [checked, theirCheck] = [ours, theirs].map((file) => code('qemu-img', 'check', '-U', file));
  if (checked !== theirCheck) faults.push(`${name}: check ends with ${checked}, of qemu-img's with ${theirCheck}`);
  return faults;
}
