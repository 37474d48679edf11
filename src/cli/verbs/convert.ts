// `diskwright convert`: copies an image into a new one.

import type { DirtyBitmap } from '../../block/bitmap.js';
import { checkCompresses } from '../../block/compression.js';
import type { BlockNode } from '../../block/node/node.js';
import { refuseCopyRange } from '../../jobs/convert.js';
import { wholeContent } from '../../jobs/copy-plan.js';
import { dataAhead } from '../../jobs/data-ahead.js';
import { toBlockError } from '../../util/errors.js';
import { SECTOR_BYTES } from '../../util/numbers.js';
import { bitmapsToCopy, storedBitmaps } from '../../workspace/bitmap-copy.js';
import { type ConvertStage, convertImage } from '../../workspace/convert.js';
import { joinImages } from '../../workspace/joined.js';
import {
  BY_SIGNAL,
  type CacheMode,
  cacheMode,
  cacheOption,
  checkedOption,
  FORCE_SHARE,
  FORMAT,
  HELP,
  IMAGE_OPTS,
  limitOption,
  OBJECT,
  QUIET,
  RATE,
  SOURCE_CACHE,
  sizeValue,
  targetCache,
} from '../arguments.js';
import { copyFailed, reportCancelled, reportNotCopied, stateOfFiles } from '../convert/report.js';
import {
  checkStandardOutput,
  convertFromStandard,
  convertToStandard,
  isStandard,
  sourcesOf,
} from '../convert/standard.js';
import {
  asksForOptionHelp,
  type CreateValues,
  creatableDriver,
  creatableFormat,
  fileCreateOptions,
  imageCreateOptions,
  isOn,
  optionHelp,
  parseCreateOptions,
  QEMU_IMG_FORMAT,
  withSize,
} from '../create-options.js';
import { type ParsedOptions, UsageError } from '../getopt.js';
import { NewImageFile } from '../new-image-file.js';
import { giveOutputAway, PROGRAM, reportError, reportWarning, write, writeMessage } from '../output.js';
import {
  openProgress,
  PROGRESS,
  PROGRESS_BAR,
  type ProgressKind,
  type ProgressView,
  progressKind,
  tellsTime,
} from '../progress.js';
import { ratedState } from '../rate.js';
import {
  type ImageArguments,
  Interrupt,
  imageArguments,
  openImage,
  reasonWithFile,
  refuseTwoFormats,
  type Session,
  withSession,
} from '../session.js';
import { showSnapshot, snapshotParam } from '../snapshot-param.js';
import type { Verb } from '../verb.js';

const MAX_SPARSE_BYTES = 16 << 20;
/** The name of something that is no file, and has no options of one. */
const NO_FILE = 'null-co://';

