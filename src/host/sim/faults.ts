// Fault plans of the simulated host, and the injector that decides what happens to each request. Requests are counted for each host: the host after a crash
// starts a new count.

import type { Random } from './random.js';

/** The operations of the simulated host; each can fail. */
export const SIM_OPERATIONS = [
  'open',
  'stat',
  'unlink',
  'read',
  'write',
  'flush',
  'truncate',
  'allocate',
  'punchHole',
  'zeroRange',
  'discard',
  'seek',
  'copyRange',
  'compress',
  'decompress',
  'encrypt',
  'decrypt',
] as const;

export type SimOperation = (typeof SIM_OPERATIONS)[number];

/** One fault. All given conditions must hold. */
export interface FaultRule {
  /** Operations that the rule applies to. Default: `read`, `write` and `flush`. */
  operations?: readonly SimOperation[];
  /** The file that the rule applies to. Default: any. */
  path?: string;
  /** Name of the system error. Default: `EIO`. */
  errno?: string;
  /** Hits with this probability (default: always). */
  probability?: number;
  /** Skips this many matching requests first. */
  after?: number;
  /** Stops after this many hits. */
  times?: number;
}

export interface FaultPlan {
  rules?: readonly FaultRule[];
  /** Power loss when the Nth request (1 = the first) of the host is issued: that request and all others in flight are never answered. */
  powerLossAt?: number;
  /** Power loss at any request, with this probability. */
  powerLossProbability?: number;
  /** A request is answered late with this probability ... */
  lateProbability?: number;
  /** ... by up to this many milliseconds (default 1000). */
  lateMs?: number;
  /** A failed flush loses the volatile data (Linux marks the pages clean), so that a later flush succeeds without them. */
  failedFlushLoses?: boolean;
  /** A disk that lies: flushes succeed and do nothing. For tests that check the tests. */
  ignoreFlush?: boolean;
  /** A disk that lies about some writes: the next flush does not cover them, only the one after. For tests that check the tests. */
  escapesFlush?: (request: SimRequest) => boolean;
}

export interface SimRequest {
  /** 1 for the host's first request. */
  number: number;
  operation: SimOperation;
  path: string;
  offset: number;
  length: number;
}

export type Verdict = 'power-loss' | { errno: string } | undefined;

/** Decides what happens to each request. */
export class FaultInjector {
  plan: FaultPlan;
  private readonly random: Random;
  private readonly seen = new Map<FaultRule, { matches: number; hits: number }>();

  constructor(plan: FaultPlan, random: Random) {
    this.plan = plan;
    this.random = random;
  }

  decide(request: SimRequest): Verdict {
    const { plan, random } = this;
    if (plan.powerLossAt === request.number) return 'power-loss';
    if (plan.powerLossProbability !== undefined && random.chance(plan.powerLossProbability)) return 'power-loss';
    for (const rule of plan.rules ?? []) {
      if (!matches(rule, request)) continue;
      let count = this.seen.get(rule);
      if (count === undefined) {
        count = { matches: 0, hits: 0 };
        this.seen.set(rule, count);
      }
      if (count.matches++ < (rule.after ?? 0)) continue;
      if (count.hits >= (rule.times ?? Number.POSITIVE_INFINITY)) continue;
      if (rule.probability !== undefined && !random.chance(rule.probability)) continue;
      count.hits++;
      return { errno: rule.errno ?? 'EIO' };
    }
    return undefined;
  }

  /** True where a rule is about such requests: what is not counted as one must not get past it. */
  mayFail(operation: SimOperation, path: string): boolean {
    const request = { number: 0, operation, path, offset: 0, length: 0 };
    return this.plan.rules?.some((rule) => matches(rule, request)) ?? false;
  }

  /** Extra milliseconds until the answer. */
  lateness(): number {
    const { lateProbability = 0, lateMs = 1000 } = this.plan;
    return this.random.chance(lateProbability) ? this.random.fraction() * lateMs : 0;
  }
}

function matches(rule: FaultRule, request: SimRequest): boolean {
  if (rule.path !== undefined && rule.path !== request.path) return false;
  if (rule.operations !== undefined) return rule.operations.includes(request.operation);
  return request.operation === 'read' || request.operation === 'write' || request.operation === 'flush';
}
