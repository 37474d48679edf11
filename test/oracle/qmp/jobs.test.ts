// The commands of jobs against qemu-storage-daemon: starting, verbs in each state, what is wrong, events.

import { requirePeer } from '../../support/peers.js';
import { command, comparing, type Setup, type Step, until, untilStatus } from './runner.js';

const SIZE = 4 << 20;
/** Bytes a second: a job at this rate is under way for as long as a script needs. */
const SLOW = 65536;

const files: Setup['files'] = (shop, folder) => {
  const make = (...words: string[]) => shop.must('qemu-img', 'create', '-q', ...words);
  make('-f', 'qcow2', `${folder}/base.qcow2`, String(SIZE));
  shop.must('qemu-io', '-c', 'write -P 1 0 3M', `${folder}/base.qcow2`);
  make('-f', 'qcow2', '-b', `${folder}/base.qcow2`, '-F', 'qcow2', `${folder}/mid.qcow2`);
  shop.must('qemu-io', '-c', 'write -P 2 1M 1M', `${folder}/mid.qcow2`);
  make('-f', 'qcow2', '-b', `${folder}/mid.qcow2`, '-F', 'qcow2', `${folder}/top.qcow2`);
  shop.must('qemu-io', '-c', 'write -P 3 2M 1M', `${folder}/top.qcow2`);
  make('-f', 'raw', `${folder}/target.raw`, String(SIZE));
  make('-f', 'raw', `${folder}/small.raw`, '1M');
  make('-f', 'raw', `${folder}/large.raw`, '8M');
};

const add = (name: string, driver: string, file: string, more = {}): Step =>
  command('blockdev-add', {
    driver,
    'node-name': name,
    file: { driver: 'file', filename: `DIR/${file}` },
    ...more,
  });

/** base <- mid <- top, all of them by name, and targets. */
const GRAPH: Step[] = [
  add('base', 'qcow2', 'base.qcow2', { 'read-only': true }),
  add('mid', 'qcow2', 'mid.qcow2', { 'read-only': true, backing: 'base' }),
  add('top', 'qcow2', 'top.qcow2', { backing: 'mid' }),
  add('target', 'raw', 'target.raw'),
  add('small', 'raw', 'small.raw'),
  add('large', 'raw', 'large.raw'),
];
const STATE: Step[] = [command('query-jobs'), command('query-block-jobs')];

const COPIES: Record<string, [string, object]> = {
  mirror: ['blockdev-mirror', { device: 'top', target: 'target', sync: 'full' }],
  backup: ['blockdev-backup', { device: 'top', target: 'target', sync: 'full' }],
  commit: ['block-commit', { device: 'top', 'top-node': 'mid', 'base-node': 'base' }],
  stream: ['block-stream', { device: 'top' }],
};
const start = (type: string, more = {}): Step => {
  const [name, words] = COPIES[type];
  return command(name, { 'job-id': 'j', ...words, ...more });
};
const VERBS = (id: string): Step[] =>
  ['job-pause', 'job-resume', 'job-complete', 'job-finalize', 'job-dismiss', 'job-cancel'].map((verb) =>
    command(verb, { id }),
  );

/** A mirror that waits for its end holds the reference's guests; ours is paused for nobody. Its length: ours counts what has no data, too. */
const filter = (text: string): string =>
  text
    .replace(/"paused":(true|false)(?=[^}]*"status":"pending","type":"mirror")/, '')
    .replace(/"(len|total-progress)":\d+(?=[^}]*"type":"commit")/g, '');

