// The `-o` options of `create` and `convert`: qemu-img's names, each image format's own, and what they become.

import type { ImageCreateOptions } from '../block/create.js';
import type { BlockdevDriver } from '../schema/generated/types.js';
import { parseKeyval } from '../schema/keyval.js';
import { validate } from '../schema/validate.js';
import { MAX_BYTES, parseWholeNumber, sizeOfOption, UINT64_MAX } from '../util/size.js';
import { UsageError } from './getopt.js';
import { shown as shownName } from './output.js';

type ValueKind = 'str' | 'size' | 'num' | 'bool (on/off)';

interface CreateOption {
  name: string;
  kind: ValueKind;
  help: string;
  /** Name in `BlockdevCreateOptions`; null where it becomes something else, or only its default is supported. */
  qapi: string | null;
}

/** In the order in which qemu-img lists them; `*` marks what is not supported but as it is by default. */
const QCOW2: readonly CreateOption[] = [
  { name: 'backing_file', kind: 'str', help: 'File name of a base image', qapi: 'backing-file' },
  { name: 'backing_fmt', kind: 'str', help: 'Image format of the base image', qapi: 'backing-fmt' },
  { name: 'cluster_size', kind: 'size', help: 'qcow2 cluster size', qapi: 'cluster-size' },
  { name: 'compat', kind: 'str', help: 'Compatibility level (v2 [0.10] or v3 [1.1])', qapi: 'version' },
  {
    name: 'compression_type',
    kind: 'str',
    help: 'Compression method used for image cluster compression',
    qapi: 'compression-type',
  },
  { name: 'data_file_raw', kind: 'bool (on/off)', help: 'Not supported yet: off only', qapi: null },
  { name: 'encryption', kind: 'bool (on/off)', help: 'Not supported yet: off only', qapi: null },
  { name: 'extended_l2', kind: 'bool (on/off)', help: 'Not supported yet: off only', qapi: null },
  { name: 'lazy_refcounts', kind: 'bool (on/off)', help: 'Not supported yet: off only', qapi: null },
  {
    name: 'preallocation',
    kind: 'str',
    help: 'Preallocation mode (allowed values: off, metadata, falloc, full)',
    qapi: 'preallocation',
  },
  { name: 'refcount_bits', kind: 'num', help: 'Width of a reference count entry in bits', qapi: 'refcount-bits' },
  { name: 'size', kind: 'size', help: 'Virtual disk size', qapi: 'size' },
];

const RAW: readonly CreateOption[] = [
  {
    name: 'preallocation',
    kind: 'str',
    help: 'Preallocation mode (allowed values: off, falloc, full)',
    qapi: 'preallocation',
  },
  { name: 'size', kind: 'size', help: 'Virtual disk size', qapi: 'size' },
];

/** qemu-img's options that no image can be made with yet. */
const REFUSED = ['data_file', 'extent_size_hint', 'nocow'];

const FORMATS: Readonly<Record<string, readonly CreateOption[]>> = { qcow2: QCOW2, raw: RAW };

/** The order and the defaults of qemu-img's "Formatting" line. */
const SHOWN: Readonly<Record<string, readonly (readonly [name: string, preset?: string])[]>> = {
  qcow2: [
    ['encryption'],
    ['cluster_size', '65536'],
    ['extended_l2', 'off'],
    ['preallocation'],
    ['compression_type', 'zlib'],
    ['size'],
    ['compat'],
    ['backing_file'],
    ['backing_fmt'],
    ['data_file_raw'],
    ['lazy_refcounts', 'off'],
    ['refcount_bits', '16'],
  ],
  raw: [['size'], ['preallocation']],
};

/** What was given with `-o` (and `-b`, `-F`, the size), by qemu-img's names. Sizes are in bytes. */
export type CreateValues = Map<string, string>;

/** Throws `UsageError` where no such format can be created. */
export function creatableFormat(name: string): string {
  if (!Object.hasOwn(FORMATS, name)) throw new UsageError(`Unknown file format '${name}'`);
  return name;
}

/** Is the help of `-o` asked for? Throws `UsageError` for text that is no list of options. */
export function asksForOptionHelp(texts: readonly string[]): boolean {
  for (const text of texts) {
    const comma = /,*$/.exec(text)![0].length % 2 === 1;
    if (text === '' || text.startsWith(',') || comma) throw new UsageError(`Invalid option list: ${text}`);
  }
  return texts.some((text) => text.split(',').some((word) => word === 'help' || word === '?'));
}

