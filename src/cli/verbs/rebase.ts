// `diskwright rebase`: gives an image another backing file.

import type { BlockNode } from '../../block/node/node.js';
import { knownDriver } from '../../block/registry.js';
import { BlockError, toBlockError } from '../../util/errors.js';
import type { ImageOpener } from '../../workspace/open.js';
import { type BackingName, openNewBacking, rebaseImage, renameBacking } from '../../workspace/rebase.js';
import {
  BY_SIGNAL,
  cacheMode,
  cacheOption,
  FORCE_SHARE,
  FORMAT,
  HELP,
  IMAGE_OPTS,
  OBJECT,
  oneImage,
  QUIET,
  SOURCE_CACHE,
  targetCache,
} from '../arguments.js';
import { BreakOff } from '../break-off.js';
import { type ParsedOptions, UsageError } from '../getopt.js';
import { reportError, shown } from '../output.js';
import { endFailed, openProgress, PROGRESS, PROGRESS_BAR, type ProgressKind, progressKind } from '../progress.js';
import { ratedState } from '../rate.js';
import {
  type ImageArguments,
  Interrupt,
  imageArguments,
  openImage,
  reasonOf,
  type Session,
  withSession,
} from '../session.js';
import type { Verb } from '../verb.js';

export const verb: Verb = {
  name: 'rebase',
  synopsis: '[-f FMT] [-u] [-c] [-t CACHE] [-T CACHE] [-p] [-q] -b BACKING_FILE [-F BACKING_FMT] FILENAME',
  description:
    'Gives an overlay another backing file. What it reads from its old backing file and would not read from the new one is written into it first, so its ' +
    'content stays. With an empty BACKING_FILE, it stands alone afterwards. A relative BACKING_FILE is resolved from the folder of FILENAME.\n\n' +
    'With -u only the name in the header changes, without a look at any backing file: for one that was moved or renamed. If it has not the same content, ' +
    'FILENAME has another content afterwards.',
  options: [
    { key: 'backing', short: 'b', argument: 'BACKING_FILE', help: 'The new backing file; "" for none.' },
    {
      key: 'backing-format',
      short: 'F',
      argument: 'BACKING_FMT',
      help: 'Format of BACKING_FILE; required unless that is empty.',
    },
    { key: 'unsafe', short: 'u', help: 'Change the name alone. Without -b: to none.' },
    {
      key: 'compress',
      short: 'c',
      own: 'long',
      long: 'compress',
      help: ({ compressedOverlays }) => `Compress what is written into FILENAME (${compressedOverlays}).`,
    },
    FORMAT,
    IMAGE_OPTS,
    cacheOption('writeback'),
    { ...SOURCE_CACHE, help: 'Cache mode of the backing files: none, writeback, writethrough, directsync or unsafe.' },
    { ...FORCE_SHARE, help: 'Read backing files that another process writes to.' },
    PROGRESS_BAR,
    PROGRESS,
    QUIET,
    HELP,
    OBJECT,
  ],
  notes: [
    ['Exit codes', `0    done\n1    failed\n${BY_SIGNAL}`],
    [
      'After Ctrl-C or a failure',
      'FILENAME has its old content and its old backing file. It may have become larger. Run the same command again to continue. With -u, it names its old backing file or the new one.',
    ],
  ],
  examples: [
    ['diskwright rebase -b base.qcow2 -F qcow2 snap3.qcow2', 'leave out the images between them'],
    ['diskwright rebase -b "" -p disk.qcow2', 'make it independent of all others, with progress'],
    ['diskwright rebase -u -b /new/base.qcow2 -F qcow2 disk.qcow2', 'the backing file was moved'],
  ],
  run,
};

interface Plan {
  filename: string;
  /** Undefined: no backing file. */
  name: string | undefined;
  format: string | undefined;
  compress: boolean;
  /** Each write is durable when it is answered. */
  fua: boolean;
  how: ImageArguments;
  source: ImageArguments;
  progress: ProgressKind;
}