export const verb: Verb = {
  name: 'convert',
  synopsis:
    '[-f FMT] [-O OUTPUT_FMT] [-c] [-o OPTIONS] [-B BACKING_FILE -F BACKING_FMT] [-p] FILENAME... OUTPUT_FILENAME',
  description:
    'Copies the content of an image (with its whole backing chain) into a new image of any format. Unallocated and zero ranges of the source ' +
    'take no space in the target.\n\n' +
    'Several images are joined: the target has the content of all, one behind the other.\n\n' +
    'An existing target file is replaced. With -n, the target must exist and is written to without being created.\n\n' +
    'The target - is standard output, a file or a pipe: raw, with all zeroes; qcow2, for which FILENAME is read twice so that the tables come first; or vmdk with -o subformat=streamOptimized. ' +
    'The source - is standard input: a file that it is redirected from, or else raw bytes, whose end the target grows to; ' +
    'a target of a format that does not grow needs -o size=SIZE. A file that is called - is ./-.',
  options: [
    FORMAT,
    {
      key: 'output-format',
      short: 'O',
      argument: 'OUTPUT_FMT',
      namesNewFormat: true,
      help: ({ made }) => `Format of the target: ${made(QEMU_IMG_FORMAT)}, whatever the file is called.`,
    },
    { key: 'compress', short: 'c', help: ({ compressed }) => `Compress the target (${compressed}).` },
    {
      key: 'options',
      short: 'o',
      argument: 'OPTIONS',
      help: 'Options of the target format, name=value,...; "-o help" lists them. May be given several times.',
    },
    {
      key: 'backing',
      short: 'B',
      argument: 'BACKING_FILE',
      help: 'Make the target an overlay of this image: only data that differs from it is copied. If it is the backing file of FILENAME, it need not be read for that.',
    },
    { key: 'backing-format', short: 'F', argument: 'BACKING_FMT', help: 'Format of BACKING_FILE; required with -B.' },
    {
      key: 'sparse',
      short: 'S',
      argument: 'SIZE',
      help: 'Runs of at least so many zero bytes are not written (default 4k). 0: all zeroes are written.',
    },
    cacheOption('unsafe, as with qemu-img: the target is not flushed to the disk'),
    SOURCE_CACHE,
    RATE,
    { key: 'parallel', short: 'm', argument: 'COUNT', help: 'Requests in flight, 1 to 16 (default 4).' },
    {
      key: 'out-of-order',
      short: 'W',
      help: 'The target may be written out of order. Accepted as in qemu-img; Diskwright decides by itself.',
    },
    {
      key: 'copy-range',
      short: 'C',
      help: 'Share blocks with the source where the file system can (reflink). Excludes -S, -c and --salvage.',
    },
    { key: 'no-create', short: 'n', help: 'Do not create the target: it exists.' },
    { key: 'target-is-zero', long: 'target-is-zero', help: 'With -n: the target reads as zeroes.' },
    {
      key: 'salvage',
      long: 'salvage',
      help: 'Ranges of the source that cannot be read become zeroes in the target, and are reported.',
    },
    IMAGE_OPTS,
    {
      key: 'target-image-opts',
      long: 'target-image-opts',
      help: 'With -n: OUTPUT_FILENAME is a string of options. Excludes -O.',
    },
    {
      key: 'snapshot',
      short: 'l',
      argument: 'SNAPSHOT_PARAM',
      help: 'Copy an internal snapshot, with its own size: ID, name, or snapshot.id=ID,snapshot.name=NAME.',
    },
    {
      key: 'bitmaps',
      long: 'bitmaps',
      help: 'Copy the persistent bitmaps of FILENAME, too; not those of its backing files. Refused where one is inconsistent.',
    },
    {
      key: 'skip-broken-bitmaps',
      long: 'skip-broken-bitmaps',
      help: 'With --bitmaps: leave out those that are inconsistent, with a warning.',
    },
    FORCE_SHARE,
    PROGRESS_BAR,
    PROGRESS,
    QUIET,
    HELP,
    OBJECT,
  ],
  notes: [
    ['Exit codes', `0    done\n1    failed\n${BY_SIGNAL}`],
    ['After Ctrl-C or a failure', 'The source is unchanged. The target is incomplete: delete it or start again.'],
  ],
  examples: [
    ['diskwright convert -p -O qcow2 disk.raw disk.qcow2', 'with a progress bar'],
    ['diskwright convert -c -O qcow2 -o compression_type=zstd disk.qcow2 small.qcow2', 'compressed'],
    [
      "diskwright convert -O qcow2 disk.raw - | ssh backup 'cat > disk.qcow2'",
      'to another machine, without a copy here',
    ],
    ['diskwright convert -O qcow2 part1.raw part2.raw disk.qcow2', 'the parts of a disk, joined'],
    [
      'diskwright convert --progress=json -r 50M -O raw disk.qcow2 /dev/vg/disk -n',
      'to a device, 50 MiB/s, for a program',
    ],
  ],
  run,
};

interface Plan {
  /** One or more; none where the source is standard input. */
  sources: readonly string[];
  /** As `-l` has it. */
  snapshot: string | undefined;
  target: string;
  /** The source is standard input, which is read in order; `isRaw`: it was named so. */
  fromStandard: boolean;
  isRaw: boolean;
  /** The target is standard output. */
  toStandard: boolean;
  format: string;
  values: CreateValues;
  create: boolean;
  targetImageOpts: boolean;
  compress: boolean;
  copyRange: boolean;
  sparseSize: number | undefined;
  parallel: number | undefined;
  speed: number;
  targetIsZero: boolean | undefined;
  salvage: boolean;
  /** Which bitmaps the target gets. */
  bitmaps: 'none' | 'all' | 'consistent';
  quiet: boolean;
  cache: CacheMode;
  sourceCache: CacheMode;
  progress: ProgressKind;
}

async function run(options: ParsedOptions): Promise<number> {
  const format = options.get('output-format') ?? QEMU_IMG_FORMAT;
  if (asksForOptionHelp(options.all('options'))) {
    write(optionHelp(creatableFormat(format), options.positional.length > 1 ? options.positional.at(-1)! : null));
    return 0;
  }
  const plan = planOf(options, format);
  const targetArguments = { imageOpts: plan.targetImageOpts, format: options.get('output-format') };
  const convertAll = async (session: Session): Promise<number> => {
    if (plan.fromStandard) {
      refuseTwoFormats(targetArguments);
      return convertFromStandard(session, plan);
    }
    const how: ImageArguments = { ...imageArguments(options), cache: plan.sourceCache, purpose: 'copy' };
    const images: BlockNode[] = [];
    for (const name of plan.sources) images.push(await openImage(session, name, how));
    const several = images.length > 1;
    if (several && plan.snapshot !== undefined) throw new UsageError('No support for concatenating multiple snapshot');
    const source = several ? joinImages(session.graph, images) : images[0];
    // As in qemu-img, those of the disk also where a snapshot of it is copied.
    const stored = storedBitmaps(source);
    if (plan.snapshot !== undefined) await showSnapshot(source, snapshotParam(plan.snapshot));
    if (!plan.targetImageOpts) creatableFormat(plan.format);
    if (several && plan.bitmaps !== 'none') throw new UsageError('Copying bitmaps only possible with single source');
    const bitmaps = plan.bitmaps === 'none' ? undefined : chosenBitmaps(source, stored, plan);
    // As qemu-img, where the target would be opened.
    if (bitmaps !== null) refuseTwoFormats(targetArguments);
    if (plan.toStandard) return convertToStandard(session, source, plan);
    return bitmaps === null ? 1 : convertTo(session, source, plan, bitmaps);
  };
  return withSession(options.all('object'), convertAll, { readsInput: plan.fromStandard });
}

