// The law of jobs, in two tables: from which state to which, and which verb is taken in which state (QAPI's JobStatus
// and JobVerb; DESIGN, "Jobs").

import type { JobStatus, JobVerb } from '../schema/generated/types.js';
import { BlockError } from '../util/errors.js';

const TRANSITIONS: Readonly<Record<JobStatus, readonly JobStatus[]>> = {
  undefined: ['created'],
  created: ['running', 'aborting', 'null'],
  running: ['paused', 'ready', 'waiting', 'aborting'],
  paused: ['running'],
  ready: ['standby', 'waiting', 'aborting'],
  standby: ['ready'],
  waiting: ['pending', 'aborting'],
  pending: ['aborting', 'concluded'],
  aborting: ['aborting', 'concluded'],
  concluded: ['null'],
  null: [],
};

const VERBS: Readonly<Record<JobStatus, readonly JobVerb[]>> = {
  undefined: [],
  created: ['cancel', 'pause', 'resume', 'set-speed'],
  running: ['cancel', 'pause', 'resume', 'set-speed', 'change'],
  paused: ['cancel', 'pause', 'resume', 'set-speed', 'change'],
  ready: ['cancel', 'pause', 'resume', 'set-speed', 'complete', 'change'],
  standby: ['cancel', 'pause', 'resume', 'set-speed', 'complete', 'change'],
  waiting: ['cancel'],
  pending: ['cancel', 'finalize'],
  aborting: [],
  concluded: ['dismiss'],
  null: [],
};

export function canGo(from: JobStatus, to: JobStatus): boolean {
  return TRANSITIONS[from].includes(to);
}

export function takesVerb(status: JobStatus, verb: JobVerb): boolean {
  return VERBS[status].includes(verb);
}

/** Throws `bad-state`, in QEMU's words, where a job in `status` does not take `verb`. */
export function checkVerb(id: string, status: JobStatus, verb: JobVerb): void {
  if (!takesVerb(status, verb)) {
    throw new BlockError('bad-state', `Job '${id}' in state '${status}' cannot accept command verb '${verb}'`);
  }
}

/** Of a job whose type has nothing to change. */
export function nothingToChange(): BlockError {
  return new BlockError('unsupported', 'Job type does not support change');
}

/** Throws `internal`: a way that is not in the table is a mistake of ours. */
export function checkTransition(id: string, from: JobStatus, to: JobStatus): void {
  if (!canGo(from, to)) throw new BlockError('internal', `Job '${id}' cannot go from state '${from}' to '${to}'`);
}
