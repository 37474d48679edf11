// Parses the command line of `diskwright nbd` into a plan. All options are checked before anything is opened; errors have qemu-nbd's messages.

import { resolve } from 'node:path';
import type { NetAddress } from '../../host/net.js';
import type { EngineName } from '../../host/real/index.js';
import type { BlockdevDetectZeroesOptions, BlockdevDiscardOptions } from '../../schema/generated/types.js';
import { nameLength } from '../../util/name-bytes.js';
import { parseWholeNumber } from '../../util/size.js';
import { NBD_DEFAULT_PORT } from '../../wire/nbd/constants.js';
import { AIO_ENGINES, CACHE_MODES, type CacheMode, DISCARD_MODES, NATIVE_NEEDS_DIRECT } from '../arguments.js';
import { type ParsedOptions, UsageError } from '../getopt.js';
import { type SnapshotParam, snapshotParam } from '../snapshot-param.js';
import { ACTIVATION_FD } from './activation.js';
import { notOpened } from './not-opened.js';

const MAX_CLIENTS = 2 ** 31 - 1;
const MAX_PORT = 65535;
const MAX_SOCKET_PATH_BYTES = 107;
const MAX_TEXT_BYTES = 4096;
const DEFAULT_HANDSHAKE_SECONDS = 10;
const MAX_HANDSHAKE_SECONDS = 2 ** 31 / 1000;

export interface ServePlan {
  image: string;
  imageOpts: boolean;
  format: string | undefined;
  address: NetAddress;
  /** 0: any number. */
  maxClients: number;
  persistent: boolean;
  exportName: string;
  description: string | undefined;
  bitmaps: readonly string[];
  allocationDepth: boolean;
  readOnly: boolean;
  forgets: boolean;
  /** The internal snapshot that is served in place of the disk. */
  loads: SnapshotParam | undefined;
  /** The byte of the image that the export starts at; null: the whole image is served without a window. */
  offset: number | null;
  cache: CacheMode;
  engine: EngineName | undefined;
  discard: BlockdevDiscardOptions;
  detectZeroes: BlockdevDetectZeroesOptions;
  objects: readonly string[];
  tlsCreds: string | undefined;
  tlsAuthz: string | undefined;
  /** 0: no limit. */
  handshakeSeconds: number;
  pidFile: string | undefined;
  /** Absolute path of the monitor's socket. */
  monitor: string | undefined;
  /** Texts of `--compat`. */
  compat: readonly string[];
  verbose: boolean;
}

export interface ListPlan {
  address: NetAddress;
  objects: readonly string[];
  tlsCreds: string | undefined;
  tlsHostname: string | undefined;
  verbose: boolean;
}

/** Options about one export, which `--list` refuses. */
const PER_DEVICE = [
  'export-name',
  'description',
  'offset',
  'allocation-depth',
  'bitmap',
  'format',
  'image-opts',
  'read-only',
  'snapshot',
  'load-snapshot',
  'cache',
  'nocache',
  'aio',
  'discard',
  'detect-zeroes',
];
/** Options about a server, which `--list` refuses. */
const SERVER_ONLY = ['shared', 'persistent', 'pid-file', 'handshake-limit', 'monitor', 'compat'];

/** The plan for `--list`. `activated`: the process was given a socket. Throws `UsageError`. */
export function listPlan(options: ParsedOptions, activated: boolean): ListPlan {
  if (activated) throw new UsageError('List mode is incompatible with socket activation');
  if (options.positional.length > 0) throw new UsageError('List mode is incompatible with a file name');
  if (options.has('fork')) throw new UsageError('List mode is incompatible with forking');
  if (PER_DEVICE.some((key) => options.has(key))) {
    throw new UsageError('List mode is incompatible with per-device settings');
  }
  const other = SERVER_ONLY.find((key) => options.has(key));
  if (other !== undefined) throw new UsageError(`List mode is incompatible with --${other}`);
  checkTls(options);
  if (options.has('tls-authz')) throw new UsageError('TLS authorization is incompatible with export list');
  return {
    address: addressOf(options, false),
    objects: options.all('object'),
    tlsCreds: options.get('tls-creds'),
    tlsHostname: options.get('tls-hostname'),
    verbose: options.has('verbose'),
  };
}

