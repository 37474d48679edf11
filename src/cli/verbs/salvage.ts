// `diskwright salvage`: writes what can be read of a damaged image into a new one, and lists what is lost.

import { checkCompresses } from '../../block/compression.js';
import { isWhole, reasonText, type SalvageHints, type SalvageRange, type SalvageReport } from '../../block/salvage.js';
import { toBlockError } from '../../util/errors.js';
import { formatSize } from '../../util/size.js';
import { type SalvageStage, salvageImage } from '../../workspace/salvage.js';
import {
  BY_SIGNAL,
  cacheMode,
  cacheOption,
  FORCE_SHARE,
  HELP,
  IMAGE_OPTS,
  limitOption,
  OBJECT,
  OUTPUT,
  outputFormat,
  QUIET,
  RATE,
  SOURCE_CACHE,
  sizeValue,
  targetCache,
} from '../arguments.js';
import { reportNotCopied, stateOfFiles } from '../convert/report.js';
import {
  asksForOptionHelp,
  type CreateValues,
  creatableDriver,
  creatableFormat,
  fileCreateOptions,
  imageCreateOptions,
  optionHelp,
  parseCreateOptions,
  QEMU_IMG_FORMAT,
  withSize,
} from '../create-options.js';
import { creationFailure, reportLeft } from '../creation-failure.js';
import { type ParsedOptions, UsageError } from '../getopt.js';
import { kebabNames, prettyJson } from '../json.js';
import { incompleteImage, NewImageFile } from '../new-image-file.js';
import { reportError, reportWarning, shown, write } from '../output.js';
import { openProgress, PROGRESS, PROGRESS_BAR, type ProgressView, progressKind } from '../progress.js';
import { ratedState } from '../rate.js';
import { Interrupt, imageArguments, openImage, reasonWithFile, withSession } from '../session.js';
import { snapshotParam } from '../snapshot-param.js';
import type { Verb } from '../verb.js';

const EXIT_LOST = 2;

export const verb: Verb = {
  name: 'salvage',
  synopsis: '[-f FMT] [-O OUTPUT_FMT] [-o OPTIONS] [-l SNAPSHOT_PARAM] [--output=FORMAT] [-p] FILENAME OUTPUT_FILENAME',
  description:
    'Reads what can be read of a damaged qcow2 image, writes it into a new image, and lists what is lost: which part of the disk, why, and where the ' +
    'damage is in the file. FILENAME is only read: it is not repaired. Everything that is lost reads as zeroes in the new image.\n\n' +
    'Each entry of the tables is judged alone, so that a damaged one costs no more than what it describes. Where the header is lost, or does not fit the ' +
    'tables, they are found by their shape: that reads the whole file. Refcounts are not needed.\n\n' +
    'What was read, but is contradicted by something else, is listed as doubtful. Tables that nothing points to are listed with their place in the file: ' +
    'who knows which part of the disk one describes can say so with --l2-table. An existing OUTPUT_FILENAME is replaced.',
  options: [
    {
      key: 'format',
      short: 'f',
      argument: 'FMT',
      help: 'Format of the damaged image: qcow2. Without it the image is probed, and is qcow2 where it looks like nothing.',
    },
    {
      key: 'output-format',
      short: 'O',
      argument: 'OUTPUT_FMT',
      namesNewFormat: true,
      help: ({ made }) => `Format of the new image: ${made(QEMU_IMG_FORMAT)}, whatever the file is called.`,
    },
    { key: 'compress', short: 'c', help: ({ compressed }) => `Compress the new image (${compressed}).` },
    {
      key: 'options',
      short: 'o',
      argument: 'OPTIONS',
      help: 'Options of the new image, name=value,...; "-o help" lists them. May be given several times.',
    },
    {
      key: 'snapshot',
      short: 'l',
      argument: 'SNAPSHOT_PARAM',
      help: 'Salvage an internal snapshot in place of the disk: ID, name, or snapshot.id=ID,snapshot.name=NAME.',
    },
    {
      key: 'cluster-size',
      long: 'cluster-size',
      argument: 'BYTES',
      help: 'The cluster size of the damaged image, in place of what its header says.',
    },
    { key: 'size', long: 'size', argument: 'BYTES', help: 'The size of the disk, in place of what the header says.' },
    {
      key: 'l1-offset',
      long: 'l1-offset',
      argument: 'BYTES',
      help: 'Where the L1 table lies in the file, in place of what the header says.',
    },
    {
      key: 'l2-table',
      long: 'l2-table',
      argument: 'OFFSET=BYTES',
      help: 'The L2 table that lies at BYTES in the file describes the disk from OFFSET on. May be given several times.',
    },
    {
      key: 'no-backing',
      long: 'no-backing',
      help: 'Do not read the backing file: what is in it is listed as lost. This happens by itself where it cannot be opened.',
    },
    OUTPUT,
    cacheOption('writeback'),
    SOURCE_CACHE,
    RATE,
    IMAGE_OPTS,
    FORCE_SHARE,
    PROGRESS_BAR,
    PROGRESS,
    QUIET,
    HELP,
    OBJECT,
  ],
  notes: [
    [
      'Exit codes',
      `0    everything was read\n1    failed: OUTPUT_FILENAME is incomplete, or was not made\n2    something is lost or doubtful, or had to be assumed\n${BY_SIGNAL}`,
    ],
  ],
  examples: [
    ['diskwright salvage -O qcow2 broken.qcow2 saved.qcow2', 'what can be read, and a list of what cannot'],
    ['diskwright salvage --output=json broken.qcow2 saved.raw', 'the list for a program'],
    [
      'diskwright salvage --cluster-size=64k --size=20G headless.qcow2 saved.raw',
      'with what is known of a lost header',
    ],
  ],
  run,
};

