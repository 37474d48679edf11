// The options of a simulated host.

import type { SimFeature } from './disk.js';
import type { EngineOptions } from './engine.js';
import type { FaultPlan } from './faults.js';

export interface SimHostOptions {
  seed?: number;
  /** Default: true when neither a seed nor faults are given. */
  eager?: boolean;
  /** Eager mode: timers fire only in `advance()`. */
  manualClock?: boolean;
  faults?: FaultPlan;
  /** Bytes of the disk; default unlimited. */
  capacity?: number;
  unsupported?: readonly SimFeature[];
  /** Limit of `memory`; default 1 GiB. */
  memoryLimit?: number;
  /** Alignment of files that are opened `direct`; default 512. */
  directAlignment?: number;
  /** Keep a log of all requests. */
  log?: boolean;
  /** Called with each request when it is issued; the result may make it fail, delay it, or cause power loss. */
  onRequest?: EngineOptions['onRequest'];
}
