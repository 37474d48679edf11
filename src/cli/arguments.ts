// Options that several verbs share, and the parsers of their values. Errors have qemu-img's messages.

import type { BlockdevDiscardOptions } from '../schema/generated/types.js';
import { INT64_MAX, MAX_BYTES, parseSize } from '../util/size.js';
import type { OptionSpec, ParsedOptions } from './getopt.js';
import { UsageError } from './getopt.js';
import { program, QEMU_IMG } from './output.js';

/** Parses a size such as `50M`, of an image or a part of one. `what` names the value in messages: `image size`. Throws `UsageError`. */
export function sizeValue(text: string, what: string): number {
  const size = magnitude(text, what, 0, INT64_MAX);
  if (size <= MAX_BYTES) return Number(size);
  throw new UsageError(`Invalid ${what} specified. Sizes beyond ${MAX_BYTES} bytes (2^53 - 1) are not supported.`);
}

/** Parses the option `key`, a size that sets a limit: a value beyond the largest image becomes that size. Undefined: not given. Throws `UsageError`. */
export function limitOption(options: ParsedOptions, key: string, what: string): number | undefined {
  return checkedOption(options, key, (text) => limitValue(text, what));
}

/** The same for one text; refuses what is not from `least` to `most`. */
export function limitValue(text: string, what: string, least = 0, most: number | bigint = INT64_MAX): number {
  const size = magnitude(text, what, least, most);
  return Number(size < MAX_BYTES ? size : MAX_BYTES);
}

/** Checks each value of the option `key`, also those that a later one replaces, and returns the last. Undefined: not given. */
export function checkedOption<T>(options: ParsedOptions, key: string, check: (text: string) => T): T | undefined {
  return options.all(key).map(check).at(-1);
}

function magnitude(text: string, what: string, least: number, most: number | bigint): bigint {
  const size = parseSize(text);
  if (size === null) {
    throw new UsageError([
      `Invalid ${what} specified. You may use k, M, G, T, P or E suffixes for`,
      'kilobytes, megabytes, gigabytes, terabytes, petabytes and exabytes.',
    ]);
  }
  if (size >= least && size <= most) return size;
  throw new UsageError(`Invalid ${what} specified. Must be between ${least} and ${most}.`);
}

/** Parses the option `key`, which takes one of `choices`. Undefined: not given. Throws `UsageError`. */
export function choiceOption<T extends string>(
  options: ParsedOptions,
  key: string,
  choices: readonly T[],
): T | undefined {
  const text = options.get(key);
  if (text === undefined) return undefined;
  const found = choices.find((choice) => choice === text);
  if (found !== undefined) return found;
  throw new UsageError(`Parameter '${key}' does not accept value '${text}': use one of ${choices.join(', ')}`);
}

const OUTPUTS = ['human', 'json'] as const;

/** Parses `--output`. Throws `UsageError`. */
export function outputFormat(options: ParsedOptions): (typeof OUTPUTS)[number] {
  const text = options.get('output') ?? 'human';
  const found = OUTPUTS.find((one) => one === text);
  if (found === undefined) throw new UsageError('--output must be used with human or json as argument.');
  return found;
}

/** How the page cache is used (qemu-img's `-t` and `-T`). */
export interface CacheMode {
  direct: boolean;
  noFlush: boolean;
  /** Every write is flushed before it completes. */
  writethrough: boolean;
}

/** The engine for each mode of `aio`. The whole host runs on one engine; for `native` (Linux AIO) it is io_uring. */
export const AIO_ENGINES: Readonly<Record<string, 'threads' | 'io_uring'>> = {
  threads: 'threads',
  io_uring: 'io_uring',
  native: 'io_uring',
};

/** Why `native` is refused in a cache mode without `direct`. */
export const NATIVE_NEEDS_DIRECT =
  'aio=native was specified, but it requires cache.direct=on, which was not specified.';

export const CACHE_MODES: Readonly<Record<string, CacheMode>> = {
  none: { direct: true, noFlush: false, writethrough: false },
  off: { direct: true, noFlush: false, writethrough: false },
  writeback: { direct: false, noFlush: false, writethrough: false },
  writethrough: { direct: false, noFlush: false, writethrough: true },
  directsync: { direct: true, noFlush: false, writethrough: true },
  unsafe: { direct: false, noFlush: true, writethrough: false },
};

