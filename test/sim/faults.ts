// Random faults of a scenario.

import type { FaultRule, Random, SimHostOptions } from '../../src/host/sim/index.js';

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

/** One fault in a change of the size. No flush: what a file says after one that failed is another matter. */
export function randomResizeRule(random: Random): FaultRule {
  const operations = random.pick([
    ['write'],
    ['truncate'],
    ['write', 'truncate', 'allocate', 'punchHole', 'zeroRange', 'discard'],
  ] as const);
  return { operations, errno: random.pick(['EIO', 'ENOSPC']), after: random.below(random.pick([2, 30])), times: 1 };
}

/** A host to look at what a run left: no faults, nothing missing. */
export const AFTERWARDS: SimHostOptions = { eager: true, capacity: Number.POSITIVE_INFINITY, unsupported: [] };

/** A file system that lacks something, or room. */
export function randomDisk(random: Random, faulty: boolean): SimHostOptions {
  const unsupported = random.pick([
    [],
    [],
    ['seek'],
    ['zeroRange'],
    ['allocate'],
    ['punchHole', 'zeroRange', 'discard'],
    ['seek', 'allocate', 'punchHole', 'zeroRange', 'discard', 'copyRange'],
  ] as const);
  const capacity = faulty && random.chance(0.15) ? random.between(1, 40) * 65536 : Number.POSITIVE_INFINITY;
  return { unsupported, capacity };
}
