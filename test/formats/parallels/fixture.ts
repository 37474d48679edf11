import type { FormatFixture, SharedFormat, SimulatedFormat } from '../fixture.js';
import { PARALLELS_ENTRIES } from './conformance.js';
import { PARALLELS_EFFECTS } from './effects.js';
import { PARALLELS_MUTANTS } from './mutants.js';

const MIB = 1 << 20;

const SIMULATED: SimulatedFormat = {
  draw: (random) => {
    const clusterBytes = random.pick([512, 4096, 63 * 512, 65536, 65536, MIB]);
    const most = Math.min(6000, (clusterBytes / 512) * 200);
    return { sectors: random.between(1, most), clusterBytes, create: { 'cluster-size': clusterBytes } };
  },
  repairs: true,
};

const SHARED: SharedFormat = {
  draw: (random) => {
    const cluster = random.pick([4096, 63 * 512, 65536, MIB, 3 * MIB]);
    // Also beyond 2 GiB, and beyond 2 TiB, of which nearly nothing is written.
    const mebibytes = random.pick(cluster < MIB ? [0, 3, 17, 2500] : [0, 3, 17, 2500, 3_000_000]);
    return {
      size: mebibytes * MIB + random.between(1, 4000) * 512 - random.pick([0, 0, 100]),
      options: random.chance(0.8) ? [`cluster_size=${cluster}`] : [],
    };
  },
  checks: true,
};

export const PARALLELS: FormatFixture = {
  name: 'parallels',
  conformance: PARALLELS_ENTRIES,
  mutants: PARALLELS_MUTANTS,
  simulated: SIMULATED,
  shared: SHARED,
  effects: PARALLELS_EFFECTS,
};
