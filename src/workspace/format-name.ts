// The format of an image that is to be made, by its file's name, where none is given.

import { allDrivers, defaultDriver } from '../block/registry.js';
import { BlockError } from '../util/errors.js';

/** The format of images whose names end as `filename` does: `.qcow2`, `.raw`, `.img`. Throws `invalid-argument` where the name says nothing. */
export function formatOfName(filename: string): string {
  const format = saidByName(filename);
  if (format !== null) return format;
  throw new BlockError('invalid-argument', `'${filename}' does not say which format it is to have: name a 'driver'`, {
    path: filename,
  });
}

/** The same for the target of a job; where its name says nothing, it is the format that overlays have. */
export function formatOfTarget(filename: string): string {
  return saidByName(filename) ?? defaultDriver('overlay').name;
}

function saidByName(filename: string): string | null {
  const suffix = /\.([^./]+)$/.exec(filename)?.[1].toLowerCase();
  for (const { name, kind, create, suffixes = [name] } of allDrivers()) {
    if (kind !== 'protocol' && create !== undefined && suffix !== undefined && suffixes.includes(suffix)) return name;
  }
  return null;
}
