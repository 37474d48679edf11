// Devices: what is told of them, and whether they run.

import { nodeStats } from '../../block/statistics.js';
import type { CommandTable } from '../command.js';

export const DEVICE_COMMANDS = {
  'query-block': ({ drives }) => drives.infos(),

  'query-blockstats': ({ graph, drives }, { 'query-nodes': ofNodes = false }) =>
    ofNodes ? [...graph.nodes.values()].map((node) => nodeStats(node, false)) : drives.stats(),

  'query-status'({ drives }) {
    const { running, state } = drives.machine;
    return { running, singlestep: false, status: state };
  },

  'query-name': () => ({}),
  stop: ({ drives }) => drives.machine.stop(),
  cont: ({ drives }) => drives.resume(),
} satisfies Partial<CommandTable>;
