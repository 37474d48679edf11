import type { FormatFixture, SharedFormat, SimulatedFormat } from '../fixture.js';
import { QED_ENTRIES } from './conformance.js';
import { QED_EFFECTS } from './effects.js';
import { QED_MUTANTS } from './mutants.js';

const MIB = 1 << 20;

const SIMULATED: SimulatedFormat = {
  draw: (random) => {
    const clusterBytes = random.pick([4096, 4096, 8192, 65536]);
    // With the smallest clusters and tables, an L2 table is for 2 MiB.
    const sectors = random.chance(0.3) ? random.between(4000, 10000) : random.between(40, 1500);
    return {
      sectors,
      clusterBytes,
      create: { 'cluster-size': clusterBytes, 'table-size': random.pick([1, 1, 2, 4]) },
    };
  },
  repairs: true,
};

const SHARED: SharedFormat = {
  draw: (random) => {
    const clusterBits = random.pick([12, 13, 16, 16, 17, 21]);
    // QEMU makes images with tables of one cluster, and cannot open them; with the largest of both, it computes that the largest disk has 0 bytes.
    const tableSize = random.pick(clusterBits > 17 ? [2, 4] : [2, 4, 4, 16]);
    const most = 2 ** (2 * (clusterBits + Math.log2(tableSize) - 3) + clusterBits);
    // Also beyond 2 GiB, and beyond 2 TiB, of which nearly nothing is written.
    const size =
      random.pick([0, 3, 17, 2500, 3_000_000]) * MIB + random.between(1, 4000) * 512 - random.pick([0, 0, 100]);
    return { size: Math.min(size, most), options: [`cluster_size=${2 ** clusterBits}`, `table_size=${tableSize}`] };
  },
  checks: true,
};

export const QED: FormatFixture = {
  name: 'qed',
  conformance: QED_ENTRIES,
  mutants: QED_MUTANTS,
  simulated: SIMULATED,
  shared: SHARED,
  effects: QED_EFFECTS,
};
