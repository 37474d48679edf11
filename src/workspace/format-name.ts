// The format of an image that is to be created, by the suffix of its file name, where the caller gives none.

import { defaultDriver, formatOfSuffix } from '../block/registry.js';
import { BlockError } from '../util/errors.js';

/** The format of images whose names end as `filename` does: `.qcow2`, `.raw`, `.img`. Throws `invalid-argument` for any other name. */
export function formatOfName(filename: string): string {
  const format = formatBySuffix(filename);
  if (format !== null) return format;
  throw new BlockError('invalid-argument', `The name '${filename}' does not imply a format: set 'driver'`, {
    path: filename,
  });
}

/** As `formatOfName`, for the target of a job: for a name without a known suffix, it is the format of overlays. */
export function formatOfTarget(filename: string): string {
  return formatBySuffix(filename) ?? defaultDriver('overlay').name;
}

function formatBySuffix(filename: string): string | null {
  const suffix = /\.([^./]+)$/.exec(filename)?.[1];
  const format = suffix === undefined ? undefined : formatOfSuffix(suffix);
  return format?.create === undefined ? null : format.name;
}
