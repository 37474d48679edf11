// How much of a seeded test runs. Each test run takes a small sample: the same seeds every time, and some of the day's own, so that
// new ones are tried each day. `npm run soak` runs many more.
//
//   npm test                           `fixed` seeds from `first` on, and `daily` seeds of today
//   DISKWRIGHT_DAY=20783 npm test      the seeds of that day again
//   DISKWRIGHT_SEED=42 npm test -- -g ...     this seed alone
//   DISKWRIGHT_SOAK=1 (npm run soak)   `soak` seeds from DISKWRIGHT_SEED on, or else from the day's first; DISKWRIGHT_SEEDS=N of them

import { DAY } from '../../scripts/day.mjs';

export { DAY };

const SEEDS_A_DAY = 1000;
const GIVEN = process.env['DISKWRIGHT_SEED'];
/** This is a long run. */
export const SOAK = process.env['DISKWRIGHT_SOAK'] === '1';
/** A long run may be done in slices. */
const COUNT = process.env['DISKWRIGHT_SEEDS'];

export interface Sample {
  /** The first of the seeds that run every time. Default: 1. */
  first?: number;
  fixed: number;
  daily?: number;
  soak: number;
}

/** The seed of a test that needs one: the given one, the day's where many are tried, otherwise `usual`. */
export function seedOf(usual: number): number {
  if (GIVEN !== undefined) return Number(GIVEN);
  return SOAK ? DAY * SEEDS_A_DAY : usual;
}

/** Throws where it would be no test. */
function countOf(text: string): number {
  if (/^[1-9]\d*$/.test(text)) return Number(text);
  throw new Error(`DISKWRIGHT_SEEDS is a number of seeds from 1 on, not '${text}'`);
}

/** The seeds that a test runs now. */
export function seedsOf({ first = 1, fixed, daily = 0, soak }: Sample): number[] {
  if (SOAK) return from(seedOf(first), COUNT === undefined ? soak : countOf(COUNT));
  if (GIVEN !== undefined) return [Number(GIVEN)];
  return [...from(first, fixed), ...from(DAY * SEEDS_A_DAY, daily)];
}

/** `ms` for a test's time limit; a soak has none. */
export function timeLimit(ms: number): number {
  return SOAK ? 0 : ms;
}

/** How often something is repeated that has no seed of its own. */
export function repeats(usual: number, soak: number): number {
  return SOAK ? soak : usual;
}

/** `60 seeds from 1, 5 from 20783000`: for titles, so that a failure can be repeated. */
export function spanOf(seeds: readonly number[]): string {
  const spans: string[] = [];
  for (let start = 0; start < seeds.length; ) {
    let end = start + 1;
    while (end < seeds.length && seeds[end] === seeds[end - 1] + 1) end++;
    spans.push(`${end - start} from ${seeds[start]}`);
    start = end;
  }
  return `seeds: ${spans.join(', ')}`;
}

function from(first: number, count: number): number[] {
  return Array.from({ length: count }, (_, i) => first + i);
}
