// `diskwright create`: creates an empty image, or an overlay of another.

import { createImage, imageTarget } from '../../block/create.js';
import { hasBackingFiles } from '../../block/registry.js';
import { BlockError, toBlockError } from '../../util/errors.js';
import { inspectBacking } from '../../workspace/create.js';
import { BY_SIGNAL, HELP, OBJECT, QUIET, sizeValue } from '../arguments.js';
import { BreakOff } from '../break-off.js';
import {
  asksForOptionHelp,
  type CreateValues,
  creatableFormat,
  fileCreateOptions,
  formattingLine,
  imageCreateOptions,
  makesDisk,
  optionHelp,
  parseCreateOptions,
  QEMU_IMG_FORMAT,
  withSize,
} from '../create-options.js';
import { creationFailure, reportLeft } from '../creation-failure.js';
import { type ParsedOptions, UsageError } from '../getopt.js';
import { NewImageFile } from '../new-image-file.js';
import { reportError, write, writeMessage } from '../output.js';
import { ONE_BY_ONE, openImage, reasonOf, type Session, withSession } from '../session.js';
import type { Verb } from '../verb.js';

export const verb: Verb = {
  name: 'create',
  laterOperands: [],
  synopsis: '[-f FMT] [-b BACKING_FILE -F BACKING_FMT] [-u] [-o OPTIONS] [-q] FILENAME [SIZE]',
  description:
    'Creates a new image. An existing file is replaced.\n\n' +
    'With -b the image is an overlay: it has the content of the backing file until it is written to. Writes never change the backing file. ' +
    'A relative BACKING_FILE is resolved from the folder of FILENAME. Without SIZE the overlay is as large as its backing file.',
  options: [
    {
      key: 'format',
      short: 'f',
      argument: 'FMT',
      namesNewFormat: true,
      help: ({ made }) => `${made(QEMU_IMG_FORMAT)}, whatever the file is called.`,
    },
    { key: 'backing', short: 'b', argument: 'BACKING_FILE', help: 'Create an overlay of this image.' },
    {
      key: 'backing-format',
      short: 'F',
      argument: 'BACKING_FMT',
      help: 'Format of the backing file; required with -b.',
    },
    { key: 'unsafe', short: 'u', help: 'Do not open the backing file; SIZE is required then.' },
    {
      key: 'options',
      short: 'o',
      argument: 'OPTIONS',
      help: 'Options of the format, name=value,...; "-o help" lists them. May be given several times.',
    },
    QUIET,
    HELP,
    OBJECT,
  ],
  notes: [
    ['Exit codes', `0    the image was created\n1    failed\n${BY_SIGNAL}`],
    [
      'After Ctrl-C or a failure',
      'After a failure, a file that was not there before is removed. After Ctrl-C it stays, and is incomplete. A file that was there before may have lost its content.',
    ],
  ],
  examples: [
    ['diskwright create -f qcow2 disk.qcow2 20G', 'an empty disk of 20 GiB, in a file of less than 200 KiB'],
    ['diskwright create -f qcow2 -b disk.qcow2 -F qcow2 snap.qcow2', 'an overlay'],
    ['diskwright create -f qcow2 -o cluster_size=2M,preallocation=metadata big.qcow2 1T', 'for large sequential files'],
  ],
  run,
};

const SAME_FILE = 'Error: Trying to create an image with the same filename as the backing file';
const NO_BACKING_FORMAT = 'Backing file specified without backing format';

