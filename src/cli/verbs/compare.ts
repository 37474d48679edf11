// `diskwright compare`: compares the content of two images.

import type { CompareOptions, CompareResult } from '../../block/compare.js';
import { toBlockError } from '../../util/errors.js';
import { type ComparedImage, type CompareWatch, compareImages } from '../../workspace/compare.js';
import {
  BY_SIGNAL,
  type CacheMode,
  cacheMode,
  FORCE_SHARE,
  FORMAT,
  HELP,
  IMAGE_OPTS,
  OBJECT,
  QUIET,
  SOURCE_CACHE,
} from '../arguments.js';
import { type ParsedOptions, UsageError } from '../getopt.js';
import { reportError, reportFailure, write } from '../output.js';
import {
  openProgress,
  PROGRESS,
  PROGRESS_BAR,
  type ProgressKind,
  type ProgressView,
  progressKind,
} from '../progress.js';
import { ratedState } from '../rate.js';
import {
  type ImageArguments,
  Interrupt,
  imageArguments,
  opener,
  reasonWithFile,
  type Session,
  withSession,
} from '../session.js';
import type { Verb } from '../verb.js';

const EXIT_DIFFERENT = 1;
const EXIT_OPEN_FAILED = 2;
const EXIT_READ_FAILED = 4;

export const verb: Verb = {
  name: 'compare',
  synopsis: '[-f FMT] [-F FMT] [--image-opts] [-T CACHE] [-p] [-q] [-s] [-U] FILENAME1 FILENAME2',
  description:
    'Compares the content of two images, which may differ in format and layout. A range without data reads as zeroes. ' +
    'Images of different size are identical if the rest of the larger one reads as zeroes.',
  options: [
    { ...FORMAT, help: 'Format of FILENAME1. Without it the image is probed.' },
    { key: 'format2', short: 'F', argument: 'FMT', help: 'Format of FILENAME2. Without it the image is probed.' },
    { ...IMAGE_OPTS, help: 'Both names are strings of options. Excludes -f and -F.' },
    { key: 'strict', short: 's', help: 'The sizes, and which parts are allocated, must be the same too.' },
    SOURCE_CACHE,
    PROGRESS_BAR,
    PROGRESS,
    QUIET,
    FORCE_SHARE,
    HELP,
    OBJECT,
  ],
  notes: [
    [
      'Exit codes',
      `0    the images are identical\n1    they differ, or the options are wrong\n2    an image could not be opened\n4    data or metadata could not be read\n${BY_SIGNAL}`,
    ],
  ],
  examples: [
    ['diskwright compare disk.qcow2 disk.raw', 'after a conversion'],
    ['diskwright compare -q a.qcow2 b.qcow2 && echo same', 'in a script'],
  ],
  // 1 says that the images differ.
  failureCode: EXIT_OPEN_FAILED,
  run,
};

async function run(options: ParsedOptions): Promise<number> {
  const quiet = options.has('quiet');
  const kind = progressKind(options);
  if (options.positional.length !== 2) throw new UsageError('Expecting two image file names', true);
  const cache = sourceCache(options);
  if (cache === null) return EXIT_OPEN_FAILED;
  const how = { ...imageArguments(options), cache };
  const [first, second] = options.positional;
  return withSession(options.all('object'), async (session) => {
    const images = [
      { image: first, options: how },
      { image: second, options: { ...how, format: options.get('format2') } },
    ] as const;
    return compare(session, images, how, { strict: options.has('strict'), quiet, kind });
  });
}

/** Parses `-T`. Null after a mistake has been reported: qemu-img's exit code for it is that of an image that cannot be opened. */
function sourceCache(options: ParsedOptions): CacheMode | null {
  try {
    return cacheMode(options, 'source-cache', 'source cache', 'writeback');
  } catch (error) {
    openFailed(error);
    return null;
  }
}

function openFailed(error: unknown): number {
  reportFailure(error);
  return EXIT_OPEN_FAILED;
}

async function compare(
  session: Session,
  [first, second]: readonly [ComparedImage, ComparedImage],
  images: ImageArguments,
  how: { strict: boolean; quiet: boolean; kind: ProgressKind },
): Promise<number> {
  const interrupt = new Interrupt(session, true);
  // Nothing is shown before both images are open.
  let view: ProgressView | null = null;
  let started = 0;
  let failed = '';
  const settings: CompareOptions = {
    strict: how.strict,
    signal: interrupt.signal,
    onProgress: (current, total, moved) =>
      view?.update(ratedState(session.host.clock.now() - started, { current, total, moved })),
  };
  const watch: CompareWatch = {
    onOpen: (total) => {
      interrupt.opened();
      started = session.host.clock.now();
      view = openProgress(how.kind);
      view.update({ current: 0, total });
    },
    onFault: (filename) => {
      failed = filename;
    },
  };
  try {
    const result = await compareImages(session.graph, first, second, settings, watch, opener(session, images));
    finish(result, view!, how);
    return result.identical ? 0 : EXIT_DIFFERENT;
  } catch (error) {
    // `openImage` has refused what was typed for an image: with qemu-img's exit code, no image was opened.
    if (error instanceof UsageError) return openFailed(error);
    const failure = toBlockError(error);
    const cancelled = failure.code === 'cancelled';
    (view as ProgressView | null)?.end({ event: cancelled ? 'cancelled' : 'failed', error: failure.message });
    if (cancelled) {
      reportError('Cancelled. The images were only read.');
      return interrupt.cancelledCode;
    }
    if (view === null) return openFailed(error);
    const where = failure.guestOffset === undefined ? '' : ` offset ${failure.guestOffset} of ${failed}`;
    reportError(`Error while reading${where}: ${reasonWithFile(failure)}`);
    return EXIT_READ_FAILED;
  }
}

/** Prints the result. qemu-img prints it after the last percentage, on the same line; a bar is ended before it. */
function finish(result: CompareResult, view: ProgressView, how: { quiet: boolean; kind: ProgressKind }): void {
  const end = (): void => view.end({ event: 'completed', ...result }, result.identical);
  if (how.kind !== 'percent') end();
  describeResult(result, (text) => {
    if (!how.quiet && !view.json) write(`${text}\n`);
  });
  if (how.kind === 'percent') end();
}

/** Calls `say` with the lines of the result, in qemu-img's words. */
function describeResult(result: CompareResult, say: (text: string) => void): void {
  const { difference, offset, sizesDiffer, behindEnd } = result;
  if (difference === 'size') {
    say('Strict mode: Image size mismatch!');
  } else if (difference === 'status') {
    say(`Strict mode: Offset ${offset} block status mismatch!`);
  } else {
    // qemu-img warns only after it has found the common part to be identical.
    if (sizesDiffer && (difference === undefined || behindEnd)) say('Warning: Image size mismatch!');
    say(difference === 'content' ? `Content mismatch at offset ${offset}!` : 'Images are identical.');
  }
}
