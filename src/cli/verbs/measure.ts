// `diskwright measure`: how large an image would become.

import type { BlockMeasureInfo } from '../../schema/generated/types.js';
import { BlockError, toBlockError } from '../../util/errors.js';
import { copiedBitmaps, type Measured, measureImage } from '../../workspace/measure.js';
import {
  checkedOption,
  FORCE_SHARE,
  FORMAT,
  HELP,
  IMAGE_OPTS,
  OBJECT,
  OUTPUT,
  outputFormat,
  sizeValue,
} from '../arguments.js';
import {
  asksForOptionHelp,
  type CreateValues,
  checkMeasurable,
  creatableFormat,
  imageCreateOptions,
  optionHelp,
  parseCreateOptions,
  QEMU_IMG_FORMAT,
} from '../create-options.js';
import { type ParsedOptions, UsageError } from '../getopt.js';
import { prettyJson } from '../json.js';
import { program, QEMU_IMG, shown, write } from '../output.js';
import {
  forEachImage,
  type ImageArguments,
  imageArguments,
  ONE_BY_ONE,
  openImage,
  reasonWithFile,
  releaseImage,
  type Session,
  withSession,
} from '../session.js';
import { showSnapshot, snapshotParam } from '../snapshot-param.js';
import type { Verb } from '../verb.js';

const MODES = ['off', 'metadata', 'falloc', 'full'];

export const verb: Verb = {
  name: 'measure',
  synopsis:
    '[-O OUTPUT_FMT] [-o OPTIONS] [--output=FORMAT] {--size SIZE | [-f FMT | --image-opts] [-l SNAPSHOT] [-U] FILENAME...}',
  description:
    'Says how large a file must be for a new image: an empty one of SIZE, or one that has the content of FILENAME, as convert makes it. Nothing is ' +
    'written.\n\n' +
    'The required size is that of the new image at first; the fully allocated size, once all of the disk is written, without internal snapshots and ' +
    'bitmaps. The bitmaps size comes on top where --bitmaps copies them; it is left out where FILENAME or the new image cannot have any.\n\n' +
    'With several images, each human output is preceded by the image name, and the JSON output is an array, which has null for an image that cannot be ' +
    'measured.',
  options: [
    {
      key: 'output-format',
      short: 'O',
      argument: 'OUTPUT_FMT',
      namesNewFormat: true,
      help: ({ made }) => `Format of the new image: ${made(QEMU_IMG_FORMAT)}.`,
    },
    {
      key: 'options',
      short: 'o',
      argument: 'OPTIONS',
      help: 'Options of the new image, name=value,...; "-o help" lists them. May be given several times.',
    },
    { key: 'size', long: 'size', argument: 'SIZE', help: 'Size of the disk of a new image without content.' },
    FORMAT,
    IMAGE_OPTS,
    {
      key: 'snapshot',
      short: 'l',
      argument: 'SNAPSHOT',
      help: 'Measure an internal snapshot: ID, name, or snapshot.id=ID,snapshot.name=NAME.',
    },
    OUTPUT,
    FORCE_SHARE,
    HELP,
    OBJECT,
  ],
  notes: [['Exit codes', '0  done\n1  failed']],
  examples: [
    ['diskwright measure -O qcow2 disk.raw', 'before a conversion: how large must a logical volume be?'],
    ['diskwright measure -O qcow2 -o cluster_size=2M --size 1T', 'of an empty image'],
  ],
  run,
};

async function run(options: ParsedOptions): Promise<number> {
  const json = outputFormat(options) === 'json';
  const size = checkedOption(options, 'size', (text) => sizeValue(text, 'image size'));
  const texts = options.all('options');
  const format = options.get('output-format') ?? QEMU_IMG_FORMAT;
  if (asksForOptionHelp(texts)) {
    write(optionHelp(creatableFormat(format), options.positional[0] ?? null));
    return 0;
  }
  const images = options.positional;
  if (images.length > 1 && program() === QEMU_IMG) throw new UsageError('At most one filename argument is allowed.');
  const how = imageArguments(options);
  const snapshot = options.get('snapshot');
  const param = snapshot === undefined ? undefined : snapshotParam(snapshot);
  if (images.length === 0 && (how.imageOpts || how.format !== undefined || param !== undefined)) {
    throw new UsageError('--image-opts, -f, and -l require a filename argument.');
  }
  if (images.length === 0 && size === undefined) {
    throw new UsageError('Either --size N or one filename must be specified.');
  }
  if (images.length > 0 && size !== undefined) {
    throw new UsageError('--size N cannot be used together with a filename.');
  }
  return withSession(
    options.all('object'),
    async (session) => {
      if (size !== undefined) {
        report(await measure(session, { format, values: valuesOf(format, texts) }, null, size), json);
        return 0;
      }
      const found: (BlockMeasureInfo | null)[] = [];
      const codes = await forEachImage(images, async (image) => {
        found.push(null);
        // As qemu-img, which looks at the image first.
        const info = await measureOne(session, image, how, param, (source) =>
          measure(session, { format, values: valuesOf(format, texts) }, source, source.node.length),
        );
        found[found.length - 1] = info;
        if (json) return 0;
        if (images.length > 1) write(`${found.length === 1 ? '' : '\n'}${shown(image)}:\n`);
        report(info, false);
        return 0;
      });
      if (json && images.length > 1)
        write(`${prettyJson(found.map((info) => (info === null ? null : inOrder(info))))}\n`);
      else if (json) report(found[0]!, true);
      return Math.max(...codes);
    },
    ONE_BY_ONE,
  );
}

async function measureOne(
  session: Session,
  image: string,
  how: ImageArguments,
  snapshot: ReturnType<typeof snapshotParam> | undefined,
  action: (source: Measured) => Promise<BlockMeasureInfo>,
): Promise<BlockMeasureInfo> {
  const node = await openImage(session, image, how);
  try {
    const bitmaps = copiedBitmaps(node);
    if (snapshot !== undefined) await showSnapshot(node, snapshot);
    return await action({ node, bitmaps });
  } finally {
    await releaseImage(session, node);
  }
}

/** Throws `UsageError`. */
function valuesOf(format: string, texts: readonly string[]): CreateValues {
  checkMeasurable(format);
  try {
    return parseCreateOptions(format, texts, '-');
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    throw new UsageError(error.lines, error.hint, [
      ...error.after,
      `${program()}: Invalid options for file format '${format}'`,
    ]);
  }
}

/** The size among the options counts for nothing, as in qemu-img. */
async function measure(
  { graph }: Session,
  { format, values }: { format: string; values: CreateValues },
  source: Measured | null,
  size: number,
): Promise<BlockMeasureInfo> {
  const mode = values.get('preallocation') ?? 'off';
  if (!MODES.includes(mode)) throw new UsageError(`invalid parameter value: ${mode}`);
  try {
    const options = imageCreateOptions(format, new Map(values).set('size', String(size)));
    return await measureImage(graph, options, source);
  } catch (error) {
    const failure = toBlockError(error);
    throw new BlockError(failure.code, reasonWithFile(failure), { cause: error });
  }
}

function report(info: BlockMeasureInfo, json: boolean): void {
  if (json) {
    write(`${prettyJson(inOrder(info))}\n`);
    return;
  }
  const { required, bitmaps, 'fully-allocated': full } = info;
  write(`required size: ${required}\nfully allocated size: ${full}\n`);
  if (bitmaps !== undefined) write(`bitmaps size: ${bitmaps}\n`);
}

function inOrder({ bitmaps, required, 'fully-allocated': full }: BlockMeasureInfo): object {
  return { bitmaps, required, 'fully-allocated': full };
}
