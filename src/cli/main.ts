// The entry of the command line: finds the verb, loads no module but its own, runs it and returns the exit code.

import type { FormatNames } from './format-names.js';
import { ParsedOptions, parseOptions, UsageError } from './getopt.js';
import { PROGRAM, reportFailure, setProgram, write } from './output.js';
import { beginProgress, failProgress } from './progress.js';
import { commandOf, optionsOf, UNTRUSTED, type Verb, verbHelp, wrap } from './verb.js';

interface VerbEntry {
  summary: string;
  load(): Promise<{ verb: Verb }>;
}

const VERBS: Readonly<Record<string, VerbEntry>> = {
  convert: { summary: 'copy an image into a new one of any format', load: () => import('./verbs/convert.js') },
  create: { summary: 'create an empty image, or an overlay of another', load: () => import('./verbs/create.js') },
  info: { summary: 'show format, sizes and backing file of an image', load: () => import('./verbs/info.js') },
  map: { summary: 'list which parts of an image hold data, and where', load: () => import('./verbs/map.js') },
  check: { summary: 'check the consistency of an image', load: () => import('./verbs/check.js') },
  salvage: {
    summary: 'write what can be read of a damaged image into a new one',
    load: () => import('./verbs/salvage.js'),
  },
  snapshot: {
    summary: 'list, create, apply and delete internal snapshots',
    load: () => import('./verbs/snapshot.js'),
  },
  bitmap: {
    summary: 'add, remove, clear, enable, disable and merge persistent bitmaps',
    load: () => import('./verbs/bitmap.js'),
  },
  measure: { summary: 'say how large a new image would become', load: () => import('./verbs/measure.js') },
  resize: { summary: 'change the size of an image', load: () => import('./verbs/resize.js') },
  amend: { summary: 'change what an image says of itself: version, size, ...', load: () => import('./verbs/amend.js') },
  compare: { summary: 'compare the content of two images', load: () => import('./verbs/compare.js') },
  commit: { summary: 'write an overlay down into its backing file', load: () => import('./verbs/commit.js') },
  stream: { summary: 'copy data from the backing files into an overlay', load: () => import('./verbs/stream.js') },
  compact: { summary: 'give the unused space of an image back', load: () => import('./verbs/compact.js') },
  mirror: { summary: 'copy an image, as a mirror job', load: () => import('./verbs/mirror.js') },
  backup: { summary: 'copy an image as it is at one moment', load: () => import('./verbs/backup.js') },
  nbd: { summary: 'serve an image over NBD, or list the exports of a server', load: () => import('./verbs/nbd.js') },
  daemon: {
    summary: 'run jobs and exports in one process, controlled by QMP',
    load: () => import('./verbs/daemon.js'),
  },
  jobs: { summary: 'list, watch and steer the jobs of such a process', load: () => import('./verbs/jobs.js') },
};

/** Programs of QEMU that Diskwright replaces when it is called by their names (by a link), and the verb that takes their command line. */
const REPLACED_PROGRAMS: Readonly<Record<string, string>> = { 'qemu-nbd': 'nbd', 'qemu-storage-daemon': 'daemon' };

/** Verbs of qemu-img that are not supported yet. */
const REFUSED = ['bench', 'dd', 'rebase'];

/**
 * Runs one command line and resolves with its exit code. `args` are without node and the script; `calledAs` is the name that the program was
 * called by.
 */
export async function main(args: readonly string[], calledAs = PROGRAM): Promise<number> {
  if (Object.hasOwn(REPLACED_PROGRAMS, calledAs)) {
    setProgram(calledAs);
    return runVerb((await VERBS[REPLACED_PROGRAMS[calledAs]].load()).verb, args);
  }
  const [name, ...rest] = args;
  try {
    if (name === undefined) throw new UsageError('Not enough arguments', true);
    if (name === '--help' || name === '-h') return print(generalHelp(await formats()));
    if (name === '--version' || name === '-V') return print(await (await import('./version.js')).versionText());
    if (name.startsWith('-')) throw new UsageError(`unrecognized option '${name}'`, true);
    if (REFUSED.includes(name)) throw new UsageError(`command '${name}' is not supported yet`);
    if (!Object.hasOwn(VERBS, name)) throw new UsageError(`Command not found: ${name}`, true);
    return await runVerb((await VERBS[name].load()).verb, rest);
  } catch (error) {
    reportFailure(error);
    return 1;
  }
}

async function runVerb(verb: Verb, args: readonly string[]): Promise<number> {
  try {
    if (asksForHelp(args)) return print(verbHelp(verb, await formats()));
    const options = optionsIn(verb, args);
    if (options.has(UNTRUSTED.key)) (await import('./session.js')).trustNoImage();
    beginProgress(options);
    const code = await verb.run(options);
    if (code !== 0) failProgress();
    return code;
  } catch (error) {
    reportFailure(error, verb.peer === undefined ? PROGRAM : commandOf(verb));
    failProgress();
    return error instanceof UsageError ? 1 : (verb.failureCode ?? 1);
  }
}

function optionsIn(verb: Verb, args: readonly string[]): ParsedOptions {
  if (!verb.lastIsOperand) return parseOptions(args, optionsOf(verb), verb.words);
  const last = args.at(-1);
  if (last === undefined || args.length < 2) throw new UsageError('Not enough arguments', true);
  const { inOrder, positional } = parseOptions(args.slice(0, -1), optionsOf(verb), verb.words);
  return new ParsedOptions(inOrder, [...positional, last]);
}

function asksForHelp(args: readonly string[]): boolean {
  const end = args.indexOf('--');
  return args.slice(0, end < 0 ? undefined : end).some((word) => word === '--help' || word === '-h');
}

function print(text: string): number {
  write(text);
  return 0;
}

async function formats(): Promise<FormatNames> {
  return (await import('./format-names.js')).formatNames();
}

function generalHelp({ all }: FormatNames): string {
  const width = Math.max(...Object.keys(VERBS).map((name) => name.length));
  const verbs = Object.entries(VERBS).map(([name, { summary }]) => `  ${name.padEnd(width)}  ${summary}`);
  return `usage: ${PROGRAM} COMMAND [options] ...
${wrap(`Works on disk images in files, on block devices and in NBD exports, and on chains of them. Formats: ${all}.`, 0)}

Commands:
${verbs.join('\n')}

  ${PROGRAM} COMMAND --help   explains a command, its options and its exit codes
  ${PROGRAM} --help           shows this help
  ${PROGRAM} --version        shows the version, the I/O engine and the codecs

Commands of qemu-img have its options and output, nbd has those of qemu-nbd;
salvage and compact are Diskwright's own; the options of stream, mirror and
backup are QMP's. Long options cannot be abbreviated. Sizes take the suffixes
k, M, G, T, P and E (powers of 1024).

Not supported yet: qemu-img's ${REFUSED.slice(0, -1).join(', ')} and ${REFUSED.at(-1)};
several sources of one convert.
`;
}
