// `diskwright dd`: copies blocks of an image into a new one.

import { knownDriver } from '../../block/registry.js';
import { registerDrivers } from '../../drivers/index.js';
import { toBlockError } from '../../util/errors.js';
import { copyBlocks } from '../../workspace/dd.js';
import { BY_SIGNAL, FORCE_SHARE, FORMAT, HELP, IMAGE_OPTS, limitValue, OBJECT } from '../arguments.js';
import { creatableFormat, imageCreateOptions, QEMU_IMG_FORMAT } from '../create-options.js';
import { creationFailure, reportLeft } from '../creation-failure.js';
import { type ParsedOptions, UsageError } from '../getopt.js';
import { incompleteImage, NewImageFile } from '../new-image-file.js';
import { reportError, shown } from '../output.js';
import { meant } from '../own-hint.js';
import { Interrupt, imageArguments, openImage, reasonWithFile, withSession } from '../session.js';
import type { Verb } from '../verb.js';

const BLOCK_BYTES = 512;
const MAX_BLOCK_BYTES = 2 ** 31 - 1;
const NAMES = ['bs', 'count', 'if', 'of', 'skip'] as const;
type Name = (typeof NAMES)[number];

export const verb: Verb = {
  name: 'dd',
  synopsis: '[-f FMT | --image-opts] [-O OUTPUT_FMT] [-U] [bs=SIZE] [count=BLOCKS] [skip=BLOCKS] if=INPUT of=OUTPUT',
  description:
    'Copies blocks of the image INPUT into the new image OUTPUT. An existing file is replaced.\n\n' +
    'bs is the size of a block; the default is 512 bytes. The copy leaves out the first skip blocks of INPUT, and ends with its block number count: unlike that of ' +
    'dd, count includes the blocks that are skipped, as with qemu-img 7.2. The size of the new image is the size of what is copied, in whole sectors.\n\n' +
    'The name - is that of a file here, as with qemu-img: only diskwright convert reads standard input and writes standard output by it.',
  options: [
    { ...FORMAT, help: ({ all }) => `Format of INPUT: ${all}. Without it the image is probed.` },
    {
      key: 'output-format',
      short: 'O',
      argument: 'OUTPUT_FMT',
      namesNewFormat: true,
      help: ({ made }) => `Format of OUTPUT: ${made(QEMU_IMG_FORMAT)}.`,
    },
    { ...IMAGE_OPTS, help: 'INPUT is a string of options: driver=qcow2,file.filename=a.qcow2. Excludes -f.' },
    FORCE_SHARE,
    HELP,
    OBJECT,
  ],
  notes: [
    ['Exit codes', `0    done\n1    failed\n${BY_SIGNAL}`],
    ['After Ctrl-C or a failure', 'INPUT is unchanged. OUTPUT is incomplete: delete it or start again.'],
  ],
  examples: [
    ['diskwright dd if=disk.qcow2 of=mbr.raw count=1', 'the first sector'],
    ['diskwright dd -O qcow2 bs=1M skip=1 count=101 if=disk.raw of=part.qcow2', '100 MiB from the second MiB on'],
  ],
  run,
};

async function run(options: ParsedOptions): Promise<number> {
  const { input, output, sizes } = operandsIn(options.positional);
  const how = imageArguments(options);
  if (input === undefined || output === undefined) throw new UsageError('Must specify both input and output files');
  const format = options.get('output-format') ?? QEMU_IMG_FORMAT;
  return withSession(options.all('object'), async (session) => {
    // As qemu-img, which lets others write to a raw image meanwhile.
    const source = await openImage(session, input, how);
    registerDrivers();
    if (knownDriver(format) === null) throw new UsageError('Unknown file format');
    creatableFormat(format);
    const blockBytes = sizes.bs ?? BLOCK_BYTES;
    const end = Math.min(source.length, blockBytes * (sizes.count ?? Number.MAX_SAFE_INTEGER));
    const skip = blockBytes * (sizes.skip ?? 0);
    // As qemu-img, which makes an empty image then, and succeeds.
    if (skip > end) reportError(`${input}: cannot skip to specified offset`);
    const offset = Math.min(end, skip);
    const interrupt = new Interrupt(session);
    const file = new NewImageFile(output);
    const incomplete = incompleteImage(output);
    let stage = 'create' as 'create' | 'copy';
    interrupt.atOnce = () => `'${shown(input)}' is unchanged; ${file.state()}`;
    try {
      await copyBlocks(session.graph, {
        source,
        offset,
        length: end - offset,
        target: output,
        options: imageCreateOptions(format, new Map([['size', String(end - offset)]])),
        open: (name, layer) => openImage(session, String(name), { ...layer, writable: true }),
        signal: interrupt.signal,
        onStage: (next) => {
          stage = next;
          interrupt.atOnce = null;
        },
      });
      return 0;
    } catch (error) {
      const failure = toBlockError(error);
      if (failure.code === 'cancelled') {
        const state = stage === 'create' ? file.state() : incomplete;
        reportError(`Cancelled. '${shown(input)}' is unchanged; ${state}`);
        return interrupt.cancelledCode;
      }
      if (stage === 'create') {
        reportError(`${output}: error while creating output image: ${creationFailure(output, format, error)}`);
        reportLeft(file.left(error));
      } else {
        reportError(`error while copying: ${reasonWithFile(failure)}`);
        reportLeft(incomplete);
      }
      return 1;
    }
  });
}

interface Operands {
  input?: string;
  output?: string;
  /** `bs` in bytes, the others in blocks. */
  sizes: { bs?: number; count?: number; skip?: number };
}

/** The operands `name=value`, each checked as it comes; of those that are given twice, the last one counts. Throws `UsageError`. */
function operandsIn(words: readonly string[]): Operands {
  const found: Operands = { sizes: {} };
  for (const word of words) {
    const equals = word.indexOf('=');
    const name = (equals < 0 ? word : word.slice(0, equals)) as Name;
    if (equals < 0 || !NAMES.includes(name)) {
      throw new UsageError(`unrecognized operand ${name}`, false, meant(name, NAMES));
    }
    const value = word.slice(equals + 1);
    if (name === 'if') found.input = value;
    else if (name === 'of') found.output = value;
    else found.sizes[name] = name === 'bs' ? limitValue(value, name, 1, MAX_BLOCK_BYTES) : limitValue(value, name);
  }
  return found;
}
