// `diskwright shims`: makes scripts by the names of QEMU's programs, through which this program takes their command lines. Scripts and not links: what is written to
// a link by mistake (`cp`, `>`, an update of the real tool) would be written over the program itself.

import {
  chmodSync,
  closeSync,
  lstatSync,
  mkdirSync,
  openSync,
  readFileSync,
  readlinkSync,
  realpathSync,
  renameSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { decodeName, encodeName } from '../../util/name-bytes.js';
import { wordsOfErrno } from '../../util/system-words.js';
import { HELP, QUIET } from '../arguments.js';
import { type ParsedOptions, UsageError } from '../getopt.js';
import { IGNORED_VARIABLE } from '../ignored-signals.js';
import { AS, PROGRAM, reportError, SHIMS, shown, write } from '../output.js';
import type { Verb } from '../verb.js';

/** The program in a package of Diskwright, this one or another. */
const PROGRAM_FILE = /(^|\/)dist\/cli\.cjs$/;
/** Ours are shorter by far. */
const MAX_SCRIPT_BYTES = 64 << 10;
/** What stands in a script between its first and its last lines: two words in quotes. */
const PATHS = /^node='(?:[^']|'\\'')*'\nprogram='(?:[^']|'\\'')*'\n$/;

/** Passes the signals that the caller ignores, which node would forget (see `ignored-signals.ts`). */
const LOOK =
  '[ ! -r /proc/self/status ] || while read -r key value; do\n' +
  `  [ "$key" != SigIgn: ] || { export ${IGNORED_VARIABLE}="$value"; break; }\n` +
  'done </proc/self/status\n';

export const verb: Verb = {
  name: 'shims',
  opensNoImage: true,
  operands: 'folders',
  synopsis: '[--force] [-q] DIR',
  description:
    `Makes scripts that call this program in the folder DIR, which is made where it is missing: ${SHIMS.join(', ')}. Called by one of these names, ` +
    "it takes that tool's command line, and no more, and its messages begin with that name.\n\n" +
    'Put DIR first in PATH to run scripts that were written for these tools. What this command has made before (links, in older versions) is replaced. If anything ' +
    'else has one of the names, nothing is made.',
  options: [
    {
      key: 'force',
      long: 'force',
      help: 'Replace also other files and links of these names. A folder is never replaced.',
    },
    QUIET,
    HELP,
  ],
  notes: [['Exit codes', '0  the scripts were made\n1  failed']],
  examples: [
    ['diskwright shims ~/shims', 'then PATH=~/shims:$PATH nightly-backup.sh runs a script with them'],
    ['diskwright shims --force /usr/local/bin', 'in place of what has these names there'],
  ],
  run,
};

async function run(options: ParsedOptions): Promise<number> {
  if (options.positional.length !== 1) throw new UsageError('Expecting one folder', true);
  const [folder] = options.positional;
  if (folder === '') throw new UsageError('Expecting the name of a folder, which is not empty', true);
  try {
    return make(folder, options.has('force'), options.has('quiet'));
  } catch (error) {
    const words = wordsOfErrno((error as NodeJS.ErrnoException).code ?? '');
    if (words === undefined) throw error;
    reportError(`${shown(folder)}: ${words}`);
    return 1;
  }
}

/** Makes the scripts in `folder`, and returns the exit code. Throws errors of the system. */
function make(folder: string, force: boolean, quiet: boolean): number {
  const program = decodeName(realpathSync(process.argv[1], 'buffer'));
  mkdirSync(encodeName(resolve(folder)), { recursive: true });
  const places = SHIMS.map((name) => ({ name, path: join(resolve(folder), name) }));
  // All is looked at before the first script is made.
  const taken = places.filter(({ path }) => !isFree(path, force));
  for (const { path } of taken) reportError(`'${shown(path)}' was not made by Diskwright${hint(path)}`);
  if (taken.length > 0) return 1;
  for (const { name, path } of places) place(scriptFor(name, program), path);
  if (!quiet) for (const { path } of places) write(`${shown(path)}\n`);
  return 0;
}

/**
 * The script that calls `program` in place of the tool `name`. It becomes the program (`exec`), which so has its arguments, exit code, signals and standard streams. The node
 * that runs now is the one that starts fastest; where it is gone, the program finds another by its first line.
 * Where the program is gone, the code is that of a command that is not found: qemu-img has meanings for 1 and 2.
 */
function scriptFor(name: string, program: string): string {
  const { head, tail } = around(name);
  return `${head}node=${quoted(process.execPath)}\nprogram=${quoted(program)}\n${LOOK}${tail}`;
}

/** The lines of a script before and behind the paths. */
function around(name: string): { head: string; tail: string } {
  return {
    head: `#!/bin/sh\n# Diskwright in place of ${name}: made by 'diskwright shims'.\n`,
    tail:
      `[ -f "$program" ] || { echo "${name}: $program is gone: run 'diskwright shims' again" >&2; exit 127; }\n` +
      `[ ! -x "$node" ] || exec "$node" "$program" ${AS}${name} "$@"\nexec "$program" ${AS}${name} "$@"\n`,
  };
}

/** One word of the shell, whatever characters are in it. */
function quoted(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

/** Whether a script may be made there: nothing has the name, or something of ours, or anything that may be replaced. */
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
  if (stats.isSymbolicLink()) return isProgram(resolve(dirname(path), readlinkSync(name, 'utf8'))) ? 'ours' : 'other';
  return stats.isFile() && stats.size <= MAX_SCRIPT_BYTES && isScript(readFileSync(name, 'latin1')) ? 'ours' : 'other';
}

/** Whether `text` is a script of ours, whatever paths it has: nothing else in it was changed. */
function isScript(text: string): boolean {
  return SHIMS.some((name) => {
    const { head, tail } = around(name);
    if (!text.startsWith(head) || !text.endsWith(tail)) return false;
    const middle = text.slice(head.length, text.length - tail.length);
    // Older ones do not look.
    return PATHS.test(middle.endsWith(LOOK) ? middle.slice(0, -LOOK.length) : middle);
  });
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

/** The name has at any moment what it had before, or the new script. A link is replaced, and not what it leads to. */
function place(script: string, path: string): void {
  const draft = encodeName(`${path}.${process.pid}`);
  const file = openSync(draft, 'wx', 0o755);
  try {
    try {
      writeFileSync(file, encodeName(script));
    } finally {
      closeSync(file);
    }
    // Whatever the mask of new files is.
    chmodSync(draft, 0o755);
    renameSync(draft, encodeName(path));
  } catch (error) {
    unlinkSync(draft);
    throw error;
  }
}
