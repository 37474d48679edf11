// Every limit of a throttle, by the name that QAPI's `ThrottleLimits` has for it, and by the older one of `BlockIOThrottle` and `BlockDeviceInfo`:
//
//   iops-total  iops-total-max  iops-total-max-length        iops  iops_max  iops_max_length
//   bps-read    bps-read-max    bps-read-max-length   ...    bps_rd  bps_rd_max  bps_rd_max_length   ...

import { THROTTLE_SCOPES, type ThrottleScope } from '../host/throttle-config.js';
import type { BlockIOThrottle, ThrottleLimits } from '../schema/generated/types.js';

export interface LimitName {
  readonly name: keyof ThrottleLimits;
  readonly old: Exclude<keyof BlockIOThrottle, 'device' | 'id' | 'group'>;
  /** `average`: units per second; `max`: those of a burst; `length`: of a burst, seconds; `size`: bytes that count as one operation. */
  readonly part: 'average' | 'max' | 'length' | 'size';
  /** Of a length: the burst that it belongs to. */
  readonly burst?: keyof ThrottleLimits;
}

/** What stands for the scope in the older names. */
const OLD_SCOPE = { total: '', read: '_rd', write: '_wr' } as const satisfies Record<ThrottleScope, string>;

/** In the order of the schema. */
export const LIMITS: readonly LimitName[] = [
  ...(['iops', 'bps'] as const).flatMap((unit) =>
    THROTTLE_SCOPES.flatMap((scope): LimitName[] => {
      const [name, old] = [`${unit}-${scope}`, `${unit}${OLD_SCOPE[scope]}`] as const;
      return [
        { name, old, part: 'average' },
        { name: `${name}-max`, old: `${old}_max`, part: 'max' },
        { name: `${name}-max-length`, old: `${old}_max_length`, part: 'length', burst: `${name}-max` },
      ];
    }),
  ),
  { name: 'iops-size', old: 'iops_size', part: 'size' },
];

/** Seconds of a burst whose length is not set. */
export const DEFAULT_BURST_SECONDS = 1;