/** The plan for a server. `activated`: the process was given a socket. Throws `UsageError`. */
export function servePlan(options: ParsedOptions, activated: boolean): ServePlan {
  if (options.positional.length !== 1) throw new UsageError('Invalid number of arguments', true);
  checkTls(options);
  if (options.has('tls-hostname')) throw new UsageError('TLS hostname is only supported with export list');
  const imageOpts = options.has('image-opts');
  if (imageOpts && options.has('format')) throw new UsageError('--image-opts and -f are mutually exclusive');
  const cache = cacheOf(options);
  const loads = options.get('load-snapshot');
  const discard =
    DISCARD_MODES[one(options, 'discard', DISCARD_MODES, (text) => `Invalid discard mode \`${text}'`) ?? 'ignore'];
  return {
    image: options.positional[0],
    imageOpts,
    format: options.get('format'),
    address: addressOf(options, activated),
    maxClients: sharedOf(options),
    persistent: options.has('persistent'),
    exportName: textOf(options, 'export-name', 'export name') ?? '',
    description: textOf(options, 'description', 'export description'),
    bitmaps: [...new Set(options.all('bitmap'))],
    allocationDepth: options.has('allocation-depth'),
    readOnly: options.has('read-only') || (loads !== undefined && !options.has('snapshot')),
    forgets: options.has('snapshot'),
    loads: loads === undefined ? undefined : snapshotParam(loads, '`'),
    offset: offsetOf(options),
    cache,
    engine: engineOf(options, cache),
    discard,
    detectZeroes: detectZeroesOf(options, discard),
    objects: options.all('object'),
    tlsCreds: options.get('tls-creds'),
    tlsAuthz: options.get('tls-authz'),
    handshakeSeconds: handshakeOf(options),
    pidFile: options.get('pid-file'),
    monitor: monitorOf(options),
    compat: options.all('compat'),
    verbose: options.has('verbose'),
  };
}

function checkTls(options: ParsedOptions): void {
  if (options.has('tls-creds')) return;
  for (const key of ['tls-authz', 'tls-hostname']) {
    if (options.has(key)) throw new UsageError(`--${key} is not permitted without --tls-creds`);
  }
}

function addressOf(options: ParsedOptions, activated: boolean): NetAddress {
  const path = options.get('socket');
  if (activated) {
    if (path !== undefined) throw new UsageError("Unix socket can't be set when using socket activation");
    if (options.has('port')) throw new UsageError("TCP port number can't be set when using socket activation");
    if (options.has('bind')) throw new UsageError("The interface can't be set when using socket activation");
    return { type: 'fd', fd: ACTIVATION_FD };
  }
  if (path === undefined) {
    const host = options.get('bind') ?? '0.0.0.0';
    return { type: 'inet', host, port: portOf(options.get('port'), host) };
  }
  // qemu-nbd uses the socket and silently ignores the others.
  const other = ['port', 'bind'].find((key) => options.has(key));
  if (other !== undefined) throw new UsageError(`--socket and --${other} are mutually exclusive`);
  if (!path.startsWith('/')) throw new UsageError('socket path must be absolute');
  if (nameLength(path) > MAX_SOCKET_PATH_BYTES) {
    throw new UsageError(`UNIX socket path '${path}' is too long: it may have ${MAX_SOCKET_PATH_BYTES} bytes`);
  }
  return { type: 'unix', path };
}

/** The server may change its folder: the path counts from the present one. */
function monitorOf(options: ParsedOptions): string | undefined {
  const path = options.get('monitor');
  if (path === undefined) {
    if (options.has('compat')) throw new UsageError('--compat is for the monitor: it needs --monitor');
    return undefined;
  }
  if (path === '') throw new UsageError('the monitor needs a path');
  return resolve(path);
}

