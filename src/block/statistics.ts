// Figures of nodes and devices, as `query-blockstats` tells them (QAPI `BlockStats`). Of a node, only the end of its furthest write is counted:
// the other members are there, and 0.
//
//   node stats --parent--> where its data lies, or what it filters --parent--> ...
//              --backing-> the next layer, as the figures of a device have it

import type { BlockDeviceStats, BlockStats } from '../schema/generated/types.js';
import type { Accounting } from './accounting.js';
import { cowChild, dataChild, filteredChild } from './chain.js';
import type { Device } from './device.js';
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

/** Figures of a device with the root node `root`, and of its nodes. */
export function deviceStats(device: Device, root: BlockNode): BlockStats {
  const { stats, ...below } = nodeStats(root, true);
  return { device: device.name, stats: { ...stats, ...countsOf(device), ...timesOf(device.accounting) }, ...below };
}

function countsOf({ stats }: Device): Partial<BlockDeviceStats> {
  return {
    rd_operations: stats.readOperations,
    rd_bytes: stats.readBytes,
    wr_operations: stats.writeOperations,
    wr_bytes: stats.writeBytes,
    flush_operations: stats.flushOperations,
    unmap_operations: stats.unmapOperations,
    unmap_bytes: stats.unmapBytes,
  };
}

function timesOf(accounting: Accounting | null): Partial<BlockDeviceStats> {
  if (accounting === null) return {};
  const { kinds, idleNs, accountInvalid, accountFailed } = accounting;
  const { read, write, flush, discard } = kinds;
  const nowMs = accounting.now();
  return {
    rd_total_time_ns: read.totalNs(nowMs),
    wr_total_time_ns: write.totalNs(nowMs),
    flush_total_time_ns: flush.totalNs(nowMs),
    unmap_total_time_ns: discard.totalNs(nowMs),
    failed_rd_operations: read.failed,
    failed_wr_operations: write.failed,
    failed_flush_operations: flush.failed,
    failed_unmap_operations: discard.failed,
    invalid_rd_operations: read.invalid,
    invalid_wr_operations: write.invalid,
    invalid_flush_operations: flush.invalid,
    invalid_unmap_operations: discard.invalid,
    account_invalid: accountInvalid,
    account_failed: accountFailed,
    timed_stats: accounting.timed,
    ...(read.histogram !== null && { rd_latency_histogram: read.histogram.info }),
    ...(write.histogram !== null && { wr_latency_histogram: write.histogram.info }),
    ...(flush.histogram !== null && { flush_latency_histogram: flush.histogram.info }),
    ...(idleNs !== null && { idle_time_ns: idleNs }),
  };
}