describe('qmp against qemu-storage-daemon: jobs', () => {
  before(function () {
    for (const peer of ['qemu-storage-daemon', 'qemu-img', 'qemu-io']) requirePeer(this, peer);
  });

  const same = (title: string, ...script: Step[]): void => {
    it(title, comparing([...GRAPH, ...script], { files, filter }));
  };

  for (const type of Object.keys(COPIES)) {
    const ready = type === 'mirror' ? [untilStatus('j', 'ready'), until('BLOCK_JOB_READY')] : [];
    const end = type === 'mirror' ? [...ready, command('job-complete', { id: 'j' })] : [];
    same(`${type}: to its end`, start(type), ...end, untilStatus('j', 'null'), ...STATE);
    same(
      `${type}: finalized and dismissed by hand`,
      start(type, { 'auto-finalize': false, 'auto-dismiss': false }),
      ...end,
      until('BLOCK_JOB_PENDING'),
      ...STATE,
      command('job-finalize', { id: 'j' }),
      untilStatus('j', 'concluded'),
      ...STATE,
      command('job-dismiss', { id: 'j' }),
      untilStatus('j', 'null'),
      ...STATE,
    );
    same(
      `${type}: verbs by id where they are not taken`,
      start(type, { 'auto-finalize': false, 'auto-dismiss': false }),
      ...end,
      until('BLOCK_JOB_PENDING'),
      ...['job-pause', 'job-resume', 'job-complete', 'job-dismiss'].map((verb) => command(verb, { id: 'j' })),
      ...['pause', 'resume', 'complete'].map((verb) => command(`block-job-${verb}`, { device: 'j' })),
      command('block-job-set-speed', { device: 'j', speed: 1 }),
      command('job-finalize', { id: 'j' }),
      untilStatus('j', 'concluded'),
      ...VERBS('j').filter((step) => 'execute' in step && step.execute !== 'job-dismiss'),
      command('block-job-cancel', { device: 'j' }),
      command('block-job-finalize', { id: 'j' }),
      command('block-job-dismiss', { id: 'j' }),
      untilStatus('j', 'null'),
    );
    same(
      `${type}: cancelled while it waits to be finalized`,
      start(type, { 'auto-finalize': false, 'auto-dismiss': false }),
      ...end,
      until('BLOCK_JOB_PENDING'),
      command('job-cancel', { id: 'j' }),
      untilStatus('j', 'concluded'),
      ...STATE,
      command('job-dismiss', { id: 'j' }),
      untilStatus('j', 'null'),
    );
    // The reference's mirror has it all in flight at once: nothing of it is slow.
    if (type !== 'mirror')
      same(
        `${type}: slow, paused, resumed, faster, cancelled`,
        start(type, { speed: SLOW }),
        command('job-pause', { id: 'j' }),
        untilStatus('j', 'paused'),
        command('job-pause', { id: 'j' }),
        command('block-job-pause', { device: 'j' }),
        command('block-job-cancel', { device: 'j' }),
        // Where the reference puts its filter in, it may still be on its way to the pause.
        ...(type === 'backup' ? [] : [command('job-complete', { id: 'j' })]),
        command('job-resume', { id: 'j' }),
        command('job-resume', { id: 'j' }),
        command('block-job-set-speed', { device: 'j', speed: -1 }),
        command('block-job-set-speed', { device: 'j', speed: SLOW }),
        command('block-job-cancel', { device: 'j' }),
        untilStatus('j', 'null'),
        ...STATE,
      );
    same(
      `${type}: cancelled by force, not dismissed`,
      start(type, { speed: SLOW, 'auto-dismiss': false }),
      command('block-job-cancel', { device: 'j', force: true }),
      untilStatus('j', 'concluded'),
      ...STATE,
      command('block-job-dismiss', { id: 'j' }),
      untilStatus('j', 'null'),
    );
    same(
      `${type}: what is wrong with its arguments`,
      start(type, { 'job-id': '1' }),
      start(type, { 'job-id': 'a b' }),
      start(type, { speed: 'x' }),
      start(type, { device: 'nobody' }),
      start(type, { device: 7 }),
      start(type, { 'on-error': 'never' }),
      start(type, { nonsense: 1 }),
      start(type, { sync: 'nonsense' }),
      start(type, { target: 'nobody' }),
      ...(type === 'mirror' ? [] : [start(type, { target: 'small' })]),
      start(type, { 'auto-finalize': 'yes' }),
      command(COPIES[type][0], {}),
      ...STATE,
    );
    it(
      `${type}: a speed that is none`, // Some of the reference's jobs are created first, and gone at once.
      comparing([...GRAPH, start(type, { speed: -1 }), ...STATE], { files, events: false }),
    );
    same(
      `${type}: one more on the same node`,
      start(type, { speed: SLOW, 'auto-dismiss': false }),
      ...['top', 'mid', 'base', ...(type === 'mirror' || type === 'backup' ? ['target'] : [])].map((name) =>
        command('blockdev-del', { 'node-name': name }),
      ),
      command('job-cancel', { id: 'j' }),
      untilStatus('j', 'concluded'),
      command('job-dismiss', { id: 'j' }),
      untilStatus('j', 'null'),
      ...STATE,
    );
  }

  same(
    'mirror: ready, its verbs, and left without a switch',
    start('mirror'),
    untilStatus('j', 'ready'),
    until('BLOCK_JOB_READY'),
    ...STATE,
    command('job-pause', { id: 'j' }),
    untilStatus('j', 'standby'),
    command('job-pause', { id: 'j' }),
    ...STATE,
    command('job-resume', { id: 'j' }),
    untilStatus('j', 'ready'),
    command('block-job-set-speed', { device: 'j', speed: 1 << 20 }),
    command('job-finalize', { id: 'j' }),
    command('job-dismiss', { id: 'j' }),
    command('block-job-cancel', { device: 'j' }),
    untilStatus('j', 'null'),
    ...STATE,
  );
  for (const target of ['small', 'large']) {
    same(
      `mirror: to a ${target} target`,
      start('mirror', { target, 'auto-dismiss': false }),
      untilStatus('j', 'concluded'),
      ...STATE,
      command('job-dismiss', { id: 'j' }),
    );
  }
  same(
    'mirror: ready and cancelled by its id',
    start('mirror'),
    untilStatus('j', 'ready'),
    command('job-cancel', { id: 'j' }),
    untilStatus('j', 'null'),
    ...STATE,
  );
  same(
    'commit of the top: ready and completed',
    command('block-commit', { 'job-id': 'j', device: 'top', 'base-node': 'base' }),
    untilStatus('j', 'ready'),
    ...STATE,
    command('block-job-complete', { device: 'j' }),
    untilStatus('j', 'null'),
  );
  same(
    'layers of a stream and of a commit, and what is wrong with them',
    ...(
      [
        ['block-stream', {}],
        ['block-stream', { 'job-id': 's', base: 'nope' }],
        ['block-stream', { 'job-id': 's', 'base-node': 'nope' }],
        ['block-stream', { 'job-id': 's', bottom: 'nope' }],
        ['block-stream', { 'job-id': 's', 'base-node': 'target' }],
        ['block-stream', { 'job-id': 's', bottom: 'mid', base: 'x' }],
        ['block-stream', { 'job-id': 's', bottom: 'mid', 'base-node': 'base' }],
        ['block-stream', { 'job-id': 's', base: 'x', 'base-node': 'base' }],
        ['block-stream', { 'job-id': 's', 'backing-file': 'x' }],
        ['block-commit', {}],
        ['block-commit', { 'job-id': 's', base: 'x' }],
        ['block-commit', { 'job-id': 's', top: 'x' }],
        ['block-commit', { 'job-id': 's', 'base-node': 'x' }],
        ['block-commit', { 'job-id': 's', 'top-node': 'target' }],
        ['block-commit', { 'job-id': 's', 'base-node': 'base', base: 'x' }],
        ['block-commit', { 'job-id': 's', 'top-node': 'mid', top: 'x' }],
        ['block-commit', { 'job-id': 's', 'base-node': 'top' }],
        ['block-commit', { 'job-id': 's', 'top-node': 'base', 'base-node': 'mid' }],
      ] as [string, object][]
    ).map(([name, words]) => command(name, { device: 'top', ...words })),
    command('block-stream', { 'job-id': 's', device: 'top', 'base-node': 'base' }),
    untilStatus('s', 'null'),
    ...STATE,
  );
  same(
    'jobs that are not there',
    ...VERBS('nobody'),
    ...['pause', 'resume', 'complete', 'cancel'].map((verb) => command(`block-job-${verb}`, { device: 'nobody' })),
    command('block-job-set-speed', { device: 'nobody', speed: 1 }),
    ...['finalize', 'dismiss'].map((verb) => command(`block-job-${verb}`, { id: 'nobody' })),
    ...['job-pause', 'job-cancel'].map((verb) => command(verb)),
    command('job-pause', { id: 'a', more: 1 }),
    ...STATE,
  );
});
