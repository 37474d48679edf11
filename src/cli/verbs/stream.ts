// `diskwright stream`: copies the data of the backing files into an overlay.

import { backingOf } from '../../block/chain.js';
import type { Classify } from '../../jobs/copy-plan.js';
import { dataAhead } from '../../jobs/data-ahead.js';
import { findBelow } from '../../workspace/layers.js';
import { startStream } from '../../workspace/stream.js';
import { oneImage } from '../arguments.js';
import { type ParsedOptions, UsageError } from '../getopt.js';
import { JOB_EXIT_CODES, JOB_OPTIONS, ON_ERROR, policyOption, speedOption } from '../job-options.js';
import { progressKind } from '../progress.js';
import { runJob } from '../run-job.js';
import { imageArguments, openImage, withSession } from '../session.js';
import type { Verb } from '../verb.js';

export const verb: Verb = {
  name: 'stream',
  synopsis: '[--base=FILE | --bottom=FILE] [--backing-file=NAME] [-r BYTES] [-p] FILENAME',
  description:
    'Copies the data of the backing files of FILENAME into FILENAME, which does not need them any more afterwards. Its content does not ' +
    'change; the backing files are only read, and are not deleted. Without a backing file there is nothing to do, which is no failure.\n\n' +
    'With --base, the data of the images between FILENAME and that image is copied, and that image is the backing file of FILENAME afterwards.',
  peer: 'QMP',
  options: [
    {
      key: 'base',
      long: 'base',
      argument: 'FILE',
      help: 'The image that stays as backing file. A relative name counts from the folder of the image above it, as in its header. Default: none.',
    },
    {
      key: 'bottom',
      long: 'bottom',
      argument: 'FILE',
      help: 'The lowest image that is copied; the image below it stays as backing file. Named as for --base, which it excludes.',
    },
    {
      key: 'backing-file',
      long: 'backing-file',
      argument: 'NAME',
      help: 'Name of the backing file in the header of FILENAME afterwards. Default: the name of the image that stays.',
    },
    ON_ERROR,
    ...JOB_OPTIONS,
  ],
  notes: [
    JOB_EXIT_CODES,
    [
      'After Ctrl-C or a failure',
      'FILENAME has the same content as before and still needs its backing files. Data that was copied stays in it; run the same command again to continue.',
    ],
  ],
  examples: [
    ['diskwright stream -p snap3.qcow2', 'make it independent of its backing files'],
    ['diskwright stream --base base.qcow2 -r 50M snap3.qcow2', 'drop the images between, with at most 50 MiB/s'],
  ],
  run,
};

/** What the overlay does not hold itself, and somebody below does. */
const fromBelow: Classify = ({ depth, zero }) => (depth > 0 && !zero ? 'data' : 'skip');

async function run(options: ParsedOptions): Promise<number> {
  const filename = oneImage(options);
  const request = {
    'backing-file': options.get('backing-file'),
    speed: speedOption(options),
    'on-error': policyOption(options, 'on-error'),
  };
  const progress = progressKind(options, true);
  if (options.has('base') && options.has('bottom')) {
    throw new UsageError("'base' and 'bottom' cannot be specified at the same time");
  }
  return withSession(options.all('object'), async (session) => {
    const top = await openImage(session, filename, { ...imageArguments(options), writable: true });
    const [base, bottom] = [options.get('base'), options.get('bottom')];
    const baseNode = base === undefined ? null : await findBelow(top, base);
    const lowest = bottom === undefined ? null : await findBelow(top, bottom);
    const layers = { 'base-node': baseNode?.nodeName, 'bottom-node': lowest?.nodeName };
    const stays = lowest === null ? baseNode : backingOf(lowest);
    return runJob(session, {
      count: (signal) => dataAhead(top, stays, fromBelow, signal),
      start: (env) => startStream(env, top, { ...request, ...layers }),
      progress,
      done: options.has('quiet') ? undefined : 'Image streamed.',
      stateWhenCancelled: `'${filename}' reads as before and still needs its backing files. Run the same command again to continue.`,
      stateWhenFailed: `'${filename}' reads as before and still needs its backing files.`,
    });
  });
}
