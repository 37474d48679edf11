// Values of options that several verbs share, with qemu-img's words where they are wrong.

import { INT64_MAX, MAX_BYTES, parseSize } from '../util/size.js';
import type { OptionSpec, ParsedOptions } from './getopt.js';
import { UsageError } from './getopt.js';

/** A size such as `50M`, that an image or a piece of one is to have. `what` is named in the message: `image size`. */
export function sizeValue(text: string, what: string): number {
  const size = limitValue(text, what);
  if (size <= MAX_BYTES) return Number(size);
  throw new UsageError(`Invalid ${what} specified. Sizes beyond ${MAX_BYTES} bytes (2^53 - 1) are not supported.`);
}

/** The size under `key`, which only limits something: one that is beyond all images is as good as the largest. Undefined: not given. */
export function limitOption(options: ParsedOptions, key: string, what: string): number | undefined {
  const text = options.get(key);
  if (text === undefined) return undefined;
  const size = limitValue(text, what);
  return Number(size < MAX_BYTES ? size : MAX_BYTES);
}

function limitValue(text: string, what: string): bigint {
  const size = parseSize(text);
  if (size === null) {
    throw new UsageError([
      `Invalid ${what} specified. You may use k, M, G, T, P or E suffixes for`,
      'kilobytes, megabytes, gigabytes, terabytes, petabytes and exabytes.',
    ]);
  }
  if (size > INT64_MAX) throw new UsageError(`Invalid ${what} specified. Must be between 0 and ${INT64_MAX}.`);
  return size;
}

/** A word out of a list, or undefined where the option was not given. */
export function choiceOption<T extends string>(
  options: ParsedOptions,
  key: string,
  choices: readonly T[],
): T | undefined {
  const text = options.get(key);
  if (text === undefined) return undefined;
  const found = choices.find((choice) => choice === text);
  if (found !== undefined) return found;
  throw new UsageError(`Parameter '${key}' does not accept value '${text}': it is one of ${choices.join(', ')}`);
}

/** `human` or `json`. */
export function outputFormat(options: ParsedOptions): 'human' | 'json' {
  const text = options.get('output') ?? 'human';
  if (text !== 'human' && text !== 'json') {
    throw new UsageError('--output must be used with human or json as argument.');
  }
  return text;
}

/** How the page cache is used (qemu-img's `-t` and `-T`). */
export interface CacheMode {
  direct: boolean;
  noFlush: boolean;
  /** Every write is durable before it counts as done. */
  writethrough: boolean;
}

export const CACHE_MODES: Readonly<Record<string, CacheMode>> = {
  none: { direct: true, noFlush: false, writethrough: false },
  off: { direct: true, noFlush: false, writethrough: false },
  writeback: { direct: false, noFlush: false, writethrough: false },
  writethrough: { direct: false, noFlush: false, writethrough: true },
  directsync: { direct: true, noFlush: false, writethrough: true },
  unsafe: { direct: false, noFlush: true, writethrough: false },
};

/** `what` is `cache` or `source cache`. */
export function cacheMode(options: ParsedOptions, key: string, what: string, preset: string): CacheMode {
  const text = options.get(key) ?? preset;
  if (!Object.hasOwn(CACHE_MODES, text)) throw new UsageError(`Invalid ${what} option: ${text}`);
  return CACHE_MODES[text];
}

/** `-t`: how the page cache is used for what is written. */
export function targetCache(options: ParsedOptions, preset: string): CacheMode {
  const cache = cacheMode(options, 'cache', 'cache', preset);
  if (cache.writethrough) throw new UsageError(`cache mode '${options.get('cache')}' is not supported yet`);
  return cache;
}

/** The one image that a verb takes. */
export function oneImage(options: ParsedOptions): string {
  if (options.positional.length !== 1) throw new UsageError('Expecting one image file name', true);
  return options.positional[0];
}

// ---- options that several verbs have ---------------------------------------------------------------------------

export const HELP: OptionSpec = { key: 'help', short: 'h', long: 'help', help: 'Show this help and exit.' };
export const FORMAT: OptionSpec = {
  key: 'format',
  short: 'f',
  argument: 'FMT',
  help: ({ all }) => `Format of the image: ${all}. Without it the image is probed.`,
};
export const IMAGE_OPTS: OptionSpec = {
  key: 'image-opts',
  long: 'image-opts',
  help: 'FILENAME is a string of options: driver=qcow2,file.filename=a.qcow2. Excludes -f.',
};
export const FORCE_SHARE: OptionSpec = {
  key: 'force-share',
  short: 'U',
  long: 'force-share',
  help: 'Read an image that another process writes to. What is read may not fit together.',
};
export const OUTPUT: OptionSpec = {
  key: 'output',
  long: 'output',
  argument: 'FORMAT',
  help: 'human (default) or json.',
};
export const QUIET: OptionSpec = { key: 'quiet', short: 'q', help: 'Print errors only.' };
export const OBJECT: OptionSpec = {
  key: 'object',
  long: 'object',
  argument: 'TYPE,id=ID,...',
  help: 'Make an object that image options name: tls-creds-x509, tls-creds-psk or secret. May be given several times.',
};
export const CACHE = {
  key: 'cache',
  short: 't',
  argument: 'CACHE',
  help: 'Cache mode of what is written: none, writeback, writethrough, directsync or unsafe.',
} satisfies OptionSpec;
export const SOURCE_CACHE: OptionSpec = {
  key: 'source-cache',
  short: 'T',
  argument: 'CACHE',
  help: 'Cache mode of what is read: none, writeback, writethrough, directsync or unsafe.',
};
export const RATE: OptionSpec = {
  key: 'speed',
  short: 'r',
  long: 'speed',
  argument: 'BYTES',
  help: 'Rate limit, bytes a second: 50M.',
};
