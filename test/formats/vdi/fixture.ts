import type { FormatFixture, SharedFormat, SimulatedFormat } from '../fixture.js';
import { VDI_ENTRIES } from './conformance.js';
import { VDI_EFFECTS } from './effects.js';
import { VDI_MUTANTS } from './mutants.js';

const MIB = 1 << 20;

const SIMULATED: SimulatedFormat = {
  draw: (random) => ({
    sectors: random.between(1, 4) * 2048 + random.below(2048),
    clusterBytes: MIB,
    create: random.chance(0.3) ? { preallocation: 'metadata' } : {},
  }),
  repairs: true,
};

const SHARED: SharedFormat = {
  draw: (random) => ({
    // Also beyond 2 GiB, and beyond 2 TiB, of which nearly nothing is written.
    size: random.pick([0, 3, 17, 2500, 3_000_000]) * MIB + random.between(1, 4000) * 512 - random.pick([0, 0, 100]),
    options: random.chance(0.3) ? ['static=on'] : [],
  }),
  checks: true,
};

export const VDI: FormatFixture = {
  name: 'vdi',
  conformance: VDI_ENTRIES,
  mutants: VDI_MUTANTS,
  simulated: SIMULATED,
  shared: SHARED,
  effects: VDI_EFFECTS,
};
