// `diskwright resize`: changes the size of an image.

import type { BlockNode } from '../../block/node/node.js';
import type { PreallocMode } from '../../schema/generated/types.js';
import { BlockError, toBlockError } from '../../util/errors.js';
import { MAX_BYTES, sizeOfOption } from '../../util/size.js';
import { resizeNode } from '../../workspace/resize.js';
import { BY_SIGNAL, checkedOption, FORMAT, HELP, IMAGE_OPTS, OBJECT, QUIET } from '../arguments.js';
import { BreakOff, leaksIn } from '../break-off.js';
import { type ParsedOptions, UsageError } from '../getopt.js';
import { reportError, reportWarning, shown, write } from '../output.js';
import { imageArguments, ONE_BY_ONE, openImage, reasonWithFile, withSession } from '../session.js';
import type { Verb } from '../verb.js';

const MODES: readonly PreallocMode[] = ['off', 'metadata', 'falloc', 'full'];

export const verb: Verb = {
  name: 'resize',
  laterOperands: [],
  synopsis: '[-f FMT] [--shrink] [--preallocation=MODE] [-q] FILENAME [+|-]SIZE',
  description: ({ resized, enlarged }) =>
    'Changes the size of an image: to SIZE, or with + or - by SIZE. What is new reads as zeroes.\n\n' +
    'What lies behind a smaller size is lost: that needs --shrink. Shrink the file systems and partitions in the image first, and ' +
    'enlarge them after the image has grown.\n\n' +
    `Images of ${resized} can be resized, those of ${enlarged} only grow, all others keep their size: "convert -o size=SIZE" makes a larger one.`,
  options: [
    FORMAT,
    { key: 'shrink', long: 'shrink', help: 'The image may become smaller: what lies behind the new size is lost.' },
    {
      key: 'preallocation',
      long: 'preallocation',
      argument: 'MODE',
      values: MODES,
      help: 'What is new is allocated: off (default), metadata, falloc or full.',
    },
    IMAGE_OPTS,
    QUIET,
    HELP,
    OBJECT,
  ],
  lastIsOperand: true,
  notes: [
    ['Exit codes', `0    the image has the new size\n1    failed\n${BY_SIGNAL}`],
    [
      'After Ctrl-C or a failure',
      'What takes less than a second is done, in order, after Ctrl-C. Otherwise the image has its old size or its new one, and what is in both reads as before. Bitmaps that are stored in it may be marked as in use, and can only be removed then. Space may be lost: "diskwright check -r leaks" gives it back.',
    ],
  ],
  examples: [
    ['diskwright resize disk.qcow2 +10G', '10 GiB more'],
    ['diskwright resize --shrink disk.qcow2 20G', 'no more than 20 GiB'],
  ],
  run,
};

const SHRINKS =
  "Shrinking an image will delete all data beyond the shrunken image's end. Before performing such an operation, make sure there is no important data there.";

function preallocationMode(text: string): PreallocMode {
  const found = MODES.find((mode) => mode === text);
  if (found === undefined) throw new UsageError(`Invalid preallocation mode '${text}'`);
  return found;
}

async function run(options: ParsedOptions): Promise<number> {
  const [filename, sizeText] = options.positional;
  const preallocation = checkedOption(options, 'preallocation', preallocationMode) ?? 'off';
  const how = imageArguments(options);
  if (options.positional.length !== 2) throw new UsageError('Expecting image file name and size', true);
  const sign = /^[+-]/.exec(sizeText)?.[0] ?? '';
  const bytes = sizeIn(sizeText.slice(sign.length));
  let opened: BlockNode | null = null;
  const state = (): string =>
    `'${shown(filename)}' has its old size or its new one, and what is in both reads as before; bitmaps that are stored in it may be marked as in use${leaksIn(opened)}`;
  const breakOff = new BreakOff(state, { inOrder: true });
  return withSession(
    options.all('object'),
    async (session) => {
      const node = await openImage(session, filename, { ...how, writable: true });
      opened = node;
      const size = sign === '' ? bytes : BigInt(node.length) + (sign === '+' ? bytes : -bytes);
      if (size <= 0n || size >= 2n ** 63n) throw new UsageError('New image size must be positive');
      if (size > MAX_BYTES) throw new UsageError(`Image sizes beyond ${MAX_BYTES} bytes (2^53 - 1) are not supported`);
      if (size <= node.length && preallocation !== 'off') {
        throw new UsageError('Preallocation can only be used for growing images');
      }
      if (size < node.length && !options.has('shrink')) {
        reportError('Use the --shrink option to perform a shrink operation.');
        reportWarning(`warning: ${SHRINKS}`);
        return 1;
      }
      breakOff.begin();
      try {
        await resizeNode(node, Number(size), { preallocation });
      } catch (error) {
        const failure = toBlockError(error);
        const reason = reasonWithFile(failure);
        // qemu-img takes this lock when it opens the image.
        const message = failure.code === 'locked' ? `Could not open '${shown(filename)}': ${reason}` : reason;
        throw new BlockError(failure.code, message, { cause: error });
      }
      if (!options.has('quiet')) session.afterClose.push(() => write('Image resized.\n'));
      return 0;
    },
    // The main thread has to hear of a signal while space is reserved, which may take long.
    { ...(preallocation === 'off' ? ONE_BY_ONE : {}), breakOff },
  );
}

function sizeIn(text: string): bigint {
  try {
    return sizeOfOption('size', text);
  } catch (error) {
    const [line, ...after] = (error as Error).message.split('\n');
    throw new UsageError(line, false, after);
  }
}