function portOf(text: string | undefined, host: string): number {
  if (text === undefined) return NBD_DEFAULT_PORT;
  const port = /^\d{1,5}$/.test(text) ? Number(text) : Number.NaN;
  if (port <= MAX_PORT) return port;
  throw new UsageError(`address resolution failed for ${host}:${text}: a port is a number from 0 to ${MAX_PORT}`);
}

/** A number as the C library's strtol reads it with base 0; null where the text is not a number, or the number is not from 0 to `max`. */
function wholeNumber(text: string, max: number): number | null {
  const value = parseWholeNumber(text);
  return value !== null && value >= 0n && value <= BigInt(Math.floor(max)) ? Number(value) : null;
}

function sharedOf(options: ParsedOptions): number {
  const text = options.get('shared') ?? '1';
  const count = wholeNumber(text, MAX_CLIENTS);
  if (count === null) throw new UsageError(`Invalid shared device number '${text}'`);
  return count;
}

function handshakeOf(options: ParsedOptions): number {
  const text = options.get('handshake-limit') ?? String(DEFAULT_HANDSHAKE_SECONDS);
  const seconds = wholeNumber(text, MAX_HANDSHAKE_SECONDS);
  if (seconds === null) throw new UsageError(`Invalid handshake limit '${text}'`);
  return seconds;
}

function offsetOf(options: ParsedOptions): number | null {
  const text = options.get('offset');
  if (text === undefined) return null;
  const offset = wholeNumber(text, Number.MAX_SAFE_INTEGER);
  if (offset === null) throw new UsageError(`Invalid offset '${text}'`);
  return offset;
}

function textOf(options: ParsedOptions, key: string, what: string): string | undefined {
  const text = options.get(key);
  if (text !== undefined && Buffer.byteLength(text) > MAX_TEXT_BYTES) {
    throw new UsageError(`${what} '${text}' too long`);
  }
  return text;
}

function cacheOf(options: ParsedOptions): CacheMode {
  if (options.all('cache').length + options.all('nocache').length > 1) {
    throw new UsageError('-n and --cache can only be specified once');
  }
  const mode = options.has('nocache') ? 'none' : (options.get('cache') ?? 'writeback');
  if (!Object.hasOwn(CACHE_MODES, mode)) throw new UsageError(`Invalid cache mode \`${mode}'`);
  return CACHE_MODES[mode];
}

function engineOf(options: ParsedOptions, cache: CacheMode): EngineName | undefined {
  const mode = one(options, 'aio', AIO_ENGINES, (text) => `Invalid aio mode '${text}'`);
  if (mode === 'native' && !cache.direct) {
    throw new UsageError(notOpened(options.positional[0], NATIVE_NEEDS_DIRECT));
  }
  return mode === undefined ? undefined : AIO_ENGINES[mode];
}

/** The words of `--detect-zeroes`. */
export const DETECT_ZEROES = ['off', 'on', 'unmap'] as const satisfies readonly BlockdevDetectZeroesOptions[];

function detectZeroesOf(options: ParsedOptions, discard: BlockdevDiscardOptions): BlockdevDetectZeroesOptions {
  const text = options.get('detect-zeroes') ?? 'off';
  const mode = DETECT_ZEROES.find((one) => one === text);
  if (mode === undefined) {
    throw new UsageError(`Failed to parse detect_zeroes mode: invalid parameter value: ${text}`);
  }
  if (mode === 'unmap' && discard !== 'unmap') {
    throw new UsageError('setting detect-zeroes to unmap is not allowed without setting discard operation to unmap');
  }
  return mode;
}

/** Parses the option `key`, which may be given once and takes a word of `known`; `wrong` makes the message for another word. */
function one(
  options: ParsedOptions,
  key: string,
  known: Readonly<Record<string, unknown>>,
  wrong: (text: string) => string,
): string | undefined {
  const given = options.all(key);
  if (given.length > 1) throw new UsageError(`--${key} can only be specified once`);
  if (given.length === 1 && !Object.hasOwn(known, given[0])) throw new UsageError(wrong(given[0]));
  return given[0];
}
