// Random faults of a scenario.

import type { FaultRule, Random } from '../../src/host/sim/index.js';

/** Codes that a request may fail with where faults are injected. */
export const FAULT_ERRORS: ReadonlySet<string> = new Set(['io', 'no-space']);
export const NO_ERRORS: ReadonlySet<string> = new Set();

export function randomRule(random: Random): FaultRule {
  const operations = random.pick([
    ['read'],
    ['write'],
    ['flush'],
    ['write', 'flush'],
    ['truncate', 'allocate', 'punchHole', 'zeroRange', 'discard'],
    ['read', 'write', 'flush', 'truncate', 'allocate', 'punchHole', 'zeroRange', 'discard'],
  ] as const);
  const spread = random.chance(0.5)
    ? { probability: random.pick([0.005, 0.03, 0.2]) }
    : { after: random.below(150), times: random.pick([1, 1, 3, 100000]) };
  return { operations, errno: random.pick(['EIO', 'EIO', 'ENOSPC']), ...spread };
}
