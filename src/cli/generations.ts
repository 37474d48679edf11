// `--compat`: the older QMPs whose commands a monitor takes besides.

import type { CompatGeneration } from '../schema/generated/types.js';
import type { Generations } from '../schema/introspect.js';
import { UsageError } from './getopt.js';

/** Those of the schema: its table takes longer to load than most commands can spare. */
const KNOWN = { 'first-names': true, '2.1': true } satisfies Record<CompatGeneration, true>;

export const GENERATIONS = Object.keys(KNOWN) as readonly CompatGeneration[];

/** What the options `--compat` name. Throws `UsageError`. */
export function generationsOf(texts: readonly string[]): Generations {
  const given = new Set<CompatGeneration>();
  for (const text of texts) {
    const known = GENERATIONS.find((generation) => generation === text);
    if (known === undefined) {
      throw new UsageError(`--compat ${text}: expected ${GENERATIONS.join(' or ')}`);
    }
    given.add(known);
  }
  return given;
}
