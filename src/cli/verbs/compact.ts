// `diskwright compact`: gives the unused space of an image's file back.

import type { CompactResult } from '../../block/abilities.js';
import { formatSize } from '../../util/size.js';
import { checkCompacts, planCompact, startCompact } from '../../workspace/compact.js';
import { OUTPUT, oneImage, outputFormat } from '../arguments.js';
import { type ParsedOptions, UsageError } from '../getopt.js';
import { JOB_EXIT_CODES, JOB_OPTIONS, speedOption } from '../job-options.js';
import { prettyJson } from '../json.js';
import { write } from '../output.js';
import { progressKind } from '../progress.js';
import { runJob } from '../run-job.js';
import { type ImageArguments, imageArguments, openImage, releaseImage, type Session, withSession } from '../session.js';
import type { Verb } from '../verb.js';

export const verb: Verb = {
  name: 'compact',
  synopsis: '[--dedupe-backing] [--keep-zeroes] [-n | --dry-run] [-r RATE] [-f FMT | --image-opts] [-p] [-q] FILENAME',
  description:
    'Makes the file of a qcow2 image as small as its content allows, in place: clusters of zeroes are dropped, what lies at the end of the file moves into the free ' +
    'places before it, and the file is cut. Internal snapshots and bitmaps are kept.\n\n' +
    'Nothing is written but what moves, and what points to it, and no second copy is needed. At any moment the image is valid: after a power cut, or when the command was killed, ' +
    'run it again.\n\n' +
    'An image with errors is refused; lost space (leaks) is given back.',
  peer: 'QMP',
  options: [
    {
      key: 'dedupe-backing',
      long: 'dedupe-backing',
      help: 'Drop also clusters that are equal to what the backing file has there.',
    },
    {
      key: 'keep-zeroes',
      long: 'keep-zeroes',
      help: 'Do not search the data for clusters of zeroes: nothing is read then but what moves.',
    },
    {
      key: 'dry-run',
      short: 'n',
      long: 'dry-run',
      help: 'Say what would be won and moved, and write nothing.',
    },
    { ...OUTPUT, help: 'Of a dry run: "human" (default) or "json".' },
    ...JOB_OPTIONS,
  ],
  notes: [
    JOB_EXIT_CODES,
    [
      'After Ctrl-C or a failure',
      'FILENAME has the same content as before. What was moved until then is given back; run the same command again to continue.',
    ],
  ],
  examples: [
    ['diskwright compact -p disk.qcow2', 'with progress'],
    ['diskwright compact --dry-run disk.qcow2', 'how much would be won?'],
    ['diskwright compact --dedupe-backing -r 50M overlay.qcow2', 'at most 50 MiB/s'],
  ],
  run,
};

async function run(options: ParsedOptions): Promise<number> {
  const filename = oneImage(options);
  const dryRun = options.has('dry-run');
  const json = outputFormat(options) === 'json';
  for (const [key, name] of [
    ['speed', '-r'],
    ['progress', '-p'],
  ]) {
    if (dryRun && options.has(key)) throw new UsageError(`'${name}' does not go with '--dry-run': nothing is moved`);
  }
  if (json && !dryRun) throw new UsageError("'--output' goes with '--dry-run'");
  const [dedupeBacking, keepZeroes] = [options.has('dedupe-backing'), options.has('keep-zeroes')];
  const speed = speedOption(options);
  const progress = progressKind(options, true);
  const quiet = options.has('quiet');
  return withSession(options.all('object'), async (session) => {
    const how = imageArguments(options);
    if (!dryRun && how.format === undefined && !how.imageOpts) await refuseOthers(session, filename, how);
    const node = await openImage(session, filename, { ...how, writable: !dryRun });
    if (dryRun) {
      const result = await planCompact(node, { dedupeBacking, keepZeroes });
      write(json ? `${prettyJson(jsonOf(result))}\n` : wouldText(result));
      return 0;
    }
    const request = { 'dedupe-backing': dedupeBacking, 'keep-zeroes': keepZeroes, speed };
    const results: CompactResult[] = [];
    return runJob(session, {
      start: (env) => startCompact(env, node, { ...request, done: (result) => results.push(result) }),
      progress,
      done: quiet ? undefined : () => doneText(results[0]),
      stateWhenCancelled: `'${filename}' reads as before. Run the same command again to continue.`,
      stateWhenFailed: `'${filename}' reads as before.`,
    });
  });
}

/**
 * Throws `unsupported` where the image is of a format that cannot be compacted, before it is opened for writing: that warns of a raw image whose format was not named, as if
 * to name it were of any use.
 */
async function refuseOthers(session: Session, filename: string, how: ImageArguments): Promise<void> {
  const node = await openImage(session, filename, how);
  checkCompacts(node);
  await releaseImage(session, node);
}

function doneText({ before, after, moved, dropped }: CompactResult): string {
  const drops = dropped > 0 ? `, dropped ${formatSize(dropped)}` : '';
  return `Freed ${formatSize(before - after)} of ${formatSize(before)}${drops}, moved ${formatSize(moved)}.`;
}

function wouldText({ before, after, moved, dropped }: CompactResult): string {
  const drops = dropped > 0 ? ` ${formatSize(dropped)} are zeroes, or equal to the backing file.` : '';
  return `${formatSize(before - after)} of ${formatSize(before)} would be freed, ${formatSize(moved)} moved.${drops}\n`;
}

function jsonOf({ before, after, moved, dropped, leaked }: CompactResult): object {
  return {
    'file-size': before,
    'file-size-after': after,
    freed: before - after,
    moved,
    dropped,
    'leaked-clusters': leaked,
  };
}
