// The format of an image that is to be made, by its file's name, where none is given.

import { allDrivers } from '../block/registry.js';
import { BlockError } from '../util/errors.js';

/** The format of images whose names end as `filename` does: `.qcow2`, `.raw`, `.img`. Throws `invalid-argument` where the name says nothing. */
export function formatOfName(filename: string): string {
  const suffix = /\.([^./]+)$/.exec(filename)?.[1].toLowerCase();
  for (const { name, kind, create, suffixes = [name] } of allDrivers()) {
    if (kind !== 'protocol' && create !== undefined && suffix !== undefined && suffixes.includes(suffix)) return name;
  }
  throw new BlockError('invalid-argument', `'${filename}' does not say which format it is to have: name a 'driver'`, {
    path: filename,
  });
}
