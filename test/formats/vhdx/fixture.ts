import type { FormatFixture, SharedFormat, SimulatedFormat } from '../fixture.js';
import { VHDX_ENTRIES } from './conformance.js';
import { VHDX_EFFECTS } from './effects.js';
import { VHDX_MUTANTS } from './mutants.js';

const MIB = 1 << 20;

const SIMULATED: SimulatedFormat = {
  draw: (random) => ({
    sectors: random.between(1, 4) * 2048 + random.below(2048),
    clusterBytes: MIB,
    create: {
      'block-size': MIB,
      ...(random.chance(0.2) && { subformat: 'fixed' as const }),
      ...(random.chance(0.3) && { 'block-state-zero': false }),
    },
  }),
  repairs: true,
};

const SHARED: SharedFormat = {
  draw: (random) => {
    const options = [`block_size=${random.pick([1, 1, 2, 8, 32])}M`];
    if (random.chance(0.3)) options.push('block_state_zero=off');
    if (random.chance(0.3)) options.push(`log_size=${random.between(1, 4)}M`);
    // A fixed one that QEMU makes has no place for any block; large ones are slow to make.
    const isFixed = random.chance(0.2);
    if (isFixed) options.push('subformat=fixed');
    // Also beyond 2 GiB, and beyond 2 TiB, of which nearly nothing is written.
    const large = random.pick([0, 3, 17, 2500, 3_000_000]);
    const size = (isFixed ? 20 : large) * MIB + random.between(1, 4000) * 512 - random.pick([0, 0, 100]);
    return { size, options };
  },
  checks: true,
};

export const VHDX: FormatFixture = {
  name: 'vhdx',
  conformance: VHDX_ENTRIES,
  mutants: VHDX_MUTANTS,
  simulated: SIMULATED,
  shared: SHARED,
  effects: VHDX_EFFECTS,
};