async function run(options: ParsedOptions): Promise<number> {
  const unsafe = options.has('unsafe');
  const how = imageArguments(options);
  const filename = oneImage(options);
  if (!unsafe && !options.has('backing')) {
    throw new UsageError('Must specify backing file (-b) or use unsafe mode (-u)', true);
  }
  const cache = targetCache(options, 'writeback');
  const sourceCache = cacheMode(options, 'source-cache', 'source cache', 'writeback');
  const { forceShare } = how;
  const plan: Plan = {
    filename,
    name: options.get('backing') || undefined,
    format: options.get('backing-format'),
    compress: options.has('compress'),
    fua: cache.writethrough,
    how: { ...how, forceShare: false, cache, writable: true, backing: unsafe ? false : undefined },
    source: { forceShare, cache: sourceCache },
    progress: progressKind(options),
  };
  if (unsafe && plan.compress) throw new UsageError('-c has no effect with -u: no data is written');
  const state = `'${shown(filename)}' names its old backing file or the new one; its own data is as before.`;
  const breakOff = unsafe ? new BreakOff(state, { inOrder: true }) : undefined;
  return withSession(
    options.all('object'),
    async (session) => {
      const image = await openImage(session, filename, plan.how);
      const { format } = plan;
      // As qemu-img, which opens the image first.
      if (format !== undefined && knownDriver(format) === null)
        throw new UsageError(`Invalid format name: '${format}'`);
      if (breakOff === undefined) return rebase(session, image, plan);
      breakOff.begin();
      return rename(session, image, plan);
    },
    { breakOff },
  );
}

/** What the header is to say; null: of none. */
function wantedName({ name, format }: Plan): BackingName | null {
  return name === undefined ? null : { name, format };
}

async function rename(session: Session, image: BlockNode, plan: Plan): Promise<number> {
  const view = openProgress(plan.progress);
  view.update({ current: 0, total: 1 });
  await renameBacking(image, wantedName(plan));
  view.update({ current: 1, total: 1 });
  session.afterClose.push(() => view.end({ event: 'completed' }));
  return 0;
}

async function rebase(session: Session, image: BlockNode, plan: Plan): Promise<number> {
  const to = wantedName(plan);
  const backing = to === null ? null : await openNewBacking(image, to, openerOfNew(session, plan));
  const { clock } = session.host;
  const interrupt = new Interrupt(session);
  const view = openProgress(plan.progress);
  const started = clock.now();
  let side = 'writing to';
  try {
    await rebaseImage({
      image,
      to,
      backing,
      compress: plan.compress,
      fua: plan.fua,
      signal: interrupt.signal,
      onFault: ({ isRead }) => {
        side = isRead ? 'reading' : 'writing to';
      },
      onCopy: () => view.update({ current: 0, total: image.length }),
      onProgress: (current, total, moved) => view.update(ratedState(clock.now() - started, { current, total, moved })),
    });
    session.afterClose.push(() => view.end({ event: 'completed' }));
    return 0;
  } catch (error) {
    const failure = toBlockError(error);
    if (endFailed(view, failure)) {
      reportError(`Cancelled. '${shown(plan.filename)}' has its old content and its old backing file.`);
      return interrupt.cancelledCode;
    }
    if (failure.guestOffset === undefined) throw error;
    reportError(`error while ${side} '${failure.path}' at byte ${failure.guestOffset}: ${reasonOf(failure)}`);
    return 1;
  }
}

/** Its errors have the reason alone: what they are about was typed in another way. */
function openerOfNew(session: Session, { source }: Plan): ImageOpener {
  return async (name, how) => {
    try {
      return await openImage(session, String(name), { ...source, ...how, purpose: 'copy' });
    } catch (error) {
      const failure = toBlockError(error);
      const reason = reasonOf(failure.cause === undefined ? failure : toBlockError(failure.cause));
      throw new BlockError(failure.code, reason, { path: failure.path, cause: error });
    }
  };
}
