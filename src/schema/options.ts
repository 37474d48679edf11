// The ways to write down a node, all of which end in one type:
//
//   --blockdev     driver=qcow2,file.driver=file,file.filename=a   or   {"driver": "qcow2", ...}
//   file name      json:{"driver": "qcow2", "file.filename": "a"}
//   --image-opts   file.filename=a                        (driver left out: the image is probed)
//   library        { driver: 'qcow2', file: { driver: 'file', filename: 'a' } }

import { BlockError } from '../util/errors.js';
import type { BlockdevOptions, BlockdevOptionsBase, BlockdevRef } from './generated/types.js';
import { flatten, type Nested, parseKeyval, unflatten } from './keyval.js';
import { withNbdServer } from './nbd-server.js';
import { type ValidateOptions, validate } from './validate.js';

/** Options of a node whose format is to be found out from its content. */
export type ProbedOptions = Omit<BlockdevOptionsBase, 'driver'> & { driver?: undefined; file: BlockdevRef };

/** What an image can be opened by: with a driver, or with `file` alone. */
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

/** Options as `--image-opts` takes them: `driver` may be left out, of the node and of its file. */
export function parseImageOptions(text: string): ImageOptions {
  return imageOptions(parseKeyval(text, 'file'));
}

/** Options as a program has them: those of `blockdev-add`, but `driver` may be left out. Throws `invalid-argument` and `unknown-option`. */
export function checkImageOptions(options: object): ImageOptions {
  if ('driver' in options) return validate('BlockdevOptions', options, { suggest: true });
  return probedOptions(options as Record<string, unknown>, { suggest: true });
}

/** True for a file name that is options in JSON. */
export function isJsonFilename(filename: string): boolean {
  return filename.startsWith('json:');
}

/** Options in a `json:{...}` file name; keys may be dotted, numbers and switches may be text. */
export function parseJsonFilename(filename: string): ImageOptions {
  return imageOptions(unflatten(flatten(parseJsonObject(filename.slice('json:'.length)))));
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

/** QEMU prints members in the order of its hash table, which is the same each time: seen on the options that it prints. */
const PRINT_ORDER = ['read-zeroes', 'offset', 'backing', 'driver', 'size', 'file', 'filename'];

function rank(key: string): number {
  const index = PRINT_ORDER.indexOf(key);
  return index < 0 ? PRINT_ORDER.length : index;
}

/** An object in JSON, with QEMU's words where it is none. Throws `invalid-argument`. */
export function parseJsonObject(text: string): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    const reason = text.trim() === '' ? 'Expecting a JSON value' : `JSON parse error, ${(error as Error).message}`;
    throw new BlockError('invalid-argument', `Could not parse the JSON options: ${reason}`, { cause: error });
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new BlockError('invalid-argument', 'Invalid JSON object given');
  }
  return value as Record<string, unknown>;
}

function imageOptions(nested: { [key: string]: Nested }): ImageOptions {
  const { driver } = nested;
  if (driver !== undefined) {
    return validate('BlockdevOptions', withFileDriver(nested), { strings: true });
  }
  return probedOptions(withFileDriver(nested), { strings: true });
}

function probedOptions(nested: Readonly<Record<string, unknown>>, how: ValidateOptions): ProbedOptions {
  if (nested['file'] === undefined) throw new BlockError('invalid-argument', 'Must specify either driver or file');
  // Validated as the one format that takes no option but the general ones; the driver is taken out again.
  for (const own of ['offset', 'size']) {
    if (nested[own] !== undefined) throw new BlockError('unknown-option', `Parameter '${own}' is unexpected`);
  }
  const probed = validate('BlockdevOptions', { ...nested, driver: 'raw' }, how);
  const { driver: _, ...rest } = probed as BlockdevOptions & { driver: 'raw' };
  return rest;
}

/** A `file` (and what lies below, and `backing`) that names only a file is driven by `file`; servers are written in the new way. */
function withFileDriver(nested: { [key: string]: Nested }): { [key: string]: Nested } {
  const result = { ...withNbdServer(nested) };
  const { file, backing } = nested;
  if (isGroup(file)) {
    result['file'] = withFileDriver(file['driver'] === undefined ? { driver: 'file', ...file } : file);
  }
  if (isGroup(backing)) result['backing'] = withFileDriver(backing);
  return result;
}

function isGroup(value: Nested | undefined): value is { [key: string]: Nested } {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
