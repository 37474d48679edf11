// Where each verb leads a job from each state that can be held over QMP. A verb that stands here for a state is taken there; every other one is
// refused, and the job stays. In `created` and `aborting` the reference's monitors answer nobody: these are in test/qmp/states.test.ts, as is
// block-job-change, which the reference does not have yet.
//
//   running  <-> paused                          stopped: paused by the error policy
//   ready    <-> standby                         leaving: in standby, and asked to complete
//   waiting --> pending --> concluded --> null   left: pending, after a mirror was cancelled without force

import type { Json } from '../../../support/qmp.js';

export const STATES = [
  ...['running', 'paused', 'stopped', 'ready', 'standby', 'leaving', 'waiting', 'pending', 'left'],
  ...['concluded', 'cancelled', 'failed'],
] as const;
export type State = (typeof STATES)[number] | 'gone';

export type JobKind =
  | 'stream'
  | 'commit'
  | 'active-commit'
  | 'mirror'
  | 'backup'
  | 'drive-mirror'
  | 'drive-backup'
  | 'create';

const STATUS: Partial<Record<State, string>> = {
  stopped: 'paused',
  leaving: 'standby',
  left: 'pending',
  cancelled: 'concluded',
  failed: 'concluded',
  gone: 'null',
};

/** JobStatus of a state. */
export const statusOf = (state: State): string => STATUS[state] ?? state;

/** What of the states each kind of job has. A transaction takes backups only. What a job of type `create` does is held by a throttle below the image. */
export const STATES_OF: Record<JobKind, readonly State[]> = {
  stream: ['running', 'paused', 'stopped', 'pending', 'concluded', 'cancelled', 'failed'],
  commit: ['running', 'paused', 'stopped', 'pending', 'concluded', 'cancelled', 'failed'],
  'active-commit': STATES.filter((state) => state !== 'waiting'),
  mirror: STATES.filter((state) => state !== 'waiting'),
  backup: ['running', 'paused', 'stopped', 'waiting', 'pending', 'concluded', 'cancelled', 'failed'],
  // Only a machine has them.
  'drive-mirror': STATES.filter((state) => state !== 'waiting'),
  'drive-backup': ['running', 'paused', 'stopped', 'pending', 'concluded', 'cancelled', 'failed'],
  create: ['running', 'concluded', 'failed'],
};

export interface Verb {
  command: string;
  words: Json;
  leads: Partial<Record<State, State>>;
}

const verb = (command: string, key: 'id' | 'device', leads: Verb['leads'], more: Json = {}): Verb => ({
  command,
  words: { [key]: 'j', ...more },
  leads,
});

const PAUSE: Verb['leads'] = { running: 'paused', ready: 'standby' };
const RESUME: Verb['leads'] = { paused: 'running', stopped: 'running', standby: 'ready', leaving: 'pending' };
const COMPLETE: Verb['leads'] = { ready: 'pending', standby: 'leaving', leaving: 'leaving' };
const FINALIZE: Verb['leads'] = { pending: 'concluded', left: 'concluded' };
const DISMISS: Verb['leads'] = { concluded: 'gone', cancelled: 'gone', failed: 'gone' };
const CANCEL: Verb['leads'] = Object.fromEntries(
  ['running', 'paused', 'stopped', 'ready', 'standby', 'leaving', 'waiting', 'pending', 'left'].map((state) => [
    state,
    'cancelled',
  ]),
);
/** A mirror that is ready is left as it is, without its last step. What a user has paused is not cancelled without force. */
const SOFT_CANCEL: Verb['leads'] = {
  running: 'cancelled',
  ready: 'left',
  waiting: 'cancelled',
  pending: 'cancelled',
  left: 'cancelled',
};
/** At full speed it runs to its end: to `pending`, or `ready`. */
const FASTER: Verb['leads'] = { running: 'pending' };

export const VERBS: readonly Verb[] = [
  verb('job-pause', 'id', PAUSE),
  verb('job-resume', 'id', RESUME),
  verb('job-complete', 'id', COMPLETE),
  verb('job-cancel', 'id', CANCEL),
  verb('job-finalize', 'id', FINALIZE),
  verb('job-dismiss', 'id', DISMISS),
  verb('block-job-pause', 'device', PAUSE),
  verb('block-job-resume', 'device', RESUME),
  verb('block-job-complete', 'device', COMPLETE),
  verb('block-job-cancel', 'device', SOFT_CANCEL),
  verb('block-job-cancel', 'device', SOFT_CANCEL, { force: false }),
  verb('block-job-cancel', 'device', CANCEL, { force: true }),
  verb('block-job-finalize', 'id', FINALIZE),
  verb('block-job-dismiss', 'id', DISMISS),
  verb('block-job-set-speed', 'device', {}, { speed: 2 }),
  verb('block-job-set-speed', 'device', {}, { speed: -1 }),
  verb('block-job-set-speed', 'device', FASTER, { speed: 0 }),
];
