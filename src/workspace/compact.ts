// Gives the unused space of an image's file back, or says what that would do.

import type { CompactOptions, CompactResult } from '../block/abilities.js';
import { skipFilters } from '../block/chain.js';
import type { BlockNode } from '../block/node/node.js';
import { compactJob, compactOf } from '../jobs/compact.js';
import type { Job } from '../jobs/job.js';
import type { JobEnvironment } from '../jobs/job-type.js';
import { startJob } from '../jobs/start.js';
import type { BlockdevCompact } from '../schema/generated/types.js';

/** As in `blockdev-compact`; `done` gets what the job has won. */
export interface CompactRequest extends Omit<BlockdevCompact, 'device'> {
  done?: (result: CompactResult) => void;
}

/** Starts the job. Rejects with `unsupported`, `busy`, `read-only`, `permission`, ... */
export function startCompact(env: JobEnvironment, node: BlockNode, request: CompactRequest): Promise<Job> {
  return startJob(env, compactJob, { ...request, device: node.nodeName });
}

/** Throws `unsupported` where the image is of a format that cannot be compacted. */
export function checkCompacts(root: BlockNode): void {
  compactOf(skipFilters(root));
}

/** What a compact would do. Writes nothing; the image may be read-only. Rejects with `unsupported`, `corrupt-image`, `limit`, `io`. */
export function planCompact(root: BlockNode, options: Omit<CompactOptions, 'dryRun'>): Promise<CompactResult> {
  const node = skipFilters(root);
  const control = { work: <T>(_bytes: number, action: () => Promise<T>) => action(), expect: () => undefined };
  return compactOf(node)({ ...options, dryRun: true }, control);
}
