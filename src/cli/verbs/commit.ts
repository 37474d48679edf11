// `diskwright commit`: writes the data of an overlay into a backing file.

import { ownContent } from '../../jobs/copy-plan.js';
import { dataAhead } from '../../jobs/data-ahead.js';
import { commitTarget, startCommit } from '../../workspace/commit.js';
import { cacheOption, oneImage, targetCache } from '../arguments.js';
import type { ParsedOptions } from '../getopt.js';
import { JOB_EXIT_CODES, JOB_OPTIONS, speedOption } from '../job-options.js';
import { progressKind } from '../progress.js';
import { runJob } from '../run-job.js';
import { imageArguments, openImage, withSession } from '../session.js';
import type { Verb } from '../verb.js';

export const verb: Verb = {
  name: 'commit',
  synopsis: '[-f FMT] [-b BASE] [-d] [-t CACHE] [-r BYTES] [-p] [-q] FILENAME',
  description:
    'Writes the data of FILENAME into its backing file, and empties FILENAME. Afterwards the backing file has the content of FILENAME.\n\n' +
    'With -b, the data of FILENAME and of all images between it and BASE is written into BASE. The images between them are invalid ' +
    'afterwards, and FILENAME is not emptied.',
  options: [
    {
      key: 'base',
      short: 'b',
      argument: 'BASE',
      help: 'Image of the backing chain that is written to. A relative name counts from the folder of the image above it, as in its header. Implies -d.',
    },
    { key: 'drop', short: 'd', help: 'Do not empty FILENAME: it is going to be deleted.' },
    cacheOption('writeback'),
    ...JOB_OPTIONS,
  ],
  notes: [
    JOB_EXIT_CODES,
    [
      'After Ctrl-C or a failure',
      'FILENAME is unchanged. The backing file has a part of its data, which other overlays of it, if there are any, read. Run the same command again to continue.',
    ],
  ],
  examples: [
    ['diskwright commit -p snap1.qcow2', 'into its backing file, with progress'],
    ['diskwright commit -b base.qcow2 -r 50M snap3.qcow2', 'a whole chain into its base, with at most 50 MiB/s'],
  ],
  run,
};

async function run(options: ParsedOptions): Promise<number> {
  const speed = speedOption(options);
  const filename = oneImage(options);
  const cache = targetCache(options, 'writeback');
  const progress = progressKind(options);
  return withSession(options.all('object'), async (session) => {
    const top = await openImage(session, filename, { ...imageArguments(options), cache, writable: true });
    const baseName = options.get('base');
    const base = await commitTarget(top, baseName);
    const keepsData = options.has('drop') || baseName !== undefined;
    const partly = `'${filename}' reads as before; '${base.filename}' may have a part of its data. Run the same command again to continue.`;
    return runJob(session, {
      count: (signal) => dataAhead(top, base, ownContent, signal),
      start: (env) =>
        startCommit(env, top, { 'base-node': base.nodeName, speed, empty: !keepsData, fua: cache.writethrough }),
      progress,
      done: options.has('quiet') ? undefined : 'Image committed.',
      stateWhenCancelled: partly,
      stateWhenFailed: partly,
    });
  });
}