/** The bitmaps that the target gets, and those that it does not. */
interface ChosenBitmaps {
  copied: DirtyBitmap[];
  skipped: DirtyBitmap[];
}

/** Null after an error was reported. */
function chosenBitmaps(source: BlockNode, stored: readonly DirtyBitmap[], { bitmaps }: Plan): ChosenBitmaps | null {
  const skipped: DirtyBitmap[] = [];
  const skip = (bitmap: DirtyBitmap) => skipped.push(bitmap);
  try {
    return { copied: bitmapsToCopy(source, stored, bitmaps === 'consistent' ? skip : undefined), skipped };
  } catch (error) {
    const { code, reason } = toBlockError(error);
    reportError(reason);
    if (code === 'bad-state') {
      writeMessage(`Try --skip-broken-bitmaps, or use '${PROGRAM} bitmap --remove' to delete it`);
    }
    return null;
  }
}

/** Checks everything that can be checked without opening an image. */
function planOf(options: ParsedOptions, format: string): Plan {
  const sparseSize = sparseOption(options);
  const speed = limitOption(options, 'speed', 'rate limit') ?? 0;
  const parallel = parallelOption(options);
  const compress = options.has('compress');
  const copyRange = options.has('copy-range');
  const salvage = options.has('salvage');
  refuseCopyRange({ copyRange, sparseSize, compress, salvage });
  const create = !options.has('no-create');
  const targetImageOpts = options.has('target-image-opts');
  const toStandard = isStandard(options.positional.at(-1) ?? '') && options.positional.length > 1;
  if (toStandard) {
    checkStandardOutput(options);
    giveOutputAway();
  }
  const progress = progressKind(options);
  if (options.has('skip-broken-bitmaps') && !options.has('bitmaps')) {
    throw new UsageError('Use of --skip-broken-bitmaps requires --bitmaps');
  }
  if (create && options.has('target-is-zero')) throw new UsageError('--target-is-zero requires use of -n flag');
  if (targetImageOpts && create) throw new UsageError('--target-image-opts requires use of -n flag');
  if (!create && options.has('options')) throw new UsageError('-o has no effect when skipping image creation');
  if (options.positional.length < 2) throw new UsageError('Must specify image file name');
  const sources = sourcesOf(options, options.positional.slice(0, -1), toStandard);
  const target = options.positional.at(-1)!;
  const made = creatableDriver(format);
  const values =
    create && made !== null
      ? parseCreateOptions(format, options.all('options'), toStandard ? NO_FILE : target)
      : new Map();
  if (compress && (values.has('encrypt.format') || isOn(values.get('encryption')))) {
    throw new UsageError('Compression and encryption not supported at the same time');
  }
  const backing = options.get('backing');
  if (backing !== undefined) values.set('backing_file', backing);
  const backingFormat = options.get('backing-format');
  if (backingFormat !== undefined) values.set('backing_fmt', backingFormat);
  if ((backing ?? backingFormat) !== undefined && create && made !== null && !made.hasBacking) {
    const what = backing === undefined ? 'Backing file format' : 'Backing file';
    throw new UsageError(`${what} not supported for file format '${format}'`);
  }
  if (sources !== null && sources.length > 1 && (backing !== undefined || values.has('backing_file'))) {
    throw new UsageError(
      'Having a backing file for the target makes no sense when concatenating multiple input images',
    );
  }
  if (values.has('backing_file') && !values.has('backing_fmt')) {
    throw new UsageError('Use of backing file requires explicit backing format');
  }
  if (compress && made !== null && !targetImageOpts) checkCompresses(made);
  const cache = targetCache(options, 'unsafe');
  return {
    toStandard,
    fromStandard: sources === null,
    isRaw: options.has('format'),
    sources: sources ?? [],
    snapshot: options.get('snapshot'),
    target,
    format,
    values,
    create,
    targetImageOpts,
    compress,
    copyRange,
    sparseSize,
    parallel,
    speed,
    targetIsZero: options.has('target-is-zero') || undefined,
    salvage,
    bitmaps: !options.has('bitmaps') ? 'none' : options.has('skip-broken-bitmaps') ? 'consistent' : 'all',
    quiet: options.has('quiet'),
    cache,
    sourceCache: cacheMode(options, 'source-cache', 'source cache', 'writeback'),
    progress,
  };
}

