// Transactions against qemu-storage-daemon: what all of it or nothing of it leaves, and the events of its jobs.

import { requirePeer } from '../../support/peers.js';
import type { Json } from '../../support/qmp.js';
import { command, comparing, type Setup, type Step, until, untilStatus } from './runner.js';

const SIZE = 4 << 20;
const SLOW = 65536;

const files: Setup['files'] = (shop, folder) => {
  const make = (...words: string[]) => shop.must('qemu-img', 'create', '-q', ...words);
  make('-f', 'qcow2', `${folder}/base.qcow2`, String(SIZE));
  shop.must('qemu-io', '-c', 'write -P 1 0 3M', `${folder}/base.qcow2`);
  make('-f', 'qcow2', '-b', `${folder}/base.qcow2`, '-F', 'qcow2', `${folder}/top.qcow2`);
  make('-f', 'qcow2', `${folder}/over.qcow2`, String(SIZE));
  shop.must('qemu-io', '-c', 'write -P 2 0 3M', `${folder}/over.qcow2`);
  make('-f', 'raw', `${folder}/a.raw`, String(SIZE));
  make('-f', 'raw', `${folder}/b.raw`, String(SIZE));
  make('-f', 'raw', `${folder}/small.raw`, '1M');
};

const add = (name: string, driver: string, file: string, more = {}): Step =>
  command('blockdev-add', { driver, 'node-name': name, file: { driver: 'file', filename: `DIR/${file}` }, ...more });
const GRAPH: Step[] = [
  add('top', 'qcow2', 'top.qcow2'),
  add('over', 'qcow2', 'over.qcow2', { backing: null }),
  add('raw', 'raw', 'a.raw'),
  add('raw2', 'raw', 'b.raw'),
  add('small', 'raw', 'small.raw'),
];
const FLAT = command('query-named-block-nodes', { flat: true });
const JOBS = command('query-jobs');

type Action = [type: string, data: Json];
const transact = (actions: Action[], properties?: Json): Step =>
  command('transaction', {
    actions: actions.map(([type, data]) => ({ type, data })),
    ...(properties !== undefined && { properties }),
  });
const grouped = (...actions: Action[]): Step => transact(actions, { 'completion-mode': 'grouped' });
const all = (...actions: Action[]): Step => transact(actions);

const ABORT: Action = ['abort', {}];
const bitmap = (verb: string, name: string, more: Json = {}): Action => [
  `block-dirty-bitmap-${verb}`,
  { node: 'top', name, ...more },
];
const merge = (target: string, ...bitmaps: unknown[]): Action => [
  'block-dirty-bitmap-merge',
  { node: 'top', target, bitmaps },
];
const backup = (id: string, target: string, more: Json = {}): Action => [
  'blockdev-backup',
  { 'job-id': id, device: 'top', target, sync: 'full', ...more },
];
/** Of another node: of one node there is one backup at a time. */
const second = (id: string, target: string, more: Json = {}): Action => backup(id, target, { device: 'over', ...more });
const snapshot = (node: string, overlay: string): Action => ['blockdev-snapshot', { node, overlay }];
const snapshotSync = (node: string, overlay: string, more: Json = {}): Action => [
  'blockdev-snapshot-sync',
  { 'node-name': node, 'snapshot-file': `DIR/${overlay}`, 'snapshot-node-name': overlay, ...more },
];

