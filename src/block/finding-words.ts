// What a format needs to say what a check of its images has found.

import type { CheckFinding, Exact, FindingKind } from './finding.js';

/** The text of findings, by kind. A kind has the same text whichever format finds it: where the words are others, so is the kind. */
export type FindingWords = Readonly<Partial<Record<FindingKind, (finding: CheckFinding) => string>>>;

/** Hexadecimal digits, without `0x`. */
export function hex(value: Exact | undefined): string {
  return typeof value === 'string' ? value.slice(2) : Number(value).toString(16);
}

/** Decimal digits, all of them. */
export function decimal(value: Exact | undefined): string {
  return String(typeof value === 'string' ? BigInt(value) : value);
}
