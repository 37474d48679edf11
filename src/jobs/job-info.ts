// What queries and events tell of a job: QAPI's JobInfo and BlockJobInfo, and the members that most BLOCK_JOB_* events have.

import type { BlockDeviceIoStatus, BlockJobInfo, JobInfo, JobStatus } from '../schema/generated/types.js';
import type { JobType } from './driver.js';

/** What queries and events are made of. */
export interface JobReport {
  readonly id: string;
  readonly type: JobType;
  readonly status: JobStatus;
  readonly progress: { readonly current: number; readonly total: number };
  /** Bytes per second, 0 = no limit. */
  readonly speed: number;
  readonly autoFinalize: boolean;
  readonly autoDismiss: boolean;
  /** Why it failed; undefined where it has not. */
  readonly errorText: string | undefined;
}

export function jobInfo(job: JobReport): JobInfo {
  const { id, type, status, progress } = job;
  return {
    id,
    type,
    status,
    'current-progress': progress.current,
    'total-progress': progress.total,
    ...errorMember(job),
  };
}

/** `busy`: something of it is under way. `paused`: somebody wants it quiet. */
export function blockJobInfo(
  job: JobReport,
  { busy, paused, ioStatus }: { busy: boolean; paused: boolean; ioStatus: BlockDeviceIoStatus },
): BlockJobInfo {
  const { status, autoFinalize, autoDismiss } = job;
  const { speed, ...work } = blockJobEvent(job);
  return {
    ...work,
    busy,
    paused,
    speed,
    'io-status': ioStatus,
    ready: status === 'ready' || status === 'standby',
    status,
    'auto-finalize': autoFinalize,
    'auto-dismiss': autoDismiss,
    ...errorMember(job),
  };
}

/** The members of BLOCK_JOB_READY and BLOCK_JOB_CANCELLED, which query and BLOCK_JOB_COMPLETED have, too. */
export function blockJobEvent({ id: device, type, progress: { current: offset, total: len }, speed }: JobReport) {
  return { type, device, len, offset, speed };
}

/** The member that says why it failed, where it has. */
export function errorMember({ errorText: error }: JobReport): { error?: string } {
  return error === undefined ? {} : { error };
}
