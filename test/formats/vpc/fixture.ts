import type { FormatFixture, SharedFormat, SimulatedFormat } from '../fixture.js';
import { VPC_ENTRIES } from './conformance.js';
import { VPC_EFFECTS } from './effects.js';
import { VPC_MUTANTS } from './mutants.js';

const MIB = 1 << 20;

const SIMULATED: SimulatedFormat = {
  draw: (random) => ({
    sectors: random.between(1, 7) * 2048 + random.below(2048),
    clusterBytes: 2 * MIB,
    create: { 'force-size': true, ...(random.chance(0.2) && { subformat: 'fixed' }) },
  }),
  repairs: false,
};

const SHARED: SharedFormat = {
  draw: (random) => ({
    // Also beyond 2 GiB, beyond the largest geometry, and nearly 2 TiB, of which nearly nothing is written.
    size:
      random.pick([0, 3, 17, 2500, 130_000, 2_080_000]) * MIB +
      random.between(1, 4000) * 512 -
      random.pick([0, 0, 100]),
    options: [...(random.chance(0.3) ? ['subformat=fixed'] : []), ...(random.chance(0.5) ? ['force_size=on'] : [])],
  }),
  checks: false,
};

export const VPC: FormatFixture = {
  name: 'vpc',
  conformance: VPC_ENTRIES,
  mutants: VPC_MUTANTS,
  simulated: SIMULATED,
  shared: SHARED,
  effects: VPC_EFFECTS,
};
