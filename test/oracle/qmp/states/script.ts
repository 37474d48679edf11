// The script of one (kind of job, state, verb): the graph, a job brought into the state, the verb, where it leads, and the job's end.

import { copyFileSync } from 'node:fs';
import type { Json } from '../../../support/qmp.js';
import { command, type Setup, SO_FAR, type Step, until, untilStatus } from '../runner.js';
import { type JobKind, type State, statusOf, type Verb } from './table.js';

const MIB = 1 << 20;
/** A job at a speed of one byte a second never gets through it. */
const BIG = 24 * MIB;
const SMALL = MIB;

/** Images full of data: the big one has more of it than the reference's mirror takes in flight at once. A stream fills `empty-N.qcow2`. */
export const filesFor =
  (scripts: number): Setup['files'] =>
  (shop, folder) => {
    for (const [name, size] of Object.entries({ big: BIG, small: SMALL }))
      shop.must('qemu-img', 'create', '-q', '-f', 'raw', `${folder}/${name}-base.raw`, String(size));
    for (const format of ['raw', 'qcow2']) {
      for (const [name, size] of Object.entries({ big: BIG, small: SMALL })) {
        const file = `${folder}/${name}.${format}`;
        shop.must('qemu-img', 'create', '-q', '-f', format, file, String(size));
        shop.must('qemu-io', '-f', format, '-c', `write -P 1 0 ${size}`, file);
      }
    }
    shop.must('qemu-img', 'create', '-q', '-f', 'raw', `${folder}/held`, String(SMALL));
    shop.must('qemu-img', 'create', '-q', '-f', 'qcow2', `${folder}/empty.qcow2`, String(BIG));
    for (let i = 0; i < scripts; i++) copyFileSync(`${folder}/empty.qcow2`, `${folder}/empty-${i}.qcow2`);
  };

const STATE: Step[] = [command('query-jobs'), command('query-block-jobs')];
const HELD_BY_SPEED: readonly State[] = ['running', 'paused', 'stopped', 'cancelled'];
const FAILING: readonly State[] = ['stopped', 'failed'];

/** `serial`: of this script among all that one daemon gets. */
export function scriptOf(kind: JobKind, state: State, verb: Verb, serial: number): Step[] {
  const led = leadOf(kind, state, verb);
  const job = kind === 'create' ? creation(state) : copy(kind, state, serial);
  return [
    ...job.graph,
    ...job.start,
    ...hold(kind, state),
    ...STATE,
    SO_FAR,
    command(verb.command, verb.words),
    ...(statusOf(led) === statusOf(state) ? [] : [untilStatus('j', statusOf(led))]),
    ...STATE,
    ...(kind === 'create' && led === 'running' ? [...RELEASE, ...end('concluded')] : end(led)),
    ...(state === 'waiting' ? [command('job-dismiss', { id: 'k' })] : []),
    ...STATE,
    ...job.nodes.map((node) => command('blockdev-del', { 'node-name': node })),
    ...(job.objects ?? []).map((id) => command('object-del', { id })),
  ];
}

/** The state that the verb leads to: the same where it is refused. */
function leadOf(kind: JobKind, state: State, verb: Verb): State {
  // It is no block job.
  if (kind === 'create') return verb.command === 'job-dismiss' && state !== 'running' ? 'gone' : state;
  const led = verb.leads[state] ?? state;
  if (isBackup(kind) && state === 'stopped' && led === 'running') return 'pending';
  return isMirror(kind) && state === 'running' && led === 'pending' ? 'ready' : led;
}

const isMirror = (kind: JobKind): boolean => kind.endsWith('mirror') || kind === 'active-commit';
const isBackup = (kind: JobKind): boolean => kind.endsWith('backup');

interface Job {
  graph: Step[];
  start: Step[];
  /** From the top down. */
  nodes: string[];
  objects?: string[];
}

const nothing = (size: number): Json => ({ driver: 'null-co', size, 'read-zeroes': false });
/** Its first read, or its first one with data of an image, fails. */
const failing = (image: Json): Json => ({
  driver: 'blkdebug',
  image,
  'inject-error': [{ event: 'read_aio', once: true, errno: 5 }],
});
const add = (name: string, words: Json): Step => command('blockdev-add', { 'node-name': name, ...words });