describe('qmp against qemu-storage-daemon: transactions', () => {
  before(function () {
    for (const peer of ['qemu-storage-daemon', 'qemu-img', 'qemu-io']) requirePeer(this, peer);
  });

  const same = (title: string, ...script: Step[]): void => {
    it(title, comparing([...GRAPH, ...script], { files }));
  };

  same(
    'what is wrong with one',
    command('transaction'),
    command('transaction', { actions: [] }),
    command('transaction', { actions: {} }),
    command('transaction', { actions: [1] }),
    command('transaction', { actions: [{}] }),
    command('transaction', { actions: [{ type: 'nonsense', data: {} }] }),
    command('transaction', { actions: [{ type: 'abort' }] }),
    command('transaction', { actions: [{ type: 'abort', data: { x: 1 } }] }),
    command('transaction', { actions: [{ type: 'blockdev-backup', data: {} }] }),
    command('transaction', { actions: [{ type: 'blockdev-snapshot', data: { node: 1 } }] }),
    command('transaction', { actions: [], properties: {} }),
    command('transaction', { actions: [], properties: { 'completion-mode': 'x' } }),
    command('transaction', { actions: [], properties: { nonsense: 1 } }),
    command('transaction', { actions: [], nonsense: 1 }),
    grouped(),
    all(ABORT),
    grouped(ABORT),
  );

  const digest = (node: string, name: string): Step => command('x-debug-block-dirty-bitmap-sha256', { node, name });

  same(
    'the digest of a bitmap of what a job has written',
    command('block-dirty-bitmap-add', { node: 'raw', name: 'x' }),
    command('block-dirty-bitmap-add', { node: 'raw', name: 'y', granularity: 512 }),
    digest('raw', 'x'),
    digest('raw', 'y'),
    command('blockdev-backup', { 'job-id': 'j', device: 'top', target: 'raw', sync: 'full' }),
    untilStatus('j', 'null'),
    digest('raw', 'x'),
    digest('raw', 'y'),
    digest('raw', 'nothing'),
    digest('nobody', 'x'),
    command('x-debug-block-dirty-bitmap-sha256', { node: 'raw' }),
  );

  same(
    'bitmaps: added and removed, or not',
    grouped(bitmap('add', 'a')),
    all(bitmap('add', 'a'), bitmap('add', 'b', { disabled: true })),
    all(bitmap('add', 'c'), bitmap('add', 'c')),
    all(bitmap('add', 'c', { granularity: 4096 }), ABORT),
    all(bitmap('add', 'c', { node: 'nobody' })),
    FLAT,
    all(bitmap('remove', 'a'), ABORT),
    all(bitmap('remove', 'a'), bitmap('add', 'a')),
    all(bitmap('remove', 'a'), bitmap('remove', 'a')),
    all(bitmap('remove', 'a'), bitmap('clear', 'a')),
    all(bitmap('remove', 'a'), merge('b', 'a')),
    all(bitmap('remove', 'a', { node: 'nobody' })),
    all(bitmap('remove', 'x')),
    FLAT,
    all(bitmap('remove', 'a')),
    FLAT,
  );

  same(
    'bitmaps: changed, or not',
    all(bitmap('add', 'a'), bitmap('add', 'b', { disabled: true })),
    all(bitmap('enable', 'b'), bitmap('disable', 'a'), ABORT),
    FLAT,
    all(bitmap('enable', 'b'), bitmap('disable', 'b'), bitmap('enable', 'b'), bitmap('clear', 'b')),
    all(bitmap('clear', 'x')),
    all(bitmap('clear', 'x', { node: 'nobody' })),
    all(bitmap('add', 'n', { disabled: true }), merge('n', 'a', { node: 'top', name: 'b' }), bitmap('clear', 'a')),
    all(merge('n', 'a', 'x')),
    all(merge('x', 'a')),
    FLAT,
  );

  same(
    'backups that end each on its own',
    all(backup('a', 'raw', { speed: SLOW }), second('b', 'raw2')),
    untilStatus('b', 'null'),
    JOBS,
    command('block-job-set-speed', { device: 'a', speed: 0 }),
    untilStatus('a', 'null'),
    JOBS,
  );
  same('backups that end together', grouped(backup('a', 'raw'), second('b', 'raw2')), untilStatus('a', 'null'), JOBS);
  same(
    'backups that are finalized together',
    grouped(backup('a', 'raw', { 'auto-finalize': false }), second('b', 'raw2', { 'auto-dismiss': false })),
    until('BLOCK_JOB_PENDING'),
    JOBS,
    command('job-finalize', { id: 'b' }),
    untilStatus('a', 'null'),
    JOBS,
    command('job-dismiss', { id: 'b' }),
    JOBS,
  );
  same(
    'backups that are cancelled together',
    grouped(backup('a', 'raw', { speed: SLOW }), second('b', 'raw2', { speed: SLOW })),
    command('job-cancel', { id: 'a' }),
    untilStatus('a', 'null'),
    JOBS,
  );
  same(
    'backups of which one is cancelled',
    all(backup('a', 'raw', { speed: SLOW }), second('b', 'raw2')),
    untilStatus('b', 'null'),
    command('job-cancel', { id: 'a' }),
    untilStatus('a', 'null'),
    JOBS,
  );
  same('a second backup that cannot be', all(backup('a', 'raw'), second('b', 'small')), JOBS, FLAT);
  same('two backups to one target', all(backup('a', 'raw'), second('b', 'raw')), JOBS);
  same('two backups with one name', all(backup('a', 'raw'), second('a', 'raw2')), JOBS);
  same('a backup, and then a failure', all(backup('a', 'raw'), ABORT), JOBS, FLAT);
  same(
    'backups that end together, and what cannot',
    grouped(backup('a', 'raw'), bitmap('add', 'x')),
    grouped(backup('a', 'nobody'), bitmap('add', 'x')),
    JOBS,
    FLAT,
  );

  same(
    'a backup by a bitmap of the same transaction',
    all(bitmap('add', 'm'), backup('a', 'raw', { sync: 'bitmap', bitmap: 'm', 'bitmap-mode': 'never' })),
    untilStatus('a', 'null'),
    FLAT,
    all(backup('a', 'raw', { sync: 'bitmap', bitmap: 'm', 'bitmap-mode': 'never' }), bitmap('clear', 'm')),
    all(bitmap('clear', 'm'), backup('b', 'raw', { sync: 'incremental', bitmap: 'm' })),
    untilStatus('b', 'null'),
    FLAT,
  );

  same(
    'a snapshot, and then a failure',
    all(snapshot('top', 'over'), ABORT),
    FLAT,
    all(snapshot('top', 'over'), snapshot('top', 'over')),
    all(snapshot('top', 'nobody')),
    all(snapshot('nobody', 'over')),
    FLAT,
    all(snapshot('top', 'over')),
    all(snapshot('top', 'over')),
  );
  same(
    'snapshots in files',
    all(snapshotSync('top', 's'), ABORT),
    FLAT,
    all(snapshotSync('top', 's'), snapshotSync('raw', 's')),
    all(snapshotSync('top', 't'), snapshotSync('top', 't2')),
    FLAT,
    all(snapshotSync('top', 's'), snapshotSync('raw', 's2'), bitmap('add', 'm')),
    FLAT,
    all(snapshotSync('raw2', 'x'), snapshotSync('x', 'y')),
    FLAT,
    all(['blockdev-snapshot-sync', { 'snapshot-file': 'DIR/s' }]),
    all(['blockdev-snapshot-sync', { 'node-name': 'top', 'snapshot-file': 'DIR/s' }]),
    all(snapshotSync('top', 'z', { format: 'nonsense' })),
    grouped(snapshotSync('top', 'z')),
  );
});
