// Checks (see shape.ts) from types of the schema: for the members of settings whose values are QAPI's.

import type { QapiTypes } from './generated/types.js';
import type { Check } from './shape.js';
import { validateMember } from './validate.js';

/** A check for a value of a QAPI type. */
export function qapi<K extends keyof QapiTypes>(type: K): Check<QapiTypes[K]> {
  return (value, path) => validateMember(type, value, path, { suggest: true }) as QapiTypes[K];
}