/** What becomes of discards, by the words of qemu-io and qemu-nbd. */
export const DISCARD_MODES: Readonly<Record<string, BlockdevDiscardOptions>> = {
  ignore: 'ignore',
  off: 'ignore',
  unmap: 'unmap',
  on: 'unmap',
};

/** Parses the option `key`, a cache mode; `preset` is its default. Messages call it `what`. Throws `UsageError`. */
export function cacheMode(options: ParsedOptions, key: string, what: string, preset: string): CacheMode {
  const text = options.get(key) ?? preset;
  if (!Object.hasOwn(CACHE_MODES, text)) throw new UsageError(`Invalid ${what} option: ${text}`);
  return CACHE_MODES[text];
}

/** Parses `-t`, the cache mode of the image that is written. Throws `UsageError`. */
export function targetCache(options: ParsedOptions, preset: string): CacheMode {
  return cacheMode(options, 'cache', 'cache', preset);
}

/** The file name, for a verb that takes one image. Throws `UsageError`. */
export function oneImage(options: ParsedOptions): string {
  if (options.positional.length !== 1) throw new UsageError('Expecting one image file name', true);
  return options.positional[0];
}

/** The file names, for a verb that takes several; as qemu-img, it takes one. Throws `UsageError`. */
export function someImages(options: ParsedOptions): readonly string[] {
  const images = options.positional;
  if (images.length === 0 || (images.length > 1 && program() === QEMU_IMG)) {
    throw new UsageError('Expecting one image file name', true);
  }
  return images;
}

// ---- options that several verbs have ---------------------------------------------------------------------------

export const HELP: OptionSpec = { key: 'help', short: 'h', long: 'help', help: 'Show this help and exit.' };
export const FORMAT: OptionSpec = {
  key: 'format',
  short: 'f',
  argument: 'FMT',
  help: ({ all }) => `Format of the image: ${all}. Without it the image is probed.`,
};
/** Some verbs have a long form of it. */
export const LONG_FORMAT: OptionSpec = { ...FORMAT, long: 'format' };
export const IMAGE_OPTS: OptionSpec = {
  key: 'image-opts',
  long: 'image-opts',
  help: 'FILENAME is a string of options: driver=qcow2,file.filename=a.qcow2. Excludes -f.',
};
export const FORCE_SHARE: OptionSpec = {
  key: 'force-share',
  short: 'U',
  long: 'force-share',
  help: 'Read an image that another process writes to. The content that is read may be inconsistent.',
};
export const OUTPUT: OptionSpec = {
  key: 'output',
  long: 'output',
  argument: 'FORMAT',
  values: OUTPUTS,
  help: 'human (default) or json.',
};
export const QUIET: OptionSpec = { key: 'quiet', short: 'q', help: 'Print errors only.' };
export const OBJECT: OptionSpec = {
  key: 'object',
  long: 'object',
  argument: 'TYPE,id=ID,...',
  help: 'Create an object that image options refer to: tls-creds-x509, tls-creds-psk or secret. May be given several times.',
};

/** `-t`, whose default is `preset`. */
export function cacheOption(
  preset: string,
  modes = Object.keys(CACHE_MODES).filter((name) => name !== 'off'),
): OptionSpec {
  return {
    key: 'cache',
    short: 't',
    argument: 'CACHE',
    values: modes,
    help: `Cache mode of the image that is written: ${modes.join(', ')}. Default: ${preset}.`,
  };
}
export const SOURCE_CACHE: OptionSpec = {
  key: 'source-cache',
  short: 'T',
  argument: 'CACHE',
  values: Object.keys(CACHE_MODES),
  help: 'Cache mode of the image that is read: none, writeback, writethrough, directsync or unsafe.',
};
export const RATE: OptionSpec = {
  key: 'speed',
  short: 'r',
  long: 'speed',
  own: 'long',
  argument: 'BYTES',
  help: 'Rate limit in bytes per second: 50M.',
};

/** Of a list of exit codes: what a shell says of a command that has died by a signal (`end-process.ts`). */
export const BY_SIGNAL = '130  ended by SIGINT (Ctrl-C); 143: by SIGTERM, 129: by SIGHUP';