interface Plan {
  image: string;
  target: string;
  format: string;
  values: CreateValues;
  hints: SalvageHints;
}

async function run(options: ParsedOptions): Promise<number> {
  const format = options.get('output-format') ?? QEMU_IMG_FORMAT;
  if (asksForOptionHelp(options.all('options'))) {
    write(optionHelp(creatableFormat(format), options.positional[1] ?? null));
    return 0;
  }
  if (options.positional.length !== 2) throw new UsageError('Expecting the damaged image and the new one', true);
  const [image, target] = options.positional;
  if (target === '') throw new UsageError('The new image needs a name');
  const json = outputFormat(options) === 'json';
  const quiet = options.has('quiet');
  const kind = progressKind(options);
  if (json && kind !== 'none') throw new UsageError('--output=json and -p or --progress are mutually exclusive');
  const made = creatableDriver(creatableFormat(format));
  const compress = options.has('compress');
  if (compress && made !== null) checkCompresses(made);
  const values = parseCreateOptions(format, options.all('options'), target);
  if (values.has('backing_file'))
    throw new UsageError('The new image has no backing file: it gets all that can be read');
  const plan: Plan = { image, target, format, values, hints: hintsOf(options) };
  const speed = limitOption(options, 'speed', 'rate limit') ?? 0;
  const cache = targetCache(options, 'writeback');
  const sourceCache = cacheMode(options, 'source-cache', 'source cache', 'writeback');
  return withSession(options.all('object'), async (session) => {
    const { clock } = session.host;
    const interrupt = new Interrupt(session, true);
    const file = new NewImageFile(target);
    let stage = 'survey' as SalvageStage;
    let copyStartedMs = 0;
    let view: ProgressView | null = null;
    const shownView = (): ProgressView => {
      view ??= openProgress(kind);
      return view;
    };
    try {
      const report = await salvageImage(session.graph, {
        image,
        how: { ...imageArguments(options), cache: sourceCache, backing: !options.has('no-backing') },
        hints: plan.hints,
        openDamaged: async (_, how) => {
          const imageOpts = options.has('image-opts');
          const damaged = await openImage(session, image, { ...how, imageOpts, purpose: 'copy' });
          interrupt.opened();
          return damaged;
        },
        target,
        format,
        cache,
        fileOptions: fileCreateOptions(values),
        create: (size) => imageCreateOptions(format, withSize(values, size)),
        open: (_, how) => openImage(session, target, { ...how, writable: true }),
        compress,
        fua: cache.writethrough || undefined,
        speed,
        warn: quiet ? undefined : session.graph.warn,
        signal: interrupt.signal,
        onStage: (next) => {
          stage = next;
          interrupt.atOnce = next === 'create' ? () => `'${shown(image)}' is unchanged; ${file.state()}` : null;
          if (next === 'copy') copyStartedMs = clock.now();
        },
        // The percentages of qemu-img are those of the copy.
        onSurvey: (current, total) => {
          if (kind !== 'percent') shownView().update({ current, total, status: 'survey', notes: ['survey'] });
        },
        onProgress: (current, total, moved) => {
          const copied = { current, total, moved };
          shownView().update({ ...ratedState(clock.now() - copyStartedMs, copied, { limit: speed }), status: 'copy' });
        },
      });
      const opened = shownView();
      session.afterClose.push(() => {
        opened.end({ event: 'completed', ...report });
        if (!isWhole(report)) reportWarning(`'${image}': ${remainder(report)}`);
        if (json) write(`${prettyJson(kebabNames({ filename: image, ...report }))}\n`);
        else if (!quiet && !opened.json) write(reportText(report, image));
      });
      return isWhole(report) ? 0 : EXIT_LOST;
    } catch (error) {
      return failed(plan, stage, { view, file }, error, interrupt);
    }
  });
}