function copy(kind: JobKind, state: State, serial: number): Job {
  // The reference's backup hears of a failed request when the time for its next one has come.
  const slow = HELD_BY_SPEED.includes(state) && !(isBackup(kind) && state === 'stopped');
  const size = slow ? BIG : SMALL;
  const fault = FAILING.includes(state);
  const common = {
    'job-id': 'j',
    'auto-finalize': false,
    'auto-dismiss': false,
    ...(slow && { speed: 1 }),
  };
  const full = slow ? 'big' : 'small';
  const bytes = (file: string, faulty: boolean): Json => {
    const image = { driver: 'file', filename: `DIR/${file}` };
    return faulty ? failing(image) : image;
  };
  const source = (name: string): Step => add(name, { driver: 'raw', file: bytes(`${full}.raw`, fault) });
  const image = (name: string, file: string, backing: string, faulty = false): Step =>
    add(name, { driver: 'qcow2', file: bytes(`${file}.qcow2`, faulty), backing });
  const onError = { 'on-error': state === 'stopped' ? 'stop' : 'report' };
  const onSourceError = { 'on-source-error': state === 'stopped' ? 'stop' : 'report' };
  switch (kind) {
    case 'stream':
      return {
        graph: [source('base'), image('top', `empty-${serial}`, 'base')],
        start: [command('block-stream', { ...common, ...onError, device: 'top' })],
        nodes: ['top', 'base'],
      };
    case 'commit':
      return {
        graph: [
          add('base', { driver: 'raw', file: { driver: 'file', filename: `DIR/${full}-base.raw` } }),
          image('mid', full, 'base', fault),
          image('top', `empty-${serial}`, 'mid'),
        ],
        start: [
          command('block-commit', { ...common, ...onError, device: 'top', 'top-node': 'mid', 'base-node': 'base' }),
        ],
        nodes: ['top', 'mid', 'base'],
      };
    case 'active-commit':
      return {
        graph: [add('base', nothing(size)), image('top', full, 'base', fault)],
        start: [command('block-commit', { ...common, ...onError, device: 'top', 'base-node': 'base' })],
        nodes: ['top', 'base'],
      };
    case 'mirror':
      return {
        graph: [source('top'), add('target', nothing(size))],
        start: [
          command('blockdev-mirror', {
            ...common,
            ...onSourceError,
            device: 'top',
            target: 'target',
            sync: 'full',
            'buf-size': 65536,
            granularity: 65536,
          }),
        ],
        nodes: ['top', 'target'],
      };
    case 'drive-mirror':
    case 'drive-backup': {
      const target = `json:${JSON.stringify({ driver: 'raw', file: nothing(size) })}`;
      const more = kind === 'drive-mirror' ? { 'buf-size': 65536, granularity: 65536 } : {};
      const words = { device: 'top', target, sync: 'full', mode: 'existing', format: 'raw', ...more };
      return {
        graph: [source('top')],
        start: [command(kind, { ...common, ...onSourceError, ...words })],
        nodes: ['top'],
      };
    }
    default:
      return backup(state, { ...common, ...onSourceError }, [source('top'), add('target', nothing(size))]);
  }
}

/** One that waits for another one in its transaction, or one alone. */
function backup(state: State, common: Json, graph: Step[]): Job {
  const words = (id: string, device: string, target: string) => ({ 'job-id': id, device, target, sync: 'full' });
  const own = { ...common, ...words('j', 'top', 'target') };
  if (state !== 'waiting') return { graph, start: [command('blockdev-backup', own)], nodes: ['top', 'target'] };
  const slow = { ...common, ...words('k', 'top2', 'target2'), speed: 1 };
  const actions = [own, slow].map((data) => ({ type: 'blockdev-backup', data }));
  return {
    graph: [...graph, add('top2', nothing(BIG)), add('target2', nothing(BIG))],
    start: [command('transaction', { actions, properties: { 'completion-mode': 'grouped' } })],
    nodes: ['top', 'target', 'top2', 'target2'],
  };
}

/** The throttle lets the first request through, and holds the second one. */
function creation(state: State): Job {
  const start = (options: Json): Step[] => [command('blockdev-create', { 'job-id': 'j', options })];
  if (state === 'running') {
    const group = { 'qom-type': 'throttle-group', id: 'slow', limits: { 'bps-total': 1 } };
    return {
      graph: [
        command('object-add', group),
        add('file', { driver: 'file', filename: 'DIR/held' }),
        add('throttle', { driver: 'throttle', file: 'file', 'throttle-group': 'slow' }),
      ],
      start: start({ driver: 'qcow2', file: 'throttle', size: SMALL }),
      nodes: ['throttle', 'file'],
      objects: ['slow'],
    };
  }
  const folder = state === 'failed' ? 'DIR/nowhere' : 'DIR';
  return { graph: [], start: start({ driver: 'file', filename: `${folder}/created`, size: SMALL }), nodes: [] };
}

/** Requests that are held learn of new limits when the reference drains them: it does so with all nodes in any transaction. */
const RELEASE: Step[] = [
  command('qom-set', { path: 'slow', property: 'limits', value: { 'bps-total': 0 } }),
  command('transaction', { actions: [] }),
  untilStatus('j', 'concluded'),
  ...STATE,
];

/** From the start to the state. */
function hold(kind: JobKind, state: State): Step[] {
  const running = untilStatus('j', 'running');
  const ready = [untilStatus('j', 'ready'), until('BLOCK_JOB_READY')];
  const standby = [...ready, command('job-pause', { id: 'j' }), untilStatus('j', 'standby')];
  const pending = isMirror(kind)
    ? [...ready, command('job-complete', { id: 'j' }), untilStatus('j', 'pending')]
    : [untilStatus('j', 'pending')];
  switch (state) {
    case 'running':
      return [running];
    case 'paused':
      return [running, SO_FAR, command('job-pause', { id: 'j' }), untilStatus('j', 'paused')];
    case 'stopped':
      return [until('BLOCK_JOB_ERROR'), untilStatus('j', 'paused')];
    case 'ready':
      return ready;
    case 'standby':
      return standby;
    case 'leaving':
      return [...standby, command('job-complete', { id: 'j' })];
    case 'waiting':
      return [untilStatus('j', 'waiting')];
    case 'pending':
      return pending;
    case 'left':
      return [...ready, command('block-job-cancel', { device: 'j' }), untilStatus('j', 'pending')];
    case 'cancelled':
      return [running, command('job-cancel', { id: 'j' }), untilStatus('j', 'concluded')];
    case 'concluded':
      if (kind === 'create') return [untilStatus('j', 'concluded')];
      return [...pending, command('job-finalize', { id: 'j' }), untilStatus('j', 'concluded')];
    default:
      return [untilStatus('j', 'concluded')];
  }
}

/** From a state to `null`. */
function end(state: State): Step[] {
  const dismissed = [command('job-dismiss', { id: 'j' }), untilStatus('j', 'null')];
  if (state === 'gone') return [];
  if (statusOf(state) === 'concluded') return dismissed;
  return [command('job-cancel', { id: 'j' }), untilStatus('j', 'concluded'), ...dismissed];
}
