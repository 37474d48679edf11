// Small helpers of the drivers' tests: a graph on a simulated disk, and what a promise is rejected with.

import type { Child } from '../../src/block/child.js';
import { Graph, type GraphOptions } from '../../src/block/graph.js';
import { BlockNode } from '../../src/block/node/node.js';
import { PERM_ALL, Perm } from '../../src/block/types.js';
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

/** A link to `node` that may do everything and shares everything. */
export function linkTo(node: BlockNode, perm: number = PERM_ALL): Child {
  return node.attach({ userName: 'test' }, 'root', perm, PERM_ALL);
}

/** Fills `buffer` from `offset` of `node`, as a user who shares everything. */
export async function readNode(node: BlockNode, offset: number, buffer: Uint8Array): Promise<void> {
  const link = linkTo(node, Perm.CONSISTENT_READ);
  try {
    await link.read(offset, buffer);
  } finally {
    node.detach(link);
  }
}

/** A node that is being opened, with a user who may do everything: its own methods can be called then. */
export async function used<T extends BlockNode>(opening: Promise<T>): Promise<T> {
  const node = await opening;
  linkTo(node, usable(node));
  return node;
}

function usable(node: BlockNode): number {
  return node.readOnly ? Perm.CONSISTENT_READ : PERM_ALL;
}

/** Reopens a node that `used` gave, with its user. */
export async function reopenUsed(node: BlockNode, readOnly: boolean): Promise<void> {
  const [link] = node.parents;
  BlockNode.changePermissions(link, Perm.CONSISTENT_READ, PERM_ALL);
  await node.reopen(readOnly);
  BlockNode.changePermissions(link, usable(node), PERM_ALL);
}

/** `length` bytes that tell one place from another. */
export function pattern(length: number, seed = 1): Uint8Array {
  return Uint8Array.from({ length }, (_, index) => (index * 7 + seed * 31 + (index >> 8)) & 0xff);
}
