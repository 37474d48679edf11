import type { FormatFixture } from '../fixture.js';
import { QCOW2_ENTRIES } from './conformance.js';
import { QCOW2_MUTANTS } from './mutants.js';

export const QCOW2: FormatFixture = {
  name: 'qcow2',
  conformance: QCOW2_ENTRIES,
  mutants: QCOW2_MUTANTS,
  mutantCounts: { fixed: 5000, soak: 100_000 },
};
