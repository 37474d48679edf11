// What all connections of one server share: memory to receive into, the table of requests, and the budget.

import type { Host } from '../../host/host.js';
import { viewOf } from '../../util/bytes.js';
import { Budget, type BudgetLimits, sharedBudget } from './budget.js';
import { RequestTable } from './requests.js';

/** Bytes in front of what is received, for the beginning of a request that came with the last receive. */
export const RECEIVE_GAP = 64;
const RECEIVE_BYTES = 256 * 1024;

export class Shared {
  readonly host: Host;
  readonly table: RequestTable;
  readonly budget: Budget;
  /** Where all links receive to: what arrives is used at once, so that one block serves any number of connections. */
  readonly block: Uint8Array;
  readonly view: DataView;

  /** Bytes of the budget that the requests of this server take. */
  bytesTaken = 0;

  /** `limits`: the server has a budget of its own, instead of its part of the process's. */
  constructor(host: Host, limits?: BudgetLimits) {
    this.host = host;
    this.table = new RequestTable(host.memory);
    this.budget = limits === undefined ? sharedBudget(host.clock) : new Budget(limits, host.clock);
    this.block = host.memory.allocate(RECEIVE_BYTES);
    this.view = viewOf(this.block);
  }

  /** Frees the memory. To be called when there is no connection any more. */
  close(): void {
    this.host.memory.free(this.block);
  }
}
