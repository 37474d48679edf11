// The limits of a throttle group: names and rules of QAPI's ThrottleLimits.

import type { ThrottleLimits } from '../schema/generated/types.js';
import { BlockError } from '../util/errors.js';

export type { ThrottleLimits };

export type ThrottleUnit = 'bps' | 'iops';
/** What a limit counts. */
export const THROTTLE_SCOPES = ['total', 'read', 'write'] as const;
export type ThrottleScope = (typeof THROTTLE_SCOPES)[number];

export interface BucketLimits {
  scope: ThrottleScope;
  unit: ThrottleUnit;
  /** Units per second, > 0. */
  average: number;
  /** Units per second in a burst; 0 = none. */
  max: number;
  /** Seconds. */
  maxLength: number;
}

export interface ThrottleConfig {
  buckets: BucketLimits[];
  iopsSize: number;
}

/** QEMU's bound on a rate, and on what fits into a bucket. */
const VALUE_MAX = 1_000_000_000_000_000;
const MAX_LENGTH_LIMIT = 2 ** 32 - 1;
const UNITS = ['bps', 'iops'] as const;

function invalid(message: string): BlockError {
  return new BlockError('invalid-argument', message, { operation: 'throttle' });
}

function rate(value: number | undefined): number {
  const number = value ?? 0;
  if (!Number.isSafeInteger(number) || number < 0 || number > VALUE_MAX) {
    throw invalid(`bps/iops/max values must be within [0, ${VALUE_MAX}]`);
  }
  return number;
}

/** Has no range: what is negative counts as very large, as in QEMU. */
function requestSize(bytes: number): number {
  if (!Number.isSafeInteger(bytes)) throw invalid("Parameter 'iops-size' expects a whole number");
  return bytes < 0 ? Number.MAX_SAFE_INTEGER : bytes;
}

/** Checks limits by QEMU's rules and with its messages. Throws `invalid-argument`. */
export function parseThrottleLimits(limits: ThrottleLimits): ThrottleConfig {
  const buckets: BucketLimits[] = [];
  const iopsSize = requestSize(limits['iops-size'] ?? 0);
  for (const unit of UNITS) {
    for (const suffix of ['', '-max'] as const) {
      if (limits[`${unit}-total${suffix}`] && (limits[`${unit}-read${suffix}`] || limits[`${unit}-write${suffix}`])) {
        throw invalid('bps/iops/max total values and read/write values cannot be used at the same time');
      }
    }
  }
  if (iopsSize && !THROTTLE_SCOPES.some((scope) => limits[`iops-${scope}`])) {
    throw invalid('iops size requires an iops value to be set');
  }
  for (const unit of UNITS) {
    for (const scope of THROTTLE_SCOPES) {
      const average = rate(limits[`${unit}-${scope}`]);
      const max = rate(limits[`${unit}-${scope}-max`]);
      const maxLength = limits[`${unit}-${scope}-max-length`] ?? 1;
      if (maxLength === 0) throw invalid('the burst length cannot be 0');
      if (!Number.isSafeInteger(maxLength) || maxLength < 0 || maxLength > MAX_LENGTH_LIMIT) {
        throw invalid(`${unit}-${scope}-max-length value must be in the range [0, ${MAX_LENGTH_LIMIT}]`);
      }
      if (maxLength > 1 && !max) throw invalid('burst length set without burst rate');
      if (max && maxLength > VALUE_MAX / max) throw invalid('burst length too high for this burst rate');
      if (max && !average) throw invalid('bps_max/iops_max require corresponding bps/iops values');
      if (max && max < average) throw invalid('bps_max/iops_max cannot be lower than bps/iops');
      if (average) buckets.push({ unit, scope, average, max, maxLength });
    }
  }
  return { buckets, iopsSize };
}
