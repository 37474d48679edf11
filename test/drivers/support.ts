// Small helpers of the drivers' tests: a graph on a simulated disk, and what a promise is rejected with.

import { Graph, type GraphOptions } from '../../src/block/graph.js';
import { registerDrivers } from '../../src/drivers/index.js';
import { createSimHost, type SimHost, type SimHostOptions } from '../../src/host/sim/index.js';
import { BlockError } from '../../src/util/errors.js';

export interface Bench {
  host: SimHost;
  graph: Graph;
  /** What the graph warned of. */
  warnings: string[];
}

export function makeBench(host: SimHostOptions = {}, graph: GraphOptions = {}): Bench {
  registerDrivers();
  const warnings: string[] = [];
  const sim = createSimHost(host);
  return { host: sim, graph: new Graph(sim, { warn: (message) => warnings.push(message), ...graph }), warnings };
}

/** The error that `promise` is rejected with; it must be a `BlockError`. */
export async function failureOf(promise: Promise<unknown>): Promise<BlockError> {
  try {
    await promise;
  } catch (error) {
    if (error instanceof BlockError) return error;
    throw error;
  }
  throw new Error('not rejected');
}

/** `length` bytes that tell one place from another. */
export function pattern(length: number, seed = 1): Uint8Array {
  return Uint8Array.from({ length }, (_, index) => (index * 7 + seed * 31 + (index >> 8)) & 0xff);
}
