// `diskwright commit`: writes an overlay down into a backing file.

import { backingOf } from '../../block/chain.js';
import { startCommit } from '../../jobs/start.js';
import { BlockError } from '../../util/errors.js';
import { CACHE, cacheMode, FORMAT, HELP, IMAGE_OPTS, OBJECT, oneImage, QUIET } from '../arguments.js';
import { findBelow } from '../chain-names.js';
import { type ParsedOptions, UsageError } from '../getopt.js';
import { JOB_RATE, speedOption } from '../job-options.js';
import { PROGRESS, PROGRESS_BAR, progressKind } from '../progress.js';
import { runJob } from '../run-job.js';
import { imageArguments, openImage, withSession } from '../session.js';
import type { Verb } from '../verb.js';

export const verb: Verb = {
  name: 'commit',
  synopsis: '[-f FMT] [-b BASE] [-d] [-t CACHE] [-r BYTES] [-p] [-q] FILENAME',
  description:
    'Writes the data of FILENAME into its backing file, which reads as FILENAME did afterwards, and empties FILENAME.\n\n' +
    'With -b, the data of FILENAME and of all images between is written into BASE. The images between mean nothing any more ' +
    'then, and FILENAME is not emptied.',
  options: [
    { key: 'base', short: 'b', argument: 'BASE', help: 'Image of the backing chain that is written to. Implies -d.' },
    { key: 'drop', short: 'd', help: 'Do not empty FILENAME: it is going to be deleted.' },
    FORMAT,
    IMAGE_OPTS,
    CACHE,
    JOB_RATE,
    PROGRESS_BAR,
    PROGRESS,
    QUIET,
    HELP,
    OBJECT,
  ],
  notes: [
    ['Exit codes', '0    done\n1    failed\n130  interrupted'],
    [
      'After Ctrl-C or a failure',
      'FILENAME is as it was and reads as before. The backing file holds a part of its data: other overlays\nof it, if there are any, read that. The same command goes on.',
    ],
  ],
  examples: [
    ['diskwright commit -p snap1.qcow2', 'into its backing file, with progress'],
    ['diskwright commit -b base.qcow2 -r 50M snap3.qcow2', 'a whole chain into its base, with at most 50 MiB/s'],
  ],
  run,
};

async function run(options: ParsedOptions): Promise<number> {
  const cache = cacheMode(options, 'cache', 'cache', 'writeback');
  const speed = speedOption(options);
  if (cache.writethrough) throw new UsageError(`cache mode '${options.get('cache')}' is not supported yet`);
  const filename = oneImage(options);
  const progress = progressKind(options);
  return withSession(async (session) => {
    const top = await openImage(session, filename, { ...imageArguments(options), cache, writable: true });
    const below = backingOf(top);
    if (below === null) throw new BlockError('invalid-argument', 'Image does not have a backing file');
    const baseName = options.get('base');
    const base = baseName === undefined ? below : await findBelow(session, top, baseName);
    const keepsData = options.has('drop') || baseName !== undefined;
    const partly = `'${filename}' reads as before; '${base.filename}' may hold a part of its data. The same command goes on.`;
    return runJob(session, {
      start: (env) => startCommit(env, { device: top.nodeName, 'base-node': base.nodeName, speed, empty: !keepsData }),
      progress,
      done: options.has('quiet') ? undefined : 'Image committed.',
      stateWhenCancelled: partly,
      stateWhenFailed: partly,
    });
  });
}
