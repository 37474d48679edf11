// The ways to write down a node, all of which end in one type:
//
//   --blockdev     driver=qcow2,file.driver=file,file.filename=a   or   {"driver": "qcow2", ...}
//   file name      json:{"driver": "qcow2", "file.filename": "a"}
//   --image-opts   file.filename=a                        (driver left out: the image is probed)
//   library        { driver: 'qcow2', file: { driver: 'file', filename: 'a' } }

import { BlockError } from '../util/errors.js';
import type { BlockdevOptions, BlockdevOptionsBase, BlockdevRef, BlockdevRefOrNull } from './generated/types.js';
import { parseJson } from './json.js';
import { flatten, parseKeyval, unflatten } from './keyval.js';
import { childNames, LooseOptions, listNames, missingImage } from './loose-options.js';
import { refuseMisspelt, validate } from './validate.js';

/** What a driver that lies over a file has of its own. */
type OwnOptions<T> = T extends { file: BlockdevRef }
  ? Partial<Omit<T, keyof BlockdevOptionsBase | 'file' | 'backing'>>
  : never;

/** Options of a node whose format is to be probed from its content. Options of a format are valid only if that format is found. */
export type ProbedOptions = Omit<BlockdevOptionsBase, 'driver'> &
  OwnOptions<BlockdevOptions> & {
    driver?: undefined;
    file: BlockdevRef;
    backing?: BlockdevRefOrNull | ProbedOptions;
  };

/** Options that a program can open an image with: `driver` may be given or left out. */
export type ImageOptions = BlockdevOptions | ProbedOptions;

/**
 * Options as `blockdev-add` (an object) or `--blockdev` (a string: `key=value,...` with `driver` implied first, or JSON) take
 * them. Throws `invalid-argument` and `unknown-option`.
 */
export function parseBlockdevOptions(input: string | object): BlockdevOptions {
  if (typeof input !== 'string') return validate('BlockdevOptions', input);
  if (input.startsWith('{')) return validate('BlockdevOptions', parseJsonObject(input));
  return validate('BlockdevOptions', parseKeyval(input, 'driver'), { strings: true });
}

/** Options as `--image-opts` takes them: `driver` may be left out at each level. */
export function parseImageOptions(text: string): LooseOptions {
  return new LooseOptions(parseKeyval(text, 'file'), { strings: true });
}

/** Options as a program passes them: those of `blockdev-add`, but `driver` may be left out. Throws `invalid-argument` and `unknown-option`. */
export function checkImageOptions(options: object): LooseOptions {
  const how = { suggest: true };
  if (hasDrivers(options)) return new LooseOptions({ ...validate('BlockdevOptions', options, how) }, how);
  const { driver, file } = options as Record<string, unknown>;
  if (driver === undefined && file === undefined) {
    for (const missing of ['driver', 'file']) refuseMisspelt(options as Record<string, unknown>, [], missing);
    throw missingImage();
  }
  const loose = new LooseOptions(options as Record<string, unknown>, how);
  // The general options can be checked before a file is opened.
  loose.general();
  return loose;
}

/** True where each level names its driver: then all levels can be checked at once. */
function hasDrivers(options: object): boolean {
  const members = options as Record<string, unknown>;
  if (members['driver'] === undefined) return false;
  const children = [
    ...childNames().map((name) => members[name]),
    ...listNames().flatMap((name) => members[name] ?? []),
  ];
  return children.every((child) => typeof child !== 'object' || child === null || hasDrivers(child));
}

/** True for a file name that is options in JSON. */
export function isJsonFilename(filename: string): boolean {
  return filename.startsWith('json:');
}

/**
 * Options in a `json:{...}` file name. Keys may be dotted; numbers and switches may be given as text, and text as numbers and switches. Throws
 * `invalid-argument`.
 */
export function parseJsonFilename(filename: string): LooseOptions {
  return new LooseOptions(unflatten(flatten(jsonOfName(filename))), { strings: true });
}

function jsonOfName(filename: string): Record<string, unknown> {
  try {
    return parseJsonObject(filename.slice('json:'.length));
  } catch (error) {
    if (!(error instanceof BlockError)) throw error;
    throw new BlockError(error.code, `Could not parse the JSON options: ${error.message}`, { cause: error });
  }
}

/** The `json:{...}` file name of a node, spelled as QEMU spells it. */
export function formatJsonFilename(options: object): string {
  return `json:${formatJson(options)}`;
}

/** One level of JSON text with QEMU's blanks and order of keys. */
function formatJson(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(formatJson).join(', ')}]`;
  if (typeof value !== 'object' || value === null) return JSON.stringify(value);
  const members = Object.entries(value).filter(([, member]) => member !== undefined);
  members.sort(([a], [b]) => rank(a) - rank(b));
  return `{${members.map(([key, member]) => `${JSON.stringify(key)}: ${formatJson(member)}`).join(', ')}}`;
}

/** QEMU prints members in the order of its hash table, which is the same each time. This order was observed in its output. */
const PRINT_ORDER = [
  'throttle-group',
  'read-zeroes',
  'offset',
  'fat-type',
  'dir',
  'backing',
  'password-secret',
  'url',
  'cookie-secret',
  'proxy-username',
  'driver',
  'proxy-password-secret',
  'username',
  'cookie',
  'sslverify',
  'floppy',
  'label',
  'rw',
  'size',
  'file',
  'filename',
];

function rank(key: string): number {
  const index = PRINT_ORDER.indexOf(key);
  return index < 0 ? PRINT_ORDER.length : index;
}

/** Parses a JSON object. Throws `invalid-argument`, with QEMU's message, where the text is not one. */
export function parseJsonObject(text: string): Record<string, unknown> {
  const value = parseJson(text);
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new BlockError('invalid-argument', 'Invalid JSON object given');
  }
  return value as Record<string, unknown>;
}
