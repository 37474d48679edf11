import type { FormatFixture, SharedFormat, SimulatedFormat } from '../fixture.js';
import { QCOW_ENTRIES } from './conformance.js';
import { QCOW_EFFECTS } from './effects.js';
import { QCOW_MUTANTS } from './mutants.js';

const MIB = 1 << 20;

const SIMULATED: SimulatedFormat = {
  draw: (random) => ({
    // Where there is nothing below, an L2 table is for 2 MiB; over a backing file, clusters have 512 bytes.
    sectors: random.chance(0.3) ? random.between(4000, 10000) : random.between(40, 1500),
    clusterBytes: random.pick([512, 4096, 4096]),
    create: {},
  }),
  repairs: false,
};

const SHARED: SharedFormat = {
  draw: (random) => ({
    // Also beyond 2 GiB, and beyond 2 TiB, of which nearly nothing is written.
    size: random.pick([0, 3, 17, 2500, 3_000_000]) * MIB + random.between(1, 4000) * 512 - random.pick([0, 0, 100]),
    options: [],
  }),
  checks: false,
};

export const QCOW: FormatFixture = {
  name: 'qcow',
  conformance: QCOW_ENTRIES,
  mutants: QCOW_MUTANTS,
  simulated: SIMULATED,
  shared: SHARED,
  effects: QCOW_EFFECTS,
};
