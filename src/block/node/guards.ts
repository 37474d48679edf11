// Guards of a request that was located through several nodes (an image within an image): one that releases them all. A request has room
// for one guard; a second one makes a pair, and a pair may hold pairs. They are used again, so that nothing is allocated in the long run.

import type { MappingGuard } from '../types.js';

class GuardPair implements MappingGuard {
  lower: MappingGuard | null = null;
  upper: MappingGuard | null = null;

  release(): void {
    const { lower, upper } = this;
    this.lower = null;
    this.upper = null;
    free.push(this);
    lower?.release();
    upper?.release();
  }
}

const free: GuardPair[] = [];

/** `upper`, with what a node below has guarded already. To be released once, as any guard. */
export function withLowerGuard(lower: MappingGuard | null, upper: MappingGuard): MappingGuard {
  if (lower === null) return upper;
  const pair = free.pop() ?? new GuardPair();
  pair.lower = lower;
  pair.upper = upper;
  return pair;
}
