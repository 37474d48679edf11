// Devices: what is told of them, whether they run, and their limits and figures.

import type { LatencyKind } from '../../block/accounting.js';
import type { Device } from '../../block/device.js';
import { nodeStats } from '../../block/statistics.js';
import { LIMITS } from '../../block/throttle-names.js';
import type {
  BlockIOThrottle,
  BlockLatencyHistogramSetArguments,
  ThrottleLimits,
} from '../../schema/generated/types.js';
import { BlockError } from '../../util/errors.js';
import type { CommandTable } from '../command.js';
import { deviceOf21 } from '../members-2-1.js';

/** Limits by their older names. */
function limitsOf(args: BlockIOThrottle): ThrottleLimits {
  const limits: ThrottleLimits = {};
  for (const { name, old } of LIMITS) if (args[old] !== undefined) limits[name] = args[old];
  return limits;
}

/** One after the other: where one is refused, those before it hold. Throws `invalid-argument`. */
function setHistograms(device: Device, args: BlockLatencyHistogramSetArguments): void {
  const { boundaries } = args;
  const kinds: readonly LatencyKind[] = ['read', 'write', 'flush'];
  const given = kinds.map((kind) => args[`boundaries-${kind as 'read' | 'write' | 'flush'}`] ?? boundaries);
  const none = given.every((one) => one === undefined);
  for (const [i, kind] of kinds.entries()) {
    const own = given[i];
    if (own === undefined && !none) continue;
    try {
      device.setHistogram(kind, own ?? null);
    } catch (cause) {
      throw new BlockError('invalid-argument', `Device '${args.id}' set ${kind} boundaries fail`, { cause });
    }
  }
}

export const DEVICE_COMMANDS = {
  async 'query-block'(context) {
    const infos = await context.drives.infos();
    return context.generations.has('2.1') ? infos.map((info) => deviceOf21(context, info)) : infos;
  },

  'query-blockstats': ({ graph, drives }, { 'query-nodes': ofNodes = false }) =>
    ofNodes ? [...graph.nodes.values()].map((node) => nodeStats(node, false)) : drives.stats(),

  'query-status'({ drives }) {
    const { running, state } = drives.machine;
    return { running, singlestep: false, status: state };
  },

  'query-name': () => ({}),
  stop: ({ drives }) => drives.machine.stop(),
  cont: ({ drives }) => drives.resume(),

  block_set_io_throttle({ drives }, args) {
    const { device, id, group } = args;
    if ((device === undefined) === (id === undefined)) {
      throw new BlockError('invalid-argument', "Need exactly one of 'device' and 'id'");
    }
    drives.setLimits(device ?? id ?? '', limitsOf(args), group);
  },

  'block-latency-histogram-set': ({ drives }, args) => setHistograms(drives.get(args.id), args),
} satisfies Partial<CommandTable>;
