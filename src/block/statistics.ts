// Figures of nodes and devices, as `query-blockstats` tells them (QAPI `BlockStats`). Of a node, only the end of its furthest write is counted:
// the other members are there, and 0.
//
//   node stats --parent--> where its data lies, or what it filters --parent--> ...
//              --backing-> the next layer, as the figures of a device have it

import type { BlockDeviceStats, BlockStats } from '../schema/generated/types.js';
import { cowChild, dataChild, filteredChild } from './chain.js';
import type { BlockNode } from './node/node.js';

const NOTHING: BlockDeviceStats = {
  rd_bytes: 0,
  wr_bytes: 0,
  unmap_bytes: 0,
  rd_operations: 0,
  wr_operations: 0,
  flush_operations: 0,
  unmap_operations: 0,
  rd_total_time_ns: 0,
  wr_total_time_ns: 0,
  flush_total_time_ns: 0,
  unmap_total_time_ns: 0,
  wr_highest_offset: 0,
  rd_merged: 0,
  wr_merged: 0,
  unmap_merged: 0,
  failed_rd_operations: 0,
  failed_wr_operations: 0,
  failed_flush_operations: 0,
  failed_unmap_operations: 0,
  invalid_rd_operations: 0,
  invalid_wr_operations: 0,
  invalid_flush_operations: 0,
  invalid_unmap_operations: 0,
  account_invalid: false,
  account_failed: false,
  timed_stats: [],
};

/** Figures of a node and those that it is stored in. `layers`: of its backing chain, too. */
export function nodeStats(node: BlockNode, layers: boolean): BlockStats {
  const specific = node.abilities.stats?.();
  const below = dataChild(node);
  const parent = below === null ? null : nodeStats(below.node, layers);
  const next = layers ? (cowChild(node) ?? filteredChild(node)) : null;
  return {
    'node-name': node.nodeName,
    stats: { ...NOTHING, wr_highest_offset: node.writeEnd },
    ...(specific !== undefined && { 'driver-specific': specific }),
    ...(parent !== null && { parent }),
    ...(next !== null && { backing: next === below && parent !== null ? parent : nodeStats(next.node, layers) }),
  };
}