/** qemu-img's lines; without a file name it does not know which protocol's options there may be, too. */
export function optionHelp(format: string, named: boolean): string {
  const lines = FORMATS[format].map(({ name, kind, help }) => `  ${`${name}=<${kind}>`.padEnd(22)} - ${help}`);
  if (named) return `Supported options:\n${lines.join('\n')}\n`;
  const more = 'The protocol level may support further options.\nSpecify the target filename to include those options.';
  return `Supported ${format} options:\n${lines.join('\n')}\n\n${more}\n`;
}

/** Reads `-o` strings. Throws `UsageError` for a name or a value that the format does not have. */
export function parseCreateOptions(format: string, texts: readonly string[]): CreateValues {
  const values: CreateValues = new Map();
  for (const text of texts) {
    for (const [name, value] of Object.entries(flat(text))) {
      if (REFUSED.includes(name) || name.startsWith('encrypt.')) {
        throw new UsageError(`option '${name}' is not supported yet`);
      }
      const option = FORMATS[format].find((candidate) => candidate.name === name);
      if (option === undefined) throw new UsageError(`Invalid parameter '${name}'`);
      values.set(name, checkedValue(option, value));
    }
  }
  return values;
}

function flat(text: string): Record<string, string> {
  // The names have no dots but those of "encrypt.", which is refused as a whole.
  const parsed = parseKeyval(text);
  return Object.fromEntries(
    Object.entries(parsed).map(([name, value]) => [
      typeof value === 'object' && value !== null ? `${name}.${Object.keys(value)[0]}` : name,
      String(value),
    ]),
  );
}

function checkedValue({ name, kind, qapi }: CreateOption, value: string): string {
  if (kind === 'size') return String(sizeOf(name, value));
  if (kind === 'num') return String(numberOf(name, value));
  if (kind !== 'bool (on/off)') return value;
  if (value !== 'on' && value !== 'off') throw new UsageError(`Parameter '${name}' expects 'on' or 'off'`);
  if (qapi === null && value === 'on') throw new UsageError(`option '${name}=on' is not supported yet`);
  return value;
}

/** No format takes a cluster of more than 2^53 bytes: what is beyond is refused as such. */
function sizeOf(name: string, text: string): bigint {
  let size: bigint;
  try {
    size = sizeOfOption(name, text);
  } catch (error) {
    const [line, ...after] = (error as Error).message.split('\n');
    throw new UsageError(line, false, after);
  }
  if (size <= MAX_BYTES || name !== 'size') return size;
  throw new UsageError(`Image sizes beyond ${MAX_BYTES} bytes (2^53 - 1) are not supported`);
}

/** As the C library reads it: what is negative is a very large number. */
function numberOf(name: string, text: string): bigint {
  const number = parseWholeNumber(text);
  if (number === null) throw new UsageError(`Parameter '${name}' expects a number`);
  if (number > UINT64_MAX || number < -UINT64_MAX) {
    throw new UsageError(`Value '${text}' is too large for parameter '${name}'`);
  }
  return BigInt.asUintN(64, number);
}

/** `Formatting 'disk', fmt=qcow2 cluster_size=65536 ...` */
export function formattingLine(filename: string, format: string, values: CreateValues): string {
  const shown = SHOWN[format].flatMap(([name, preset]) => {
    const value = values.get(name) ?? preset;
    return value === undefined ? [] : [`${name}=${shownName(value.replaceAll(',', ',,'))}`];
  });
  return `Formatting '${shownName(filename)}', fmt=${format} ${shown.join(' ')}\n`;
}

/** What the drivers are given. `size` is in `values`. Throws `invalid-argument` in QMP's words. */
export function imageCreateOptions(format: string, values: CreateValues): ImageCreateOptions {
  const options: Record<string, unknown> = { driver: format };
  for (const { name, kind, qapi } of FORMATS[format]) {
    const value = values.get(name);
    if (value === undefined || qapi === null) continue;
    options[qapi] = kind === 'size' || kind === 'num' ? exact(value) : value;
  }
  if (options['version'] !== undefined) options['version'] = versionOf(String(options['version']));
  // The file is known to the one who makes it.
  const { file: _, ...rest } = validate('BlockdevCreateOptions', { ...options, file: 'file' }) as { file: string } & {
    driver: BlockdevDriver;
  };
  return rest as ImageCreateOptions;
}

/** Numbers beyond 2^53 are beyond every limit that there is. */
function exact(value: string): number {
  return Math.min(Number(value), Number.MAX_SAFE_INTEGER);
}

function versionOf(compat: string): string {
  return { '0.10': 'v2', '1.1': 'v3' }[compat] ?? compat;
}
