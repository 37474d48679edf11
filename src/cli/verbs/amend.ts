// `diskwright amend`: changes what an image says of itself.

import type { BlockNode } from '../../block/node/node.js';
import { toBlockError } from '../../util/errors.js';
import { amendImage } from '../../workspace/amend.js';
import {
  BY_SIGNAL,
  cacheOption,
  FORMAT,
  HELP,
  IMAGE_OPTS,
  OBJECT,
  oneImage,
  QUIET,
  targetCache,
} from '../arguments.js';
import { BreakOff, leaksIn } from '../break-off.js';
import { amendHelp, asksForOptionHelp, parseAmendOptions } from '../create-options.js';
import { type ParsedOptions, UsageError } from '../getopt.js';
import { reportError, shown, write, writeMessage } from '../output.js';
import { openProgress, PROGRESS, PROGRESS_BAR, type ProgressView, progressKind } from '../progress.js';
import { imageArguments, ONE_BY_ONE, openImage, reasonWithFile, withSession } from '../session.js';
import type { Verb } from '../verb.js';

export const verb: Verb = {
  name: 'amend',
  synopsis: '-o OPTIONS [-f FMT] [-t CACHE] [--force] [-p] [-q] FILENAME',
  description:
    'Changes the options that a qcow2 or luks image was created with: the version, the width of refcounts, the name of the data file, the size, the passwords of ' +
    'an encrypted one, ... All of them are checked before the first is changed.\n\n' +
    'The size changes without a confirmation: what lies behind a smaller one is lost.',
  options: [
    {
      key: 'options',
      short: 'o',
      argument: 'OPTIONS',
      help: 'What to change, name=value,...; "-o help" lists it. May be given several times.',
    },
    FORMAT,
    cacheOption('writeback'),
    {
      key: 'force',
      long: 'force',
      help: 'Erase also the last key slot, and overwrite one that is in use.',
    },
    IMAGE_OPTS,
    PROGRESS_BAR,
    PROGRESS,
    QUIET,
    HELP,
    OBJECT,
  ],
  notes: [
    ['Exit codes', `0    the image is amended\n1    failed\n${BY_SIGNAL}`],
    [
      'After Ctrl-C or a failure',
      'What takes less than a second is done, in order, after Ctrl-C. Otherwise the image reads as before, and some of the options may be changed. Space may be lost: "diskwright check -r leaks" gives it back. A key slot that --force overwrites may open with neither password ' +
        'where it is broken off: where it is the only one, the disk is lost.',
    ],
  ],
  examples: [
    ['diskwright amend -o compat=1.1 old.qcow2', 'version 3, for images of before 2013'],
    ['diskwright amend -p -o refcount_bits=64 disk.qcow2', 'wider refcounts, with progress'],
    [
      'diskwright amend --object secret,id=old,file=old.txt --object secret,id=new,file=new.txt -o state=active,new-secret=new --image-opts ' +
        'driver=luks,key-secret=old,file.filename=disk.luks',
      'one more password; -o state=inactive,old-secret=old then erases the old one',
    ],
  ],
  run,
};

async function run(options: ParsedOptions): Promise<number> {
  const texts = options.all('options');
  if (texts.length === 0) throw new UsageError('Must specify options (-o)', true);
  const asksHelp = asksForOptionHelp(texts);
  const format = options.get('format');
  if (asksHelp && format !== undefined) return print(amendHelp(format));
  const how = imageArguments(options);
  if (options.positional.length !== 1) throw new UsageError('Expecting one image file name');
  const filename = oneImage(options);
  const kind = progressKind(options);
  const cache = targetCache(options, 'writeback');
  let view: ProgressView | null = null;
  let opened: BlockNode | null = null;
  const breakOff = new BreakOff(
    () =>
      `'${shown(filename)}' may have some of the options already (a new password, too); it reads as before, but bitmaps that are stored in it may be marked as in use. See 'info', and run the command again for the rest${leaksIn(opened)}`,
    { inOrder: true, end: (code) => view?.end({ event: 'cancelled', error: `interrupted (${code})` }) },
  );
  return withSession(
    options.all('object'),
    async (session) => {
      const node = await openImage(session, filename, { ...how, cache, writable: true });
      opened = node;
      if (asksHelp) return print(amendHelp(node.driver));
      const wanted = parseAmendOptions(node.driver, texts);
      const progress = openProgress(kind);
      view = progress;
      progress.update({ current: 0, total: 1, steps: true });
      breakOff.begin();
      try {
        await amendImage(node, wanted, {
          force: options.has('force'),
          progress: (current, total) => progress.update({ current, total, steps: true }),
        });
        progress.update({ current: 1, total: 1, steps: true });
        session.afterClose.push(() => progress.end({ event: 'completed' }));
        return 0;
      } catch (error) {
        const [line, ...more] = reasonWithFile(toBlockError(error)).split('\n');
        progress.end({ event: 'failed', error: line });
        reportError(line);
        for (const each of more) writeMessage(each);
        return 1;
      }
    },
    { ...ONE_BY_ONE, breakOff },
  );
}

function print(text: string): number {
  write(text);
  return 0;
}
