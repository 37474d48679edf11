// `--compat`: the older QMPs whose commands a monitor takes besides.

import { TYPES } from '../schema/generated/table.js';
import type { CompatGeneration } from '../schema/generated/types.js';
import type { Generations } from '../schema/introspect.js';
import { UsageError } from './getopt.js';

/** What the options `--compat` name. Throws `UsageError`. */
export function generationsOf(texts: readonly string[]): Generations {
  const given = new Set<CompatGeneration>();
  for (const text of texts) {
    const known = TYPES.CompatGeneration.values.find((generation) => generation === text);
    if (known === undefined) {
      throw new UsageError(`--compat ${text}: expected ${TYPES.CompatGeneration.values.join(' or ')}`);
    }
    given.add(known);
  }
  return given;
}