function sparseOption(options: ParsedOptions): number | undefined {
  return checkedOption(options, 'sparse', sparseValue);
}

function sparseValue(text: string): number {
  const size = sizeValue(text, 'buffer size for sparse output');
  if (size % SECTOR_BYTES !== 0 || size > MAX_SPARSE_BYTES) {
    throw new UsageError(
      `Invalid buffer size for sparse output specified. Valid sizes are multiples of ${SECTOR_BYTES} up to ` +
        `${MAX_SPARSE_BYTES}. Select 0 to disable sparse detection (fully allocates output).`,
    );
  }
  return size;
}

function parallelOption(options: ParsedOptions): number | undefined {
  return checkedOption(options, 'parallel', parallelValue);
}

function parallelValue(text: string): number {
  const count = /^\d+$/.test(text) ? Number(text) : 0;
  if (count < 1 || count > 16) {
    throw new UsageError('Invalid number of coroutines. Allowed number of coroutines is between 1 and 16');
  }
  return count;
}

/** Creates the target (unless `-n` was given) and copies. Resolves with the exit code, after a failure has been reported in the words of its step. */
async function convertTo(
  session: Session,
  source: BlockNode,
  plan: Plan,
  bitmaps: ChosenBitmaps | undefined,
): Promise<number> {
  const { clock } = session.host;
  // Before there is a target: from then on the state of the files has to be said.
  const interrupt = new Interrupt(session);
  const file = new NewImageFile(plan.target);
  let stage = 'options' as ConvertStage;
  let copy: { view: ProgressView; startedMs: number } | null = null;
  let side = 'writing';
  try {
    const data = await dataToCopy(source, plan, interrupt.signal);
    await convertImage(session.graph, {
      source,
      target: plan.target,
      format: plan.targetImageOpts ? undefined : plan.format,
      cache: plan.cache,
      fileOptions: fileCreateOptions(plan.values),
      create: plan.create ? (size) => imageCreateOptions(plan.format, withSize(plan.values, size)) : null,
      targetIsZero: plan.targetIsZero,
      bitmaps: bitmaps?.copied,
      open: (_, how) => openImage(session, plan.target, { ...how, imageOpts: plan.targetImageOpts, writable: true }),
      sparseSize: plan.sparseSize,
      compress: plan.compress,
      fua: plan.cache.writethrough || undefined,
      copyRange: plan.copyRange,
      parallel: plan.parallel,
      salvage: plan.salvage,
      onSalvaged: (error, { offset }) => {
        if (!plan.quiet) reportWarning(`warning: error while reading offset ${offset}: ${reasonWithFile(error)}`);
      },
      onFault: ({ isRead }) => {
        side = isRead ? 'reading' : 'writing';
      },
      speed: plan.speed,
      warn: plan.quiet ? undefined : session.graph.warn,
      signal: interrupt.signal,
      onStage: (next) => {
        stage = next;
        interrupt.atOnce = next === 'create' ? () => stateOfFiles(plan.sources, file.state()) : null;
        if (next !== 'copy') return;
        for (const { name } of bitmaps?.skipped ?? []) {
          reportWarning(`warning: Skipping inconsistent bitmap '${name}'`);
        }
        copy = { view: openProgress(plan.progress), startedMs: clock.now() };
        copy.view.update({ current: 0, total: source.length });
      },
      onProgress: (current, total, moved) => {
        if (copy === null) return;
        const hints = { limit: plan.speed, data };
        copy.view.update(ratedState(clock.now() - copy.startedMs, { current, total, moved }, hints));
      },
    });
    const { view } = copy!;
    session.afterClose.push(() => view.end({ event: 'completed' }));
    return 0;
  } catch (error) {
    if (stage === 'copy' && copy !== null) return copyFailed(copy, plan, side, toBlockError(error), interrupt, file);
    if (interrupt.signal.aborted && toBlockError(error).code === 'cancelled')
      return reportCancelled(plan, stage, interrupt, file);
    return reportNotCopied(plan, stage, error, file);
  }
}

/** Bytes that are copied in all, where the remaining time is told and they can be known. What an overlay as the target leaves out is not known before. */
async function dataToCopy(source: BlockNode, plan: Plan, signal: AbortSignal): Promise<number | undefined> {
  if (!tellsTime(plan.progress) || plan.values.has('backing_file')) return undefined;
  return plan.sparseSize === 0 ? source.length : dataAhead(source, null, wholeContent, signal);
}