function hintsOf(options: ParsedOptions): SalvageHints {
  const bytes = (key: string, what: string): number | undefined => {
    const text = options.get(key);
    return text === undefined ? undefined : sizeValue(text, what);
  };
  const tables = options.all('l2-table').map((text) => {
    const [guest, host, ...rest] = text.split('=');
    if (host === undefined || rest.length > 0) {
      throw new UsageError('--l2-table must be used with OFFSET=BYTES as argument.');
    }
    return { guest: sizeValue(guest, 'offset in the disk'), host: sizeValue(host, 'offset in the file') };
  });
  const snapshot = options.get('snapshot');
  return {
    clusterSize: bytes('cluster-size', 'cluster size'),
    size: bytes('size', 'image size'),
    l1Offset: bytes('l1-offset', 'offset of the L1 table'),
    tables,
    snapshot: snapshot === undefined ? undefined : snapshotParam(snapshot),
  };
}

/** Reports a failure, and returns the exit code; or throws an error that has the right message itself. */
function failed(
  { image, target, format }: Plan,
  stage: SalvageStage,
  { view, file }: { view: ProgressView | null; file: NewImageFile },
  error: unknown,
  interrupt: Interrupt,
): number {
  // `openImage` has refused what was typed: nothing was opened, and nothing is shown yet.
  if (error instanceof UsageError) throw error;
  const failure = toBlockError(error);
  const interrupted = interrupt.signal.aborted && failure.code === 'cancelled';
  view?.end({ event: interrupted ? 'cancelled' : 'failed', error: failure.message });
  const isMade = stage === 'create' || stage === 'open' || stage === 'hold' || stage === 'copy' || stage === 'close';
  if (interrupted) {
    const state = isMade ? incompleteImage(target) : file.state(false);
    reportError(`Cancelled. ${stateOfFiles([image], state)}`);
    return interrupt.cancelledCode;
  }
  switch (stage) {
    case 'options':
    case 'create':
      reportError(`${target}: error while making ${format}: ${creationFailure(target, format, error)}`);
      reportLeft(file.left(error));
      return 1;
    case 'copy': {
      const where = failure.guestOffset === undefined ? '' : ` at byte ${failure.guestOffset}`;
      reportError(`error while writing${where}: ${reasonWithFile(failure)}`);
      reportLeft(incompleteImage(target));
      return 1;
    }
    case 'survey':
      throw error;
    default:
      return reportNotCopied({ sources: [image], target, format }, stage, error, file);
  }
}

/** Why the exit code is not 0, in one line. */
function remainder({ lost, lostBytes, doubtful, doubtfulBytes, orphans, assumptions }: SalvageReport): string {
  const count = (n: number, what: string): string => `${n} ${what}${n === 1 ? '' : 's'}`;
  const parts: string[] = [];
  if (lost.length > 0) parts.push(`${count(lost.length, 'range')} (${formatSize(lostBytes)}) lost`);
  if (doubtful.length > 0) parts.push(`${count(doubtful.length, 'range')} (${formatSize(doubtfulBytes)}) doubtful`);
  if (orphans.length > 0) parts.push(`${count(orphans.length, 'table')} without a place`);
  if (assumptions.length > 0) parts.push(count(assumptions.length, 'assumption'));
  return parts.join(', ');
}

function reportText(report: SalvageReport, image: string): string {
  const { size, lost, lostBytes, doubtful, doubtfulBytes, orphans, unreferencedClusters, assumptions, notes } = report;
  const lines = [...assumptions, ...notes];
  for (const { hostOffset, bytes } of orphans) {
    lines.push(`A table at ${hostOffset} of the file, for ${formatSize(bytes)} of the disk: nothing says which.`);
  }
  if (unreferencedClusters !== null && unreferencedClusters > 0) {
    lines.push(
      `${unreferencedClusters === 1 ? '1 cluster is' : `${unreferencedClusters} clusters are`} counted as used, and nothing points to ${unreferencedClusters === 1 ? 'it' : 'them'}: space that was lost, or data whose place in the disk is lost.`,
    );
  }
  const ranges = [
    ...lost.map((range) => ({ ...range, what: 'lost' })),
    ...doubtful.map((range) => ({ ...range, what: 'doubtful' })),
  ].sort((a, b) => a.offset - b.offset);
  lines.push(...ranges.map(rangeText));
  const state =
    lostBytes + doubtfulBytes === 0
      ? `all of ${formatSize(size)} was read`
      : `${formatSize(lostBytes)} of ${formatSize(size)} lost, ${formatSize(doubtfulBytes)} doubtful`;
  lines.push(`${shown(image)}: ${state}`);
  return `${lines.join('\n')}\n`;
}

function rangeText({ offset, length, reason, hostOffset, what }: SalvageRange & { what: string }): string {
  const where = hostOffset === null ? '' : ` (${hostOffset} of the file)`;
  return `${offset}-${offset + length - 1} (${formatSize(length)}) ${what}: ${reasonText(reason)}${where}`;
}
