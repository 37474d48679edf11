// `diskwright shims`: makes links by the names of QEMU's programs, through which this program takes their command lines.

import {
  lstatSync,
  mkdirSync,
  readFileSync,
  readlinkSync,
  realpathSync,
  renameSync,
  symlinkSync,
  unlinkSync,
} from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { encodeName } from '../../util/name-bytes.js';
import { wordsOfErrno } from '../../util/system-words.js';
import { HELP, QUIET } from '../arguments.js';
import { type ParsedOptions, UsageError } from '../getopt.js';
import { PROGRAM, reportError, shown, write } from '../output.js';
import type { Verb } from '../verb.js';

const NAMES = ['qemu-img', 'qemu-io', 'qemu-nbd'] as const;
/** The program in a package of Diskwright, this one or another. */
const PROGRAM_FILE = /(^|\/)dist\/cli\.cjs$/;

export const verb: Verb = {
  name: 'shims',
  opensNoImage: true,
  operands: 'folders',
  synopsis: '[--force] [-q] DIR',
  description:
    `Makes links to this program in the folder DIR, which is made where it is missing: ${NAMES.join(', ')}. Called by one of these names, ` +
    "it takes that tool's command line, and no more, and its messages begin with that name.\n\n" +
    'Put DIR first in PATH to run scripts that were written for these tools. A link that this command has made before is replaced. If anything else has ' +
    'one of the names, nothing is made.',
  options: [
    {
      key: 'force',
      long: 'force',
      help: 'Replace also other files and links of these names. A folder is never replaced.',
    },
    QUIET,
    HELP,
  ],
  notes: [['Exit codes', '0  the links were made\n1  failed']],
  examples: [
    ['diskwright shims ~/shims', 'then PATH=~/shims:$PATH nightly-backup.sh runs a script with them'],
    ['diskwright shims --force /usr/local/bin', 'in place of what has these names there'],
  ],
  run,
};

async function run(options: ParsedOptions): Promise<number> {
  if (options.positional.length !== 1) throw new UsageError('Expecting one folder', true);
  const [folder] = options.positional;
  try {
    return make(folder, options.has('force'), options.has('quiet'));
  } catch (error) {
    const words = wordsOfErrno((error as NodeJS.ErrnoException).code ?? '');
    if (words === undefined) throw error;
    reportError(`${shown(folder)}: ${words}`);
    return 1;
  }
}

/** Makes the links in `folder`, and returns the exit code. Throws errors of the system. */
function make(folder: string, force: boolean, quiet: boolean): number {
  const program = realpathSync(process.argv[1]);
  mkdirSync(encodeName(resolve(folder)), { recursive: true });
  const links = NAMES.map((name) => join(resolve(folder), name));
  // All is looked at before the first link is made.
  const taken = links.filter((path) => !isFree(path, force));
  for (const path of taken) reportError(`'${shown(path)}' is no link of Diskwright${hint(path)}`);
  if (taken.length > 0) return 1;
  for (const path of links) link(program, path);
  if (!quiet) for (const path of links) write(`${shown(path)}\n`);
  return 0;
}

/** Whether a link may be made there: nothing has the name, or a link of ours, or anything that may be replaced. */
function isFree(path: string, force: boolean): boolean {
  const kind = kindOf(path);
  if (kind === 'nothing' || kind === 'ours') return true;
  return force && kind === 'other';
}

function hint(path: string): string {
  return kindOf(path) === 'folder' ? '' : ': --force replaces it';
}

function kindOf(path: string): 'nothing' | 'ours' | 'other' | 'folder' {
  const name = encodeName(path);
  const stats = lstatSync(name, { throwIfNoEntry: false });
  if (stats === undefined) return 'nothing';
  if (stats.isDirectory()) return 'folder';
  return stats.isSymbolicLink() && isProgram(resolve(dirname(path), readlinkSync(name, 'utf8'))) ? 'ours' : 'other';
}

/** Whether it is the program of a package of Diskwright. */
function isProgram(path: string): boolean {
  if (!PROGRAM_FILE.test(path)) return false;
  try {
    const about = JSON.parse(readFileSync(encodeName(join(dirname(path), '..', 'package.json')), 'utf8'));
    return about.name === PROGRAM;
  } catch {
    // Nothing is there, or something else.
    return false;
  }
}

/** The name has at any moment what it had before, or the new link. */
function link(program: string, path: string): void {
  const draft = encodeName(`${path}.${process.pid}`);
  symlinkSync(program, draft);
  try {
    renameSync(draft, encodeName(path));
  } catch (error) {
    unlinkSync(draft);
    throw error;
  }
}