async function run(options: ParsedOptions): Promise<number> {
  const format = options.get('format') ?? QEMU_IMG_FORMAT;
  const texts = options.all('options');
  if (asksForOptionHelp(texts)) {
    write(optionHelp(creatableFormat(format), options.positional[0] ?? null));
    return 0;
  }
  const [filename, sizeText, extra] = options.positional;
  if (filename === undefined) throw new UsageError('Expecting image file name', true);
  const size = sizeText === undefined ? undefined : sizeValue(sizeText, 'image size');
  if (extra !== undefined) throw new UsageError(`Unexpected argument: ${extra}`, true);
  const values = valuesOf(options, format, filename, size);
  const backing = values.get('backing_file');
  return withSession(
    options.all('object'),
    async (session) => {
      // The format of a file that is not opened cannot be found out, and an image without it would be probed.
      if (backing !== undefined && options.has('unsafe') && !values.has('backing_fmt')) {
        throw new UsageError(`${filename}: ${NO_BACKING_FORMAT}`);
      }
      if (backing !== undefined && !options.has('unsafe')) {
        const found = await backingSize(session, filename, backing, values);
        if (found === null) return 1;
        if (!values.has('size')) values.set('size', String(found));
      }
      if (!values.has('size') && makesDisk(format, values)) {
        throw new UsageError(`${filename}: Image creation needs a size parameter`);
      }
      checkName(filename);
      if (!options.has('quiet')) write(formattingLine(filename, format, values));
      const file = new NewImageFile(filename);
      session.listeners.push(new BreakOff(() => file.state()));
      try {
        const wanted = imageCreateOptions(format, withSize(values, 0));
        await createImage(session.graph, filename, wanted, fileCreateOptions(values));
      } catch (error) {
        reportError(`${filename}: ${creationFailure(filename, format, error)}`);
        reportLeft(file.left(error));
        return 1;
      }
      return 0;
    },
    // As for resize: a signal is heard while space is reserved.
    (values.get('preallocation') ?? 'off') === 'off' ? ONE_BY_ONE : {},
  );
}

/** As `imageTarget`, with the name in front of the message. Of an empty name, qemu-img says at the attempt that it cannot be created. */
function checkName(filename: string): void {
  if (filename === '') return;
  try {
    imageTarget(filename);
  } catch (error) {
    const { code, reason } = toBlockError(error);
    throw BlockError.at(filename, code, reason, { cause: error });
  }
}

/** The create options from all sources: `-o`, `-b`, `-F` and the size. Throws `UsageError`, whose message names the image, as qemu-img's do. */
function valuesOf(options: ParsedOptions, format: string, filename: string, size: number | undefined): CreateValues {
  try {
    const values = parseCreateOptions(creatableFormat(format), options.all('options'), filename);
    if (size !== undefined) {
      if (values.has('size')) throw new UsageError('The image size must be specified only once');
      values.set('size', String(size));
    }
    const backing = options.get('backing');
    const backingFormat = options.get('backing-format');
    if (!hasBackingFiles(format) && (backing ?? backingFormat) !== undefined) {
      const what = backing === undefined ? 'Backing file format' : 'Backing file';
      throw new UsageError(`${what} not supported for file format '${format}'`);
    }
    if (backing !== undefined) values.set('backing_file', backing);
    if (backingFormat !== undefined) values.set('backing_fmt', backingFormat);
    if (values.get('backing_file') === filename) throw new UsageError(SAME_FILE);
    if (values.get('backing_file') === '') throw new UsageError('Expected backing file name, got empty string');
    return values;
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    throw new UsageError([`${filename}: ${error.lines[0]}`, ...error.lines.slice(1)], error.hint, error.after);
  }
}

/** Size of the backing file; null after its failure has been reported. */
async function backingSize(
  session: Session,
  filename: string,
  backing: string,
  values: CreateValues,
): Promise<number | null> {
  const format = values.get('backing_fmt');
  try {
    // Others may be writing to the backing file: only its size is read, and whether its own chain can be opened.
    const { size, detected, isTarget } = await inspectBacking(
      session.graph,
      filename,
      { name: backing, format },
      (name, referrer) => openImage(session, name, { format, forceShare: true, referrer, onlyHeader: true }),
    );
    if (detected !== null) {
      reportError(`${filename}: ${NO_BACKING_FORMAT}`);
      writeMessage(`Detected format of ${detected}.`);
      return null;
    }
    if (!isTarget) return size;
    reportError(`${filename}: ${SAME_FILE}`);
    return null;
  } catch (error) {
    const failure = toBlockError(error);
    const reason = failure.cause === undefined ? failure : toBlockError(failure.cause);
    // What we have to say beside it (who holds the file, what to do) comes after the words that qemu-img has.
    const [first, ...further] = reasonOf(reason).split('\n');
    reportError(`${filename}: ${first}`);
    writeMessage('Could not open backing image.');
    for (const line of further) writeMessage(line);
    return null;
  }
}
