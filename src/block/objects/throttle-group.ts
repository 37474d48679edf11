// Groups of throttled nodes: limits that all of them have together. Each limit can be given by itself (`x-iops-total`), and within `limits`.

import type { Clock } from '../../host/host.js';
import { ThrottleGroup } from '../../host/throttle.js';
import type { ThrottleGroupProperties, ThrottleLimits } from '../../schema/generated/types.js';
import { BlockError } from '../../util/errors.js';
import { DEFAULT_BURST_SECONDS, LIMITS } from '../throttle-names.js';

const MAX_LENGTH = 2 ** 32 - 1;
/** Throws `invalid-argument`. */
export function makeThrottleGroup(clock: Clock, { limits, ...each }: ThrottleGroupProperties): ThrottleGroup {
  const single: ThrottleLimits = {};
  for (const { name, part } of LIMITS) {
    const value = each[`x-${name}`];
    if (value === undefined) continue;
    if (value < 0) throw new BlockError('invalid-argument', 'Property values cannot be negative');
    if (part === 'length' && value > MAX_LENGTH) {
      // The missing blank is QEMU's.
      throw new BlockError('invalid-argument', `x-${name} value must be in therange [0, ${MAX_LENGTH}]`);
    }
    single[name] = value;
  }
  return new ThrottleGroup(clock, { ...single, ...limits });
}

/** The limits of a group with those that are not set: 0, or a burst of one second. */
export function allLimits({ limits }: ThrottleGroup): Required<ThrottleLimits> {
  const all = LIMITS.map(({ name, part }) => [name, limits[name] ?? (part === 'length' ? DEFAULT_BURST_SECONDS : 0)]);
  return Object.fromEntries(all) as Required<ThrottleLimits>;
}

/** Changes the limits that are given, of all members, from the next request on. Throws `invalid-argument`; then nothing has changed. */
export function changeLimits(group: ThrottleGroup, limits: ThrottleLimits): void {
  group.config({ ...group.limits, ...limits });
}
