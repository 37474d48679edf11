// Checks the arguments of the simulated host's calls at run time, as those of the library's other calls: a misspelt fault would otherwise be ignored.

import { constants } from 'node:os';
import {
  bool,
  bytes,
  type Check,
  callback,
  choice,
  fileName,
  integer,
  list,
  type Shape,
  settings,
  takeSettings,
  wrongType,
} from '../../schema/shape.js';
import { BlockError } from '../../util/errors.js';
import { isPowerOfTwo } from '../../util/numbers.js';
import type { CrashStyle } from './changes.js';
import { SIM_FEATURES, type SimFeature } from './disk.js';
import { type FaultPlan, type FaultRule, SIM_OPERATIONS, type SimOperation } from './faults.js';
import type { SimHostOptions } from './options.js';

/** A number in [min, max], not necessarily whole. */
function number(min: number, max = Number.POSITIVE_INFINITY): Check<number> {
  return (value, path) => {
    if (typeof value !== 'number') throw wrongType(path, 'number', value);
    if (value >= min && value <= max) return value;
    const range = max === Number.POSITIVE_INFINITY ? `of at least ${min}` : `from ${min} to ${max}`;
    throw new BlockError('invalid-argument', `Parameter '${path}' expects a number ${range}, not ${value}`);
  };
}

const probability = number(0, 1);
const whole = integer(0);
const room: Check<number> = (value, path) => (value === Number.POSITIVE_INFINITY ? value : whole(value, path));
const errno = choice(...Object.keys(constants.errno));

const powerOfTwo: Check<number> = (value, path) => {
  const alignment = integer(1)(value, path);
  if (isPowerOfTwo(alignment)) return alignment;
  throw new BlockError('invalid-argument', `Parameter '${path}' expects a power of two, not ${alignment}`);
};

export const operation: Check<SimOperation> = choice(...SIM_OPERATIONS);

const feature: Check<SimFeature> = choice(...SIM_FEATURES);

const RULE: Shape<FaultRule> = {
  operations: list(operation),
  path: fileName,
  errno,
  probability,
  after: whole,
  times: room,
};

const FAULTS: Shape<FaultPlan> = {
  rules: list(settings(RULE)),
  powerLossAt: integer(1),
  powerLossProbability: probability,
  lateProbability: probability,
  lateMs: number(0),
  failedFlushLoses: bool,
  ignoreFlush: bool,
  escapesFlush: callback(),
};

const STYLE: Shape<CrashStyle> = { keep: probability, tear: probability };

const HOST: Shape<SimHostOptions> = {
  seed: integer(Number.MIN_SAFE_INTEGER),
  eager: bool,
  manualClock: bool,
  faults: settings(FAULTS),
  capacity: room,
  unsupported: list(feature),
  memoryLimit: room,
  directAlignment: powerOfTwo,
  log: bool,
  onRequest: callback(),
};

/** Each of these functions throws `unknown-option` or `invalid-argument`, and returns nothing: the caller goes on with its own object. */
export function checkHostOptions(options: unknown): void {
  takeSettings(HOST, options, 'settings');
}

export function checkFaults(plan: unknown): void {
  settings(FAULTS)(plan, 'plan');
}

export function checkStyle(style: unknown): void {
  takeSettings(STYLE, style, 'style', ['keep', 'tear']);
}

export function checkPath(path: unknown, what = 'path'): void {
  fileName(path, what);
}

export function checkContent(content: unknown): void {
  bytes(content, 'content');
}

/** A size, an offset or a length. */
export function checkBytes(value: unknown, what: string): void {
  whole(value, what);
}

export function checkCapacity(value: unknown): void {
  room(value, 'bytes');
}

export function checkMs(value: unknown): void {
  number(0)(value, 'ms');
}
