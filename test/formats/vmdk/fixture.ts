import type { FormatFixture, SharedFormat, SimulatedFormat } from '../fixture.js';
import { VMDK_ENTRIES } from './conformance.js';
import { VMDK_EFFECTS } from './effects.js';
import { VMDK_MUTANTS } from './mutants.js';

const MIB = 1 << 20;

const SIMULATED: SimulatedFormat = {
  draw: (random) => ({
    sectors: random.between(1, 8) * 128 + random.below(128),
    clusterBytes: 65536,
    create: {
      'zeroed-grain': random.chance(0.5),
      subformat: random.chance(0.4) ? 'twoGbMaxExtentSparse' : 'monolithicSparse',
    },
  }),
  repairs: true,
  backing: 'itself',
};

const SHARED: SharedFormat = {
  draw: (random) => {
    const subformat = random.pick([
      'monolithicSparse',
      'monolithicSparse',
      'monolithicFlat',
      'twoGbMaxExtentSparse',
      'twoGbMaxExtentFlat',
    ]);
    // Also beyond 2 GiB, and beyond 2 TiB, of which nearly nothing is written. There are 1,024 extents of 2 GiB at most.
    const large = subformat === 'monolithicSparse' ? 3_000_000 : 9000;
    return {
      size: random.pick([0, 3, 17, 2500, large]) * MIB + random.between(1, 4000) * 512 - random.pick([0, 0, 100]),
      options: [
        `subformat=${subformat}`,
        ...(random.chance(0.3) && subformat.endsWith('Sparse') ? ['zeroed_grain=on'] : []),
      ],
    };
  },
  checks: true,
};

export const VMDK: FormatFixture = {
  name: 'vmdk',
  conformance: VMDK_ENTRIES,
  mutants: VMDK_MUTANTS,
  simulated: SIMULATED,
  shared: SHARED,
  effects: VMDK_EFFECTS,
};
