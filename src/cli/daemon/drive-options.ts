// The options of `--drive`: those of the device (QAPI `DriveOptions`), and those of its image, which are all others.
//
//   id=d0,file=disk.qcow2,format=qcow2,node-name=n0,cache=none,werror=stop,throttling.iops-total=100
//   ^^^^^                 ^^^^^^^^^^^^              ^^^^^^^^^^ ^^^^^^^^^^^ ^^^^^^^^^^^^^^^^^^^^^^^^^^ the device's

import { type Nested, parseKeyval } from '../../schema/keyval.js';
import { LooseOptions } from '../../schema/loose-options.js';
import { validateMember } from '../../schema/validate.js';
import { BlockError } from '../../util/errors.js';
import type { DriveRequest } from '../../workspace/drives.js';
import { choiceOnRead, choiceOnWrite } from '../../workspace/error-policy.js';
import { CACHE_MODES, type CacheMode } from '../arguments.js';
import { checkParameters, type ParametersOf } from './parameters.js';

type DriveOptions = ParametersOf<'drive'>;

const TEXT = { strings: true } as const;

const OWN = [
  'id',
  'if',
  'file',
  'format',
  'cache',
  'rerror',
  'werror',
  'throttling',
  'stats-account-invalid',
  'stats-account-failed',
  'stats-intervals',
] as const satisfies readonly (keyof DriveOptions)[];

/** Parses what stands behind `--drive`. Throws `invalid-argument`, `unknown-option`, `unsupported`. */
export function parseDrive(text: string): DriveRequest {
  const members = parseKeyval(text);
  const own: { [key: string]: Nested } = {};
  const others: { [key: string]: Nested } = {};
  for (const [key, value] of Object.entries(members)) {
    // With members, these are options of the image.
    const isOwn = (OWN as readonly string[]).includes(key) && !((key === 'file' || key === 'cache') && isObject(value));
    (isOwn ? own : others)[key] = value;
  }
  const options = checkParameters('drive', own);
  if (options.if !== undefined && options.if !== 'none') throw unsupportedBus(options.if);
  const mode = cacheMode(options.cache);
  const writeback = takeWriteback(others);
  return {
    name: options.id,
    file: options.file ?? null,
    image: new LooseOptions({ ...others, ...driverOf(options, others) }, TEXT),
    cache: { direct: mode.direct, noFlush: mode.noFlush },
    writethrough: writeback === undefined ? mode.writethrough : !writeback,
    onRead: choiceOnRead(options.rerror),
    onWrite: choiceOnWrite(options.werror),
    throttling: options.throttling ?? {},
    accountInvalid: options['stats-account-invalid'],
    accountFailed: options['stats-account-failed'],
    intervals: intervalsOf(options),
  };
}

function unsupportedBus(name: string): BlockError {
  return new BlockError(
    'unsupported',
    `unsupported bus type '${name}': devices of this program are on no bus (if=none)`,
  );
}

function cacheMode(name = 'writeback'): CacheMode {
  if (!Object.hasOwn(CACHE_MODES, name)) throw new BlockError('invalid-argument', 'invalid cache option');
  return CACHE_MODES[name];
}

/** Takes `cache.writeback` out of the options of the image: it is about the device. */
function takeWriteback(image: { [key: string]: Nested }): boolean | undefined {
  const { cache } = image;
  if (!isObject(cache) || cache['writeback'] === undefined) return undefined;
  const { writeback, ...others } = cache;
  image['cache'] = others;
  return validateMember('bool', writeback, 'cache.writeback', TEXT) as boolean;
}

function driverOf({ format }: DriveOptions, { driver }: { driver?: Nested }): { driver?: Nested } {
  if (format === undefined) return {};
  if (driver !== undefined) throw new BlockError('invalid-argument', "Cannot specify both 'driver' and 'format'");
  return { driver: format };
}

/** Longest interval, seconds. */
const MAX_INTERVAL = 2 ** 32 - 1;

function intervalsOf({ 'stats-intervals': intervals = [] }: DriveOptions): number[] {
  const wrong = intervals.find((seconds) => seconds <= 0 || seconds > MAX_INTERVAL);
  if (wrong === undefined) return intervals;
  throw new BlockError('invalid-argument', `Invalid interval length: ${wrong}`);
}

function isObject(value: Nested | undefined): value is { [key: string]: Nested } {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
