// The entry of the command line: finds the verb, loads no module but its own, runs it and returns the exit code.

import { onSizeWarning } from '../util/size.js';
import { calledAs } from './as-program.js';
import type { FormatNames } from './format-names.js';
import { UsageError } from './getopt.js';
import { AS, PROGRAM, QEMU_IMG, reportFailure, reportWarning, SHIMS, setProgram } from './output.js';
import { formats, print, runVerb } from './run-verb.js';
import { HELP, verbHelp, wrap } from './verb.js';
import { REPLACED_PROGRAMS, VERBS, verbCalled } from './verb-table.js';

/**
 * Runs one command line and resolves with its exit code. `given` is without node and the script; `file` is the path that the program was
 * called by.
 */
export async function main(given: readonly string[], file: string = PROGRAM): Promise<number> {
  onSizeWarning(reportWarning);
  try {
    const { program, args } = calledAs(file, given);
    if (program === QEMU_IMG) {
      setProgram(program);
      return await (await import('./qemu-img.js')).runAsQemuImg(args);
    }
    if (Object.hasOwn(REPLACED_PROGRAMS, program)) {
      setProgram(program);
      return await runVerb(await verbCalled(REPLACED_PROGRAMS[program]), args);
    }
    const [name, ...rest] = args;
    if (name === undefined) throw new UsageError('Not enough arguments', true);
    if (name === '--help' || name === '-h') return print(generalHelp(await formats()));
    if (name === '--version' || name === '-V') return print(await versionFor(rest));
    if (name.startsWith('-')) throw new UsageError(`unrecognized option '${name}'`, true);
    if (name === HELP) return print(await helpOn(rest));
    return await runVerb(await verbCalled(name), rest);
  } catch (error) {
    reportFailure(error);
    return 1;
  }
}

/** `diskwright help`, `diskwright help VERB`. */
async function helpOn(args: readonly string[]): Promise<string> {
  const [name, extra] = args;
  if (extra !== undefined) throw new UsageError(`Unexpected argument: ${extra}`, true);
  if (name === undefined || name === '--help' || name === '-h') return generalHelp(await formats());
  return verbHelp(await verbCalled(name), await formats());
}

/** `--version`, and `--version --json`. */
async function versionFor(rest: readonly string[]): Promise<string> {
  const wrong = rest.find((word) => word !== '--json');
  if (wrong !== undefined) throw new UsageError(`Unexpected argument: ${wrong}`, true);
  const { versionText, versionJson } = await import('./version.js');
  return rest.length > 0 ? versionJson() : versionText();
}

function generalHelp({ all }: FormatNames): string {
  const width = Math.max(...Object.keys(VERBS).map((name) => name.length));
  const verbs = Object.entries(VERBS).map(([name, { summary }]) => `  ${name.padEnd(width)}  ${summary}`);
  return `usage: ${PROGRAM} COMMAND [options] ...
${wrap(`Works on disk images in files, on block devices, in NBD exports and on web servers (http://, https://, which are only read) and on other machines (ssh://), and on chains of them; also on folders, as disks with a FAT file system (fat:DIR). Formats: ${all}.`, 0)}

Commands:
${verbs.join('\n')}

  ${PROGRAM} help COMMAND, or ${PROGRAM} COMMAND --help
      explains a command, its options and its exit codes
  ${PROGRAM} --help
      shows this help
  ${PROGRAM} --version [--json]
      shows the version, the I/O engine and the codecs
  ${PROGRAM} ${AS}PROGRAM ...
      takes the command line of PROGRAM: ${SHIMS.join(', ')}

Commands of qemu-img have its options and output, nbd has those of qemu-nbd,
io those of qemu-io; salvage, compact, shims and completion are Diskwright's
own; the options of stream, mirror and backup are QMP's. Long options cannot be
abbreviated. Sizes take the suffixes k, M, G, T, P and E (powers of 1024).
`;
}
