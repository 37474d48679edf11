// The job types that are known by name: one line each.
//
// The command line and the library start a job by its definition; the name is for QMP, whose commands (`blockdev-mirror`, and the `query-*`
// ones) find the type by it.

import { BlockError } from '../util/errors.js';
import { backupJob } from './backup.js';
import { commitJob } from './commit.js';
import { compactJob } from './compact.js';
import type { CommonArguments, JobTypeDefinition } from './job-type.js';
import { mirrorJob } from './mirror.js';
import { streamJob } from './stream.js';

type AnyJobType = JobTypeDefinition<CommonArguments & never>;

const TYPES = new Map<string, AnyJobType>();

/** Makes a job type known. Returns what makes it unknown again, but not another one that has its name since. */
export function registerJobType<A extends CommonArguments>(type: JobTypeDefinition<A>): () => void {
  TYPES.set(type.name, type);
  return () => {
    if (TYPES.get(type.name) === type) TYPES.delete(type.name);
  };
}

registerJobType(backupJob);
registerJobType(commitJob);
registerJobType(compactJob);
registerJobType(mirrorJob);
registerJobType(streamJob);

/** The job type called `name`. Throws `invalid-argument`. */
export function findJobType<A extends CommonArguments>(name: string): JobTypeDefinition<A> {
  const found = TYPES.get(name);
  if (found !== undefined) return found as JobTypeDefinition<A>;
  throw new BlockError('invalid-argument', `Unknown job type '${name}'`);
}
