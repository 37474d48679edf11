// Shapes (see shape.ts) from types of the schema: the members that a settings object of the library takes over from QAPI.

import { TYPES } from './generated/table.js';
import type { QapiTypes } from './generated/types.js';
import type { Check, Shape } from './shape.js';
import type { Members } from './table.js';
import { validateMember } from './validate.js';

/** Checks for the members of a QAPI struct, except those in `without`. */
export function membersOf<K extends keyof QapiTypes, W extends keyof QapiTypes[K] & string>(
  type: K,
  without: readonly W[],
): Shape<Omit<QapiTypes[K], W>> {
  const { members } = TYPES[type as keyof typeof TYPES] as unknown as { members: Members };
  const checks = Object.entries(members)
    .filter(([name]) => !without.includes(name as W))
    .map(([name, { type: member }]) => [
      name,
      (value: unknown, path: string) => validateMember(member, value, path, { suggest: true }),
    ]);
  return Object.fromEntries(checks) as Shape<Omit<QapiTypes[K], W>>;
}

/** A check for a value of a QAPI type. */
export function qapi<K extends keyof QapiTypes>(type: K): Check<QapiTypes[K]> {
  return (value, path) => validateMember(type, value, path, { suggest: true }) as QapiTypes[K];
}
