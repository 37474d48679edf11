import type { FormatFixture } from '../fixture.js';
import { RAW_ENTRIES } from './conformance.js';

export const RAW: FormatFixture = { name: 'raw', conformance: RAW_ENTRIES, mutants: [] };
