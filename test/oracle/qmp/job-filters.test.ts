// The filter nodes that jobs put in, against qemu-storage-daemon: nodes while a job works and after it, names, and what others may do meanwhile.

import { requirePeer } from '../../support/peers.js';
import { command, comparing, type Setup, type Step, until, untilIfDone, untilStatus } from './runner.js';

const SIZE = 1 << 20;

const files: Setup['files'] = (shop, folder) => {
  const make = (...words: string[]) => shop.must('qemu-img', 'create', '-q', '-f', 'qcow2', ...words);
  make(`${folder}/base.qcow2`, String(SIZE));
  shop.must('qemu-io', '-c', 'write -P 1 0 512K', `${folder}/base.qcow2`);
  make('-b', `${folder}/base.qcow2`, '-F', 'qcow2', `${folder}/mid.qcow2`);
  make('-b', `${folder}/mid.qcow2`, '-F', 'qcow2', `${folder}/top.qcow2`);
};

const image = (name: string, more = {}): Step =>
  command('blockdev-add', {
    driver: 'qcow2',
    'node-name': name,
    file: { driver: 'file', filename: `DIR/${name}.qcow2` },
    ...more,
  });

const GRAPH: Step[] = [
  image('base', { 'read-only': true }),
  image('mid', { 'read-only': true, backing: 'base' }),
  image('top', { backing: 'mid' }),
  command('blockdev-add', { driver: 'null-co', 'node-name': 'x', size: SIZE }),
];

/** Flat, and with their chains. The nodes of the files are told of, too. */
const NODES: Step[] = [
  command('query-named-block-nodes', { flat: true }),
  command('query-named-block-nodes'),
  command('query-jobs'),
];

/** Bitmaps without names, which the jobs of the reference have on their nodes. */
const withoutBitmaps = (text: string): string => text.replaceAll(/"dirty-bitmaps":\[[^\]]*\],/g, '');
/** And how long a file is into which a job has written. */
const withoutLengths = (text: string): string =>
  withoutBitmaps(text).replaceAll(/"format":"file","virtual-size":\d+/g, '');
/** And what an active commit leaves otherwise: there, its base stays writable, and its length is that of the data. */
const ofActiveCommit = (text: string): string =>
  withoutLengths(text)
    .replaceAll(/"ro":(true|false),/g, '')
    .replaceAll(/"(len|total-progress)":\d+(?=[^}]*"type":"commit")/g, '');

const READY = [untilStatus('j', 'ready'), until('BLOCK_JOB_READY')];
const PENDING = [until('BLOCK_JOB_PENDING')];

interface Kind {
  name: string;
  words: { device: string; target?: string; sync?: string; 'top-node'?: string };
  /** Until nothing of it changes any more. */
  settled: Step[];
  /** From there to its finalization. */
  pending: Step[];
}

const ACTIVE_COMMIT = 'commit of the active layer';

const KINDS: Record<string, Kind> = {
  mirror: {
    name: 'blockdev-mirror',
    words: { device: 'top', target: 'x', sync: 'full' },
    settled: READY,
    pending: [command('job-complete', { id: 'j' }), ...PENDING],
  },
  [ACTIVE_COMMIT]: {
    name: 'block-commit',
    words: { device: 'top' },
    settled: READY,
    pending: [command('job-complete', { id: 'j' }), ...PENDING],
  },
  commit: { name: 'block-commit', words: { device: 'top', 'top-node': 'mid' }, settled: PENDING, pending: [] },
  backup: {
    name: 'blockdev-backup',
    words: { device: 'top', target: 'x', sync: 'full' },
    settled: PENDING,
    pending: [],
  },
  stream: { name: 'block-stream', words: { device: 'top' }, settled: PENDING, pending: [] },
};

const BAD_NAMES = ['top', '0bad', '', 'a'.repeat(32), '#block1'];

describe("qmp against qemu-storage-daemon: jobs' filter nodes", () => {
  before(function () {
    for (const peer of ['qemu-storage-daemon', 'qemu-img', 'qemu-io']) requirePeer(this, peer);
  });

  for (const [title, { name, words, settled, pending }] of Object.entries(KINDS)) {
    const start = (more = {}): Step =>
      command(name, {
        'job-id': 'j',
        'auto-finalize': false,
        ...(title === 'stream' ? {} : { 'auto-dismiss': false }),
        ...words,
        ...more,
      });
    const filter = title === ACTIVE_COMMIT ? ofActiveCommit : withoutLengths;
    // The reference's daemon crashes where nodes are asked for after a stream that is not dismissed.
    const byHand = title !== 'stream';
    const over = (id: string): Step => untilStatus(id, byHand ? 'concluded' : 'null');
    const dismissed = (...ids: string[]): Step[] => (byHand ? ids.map((id) => command('job-dismiss', { id })) : []);
    // Some of the reference's commands drain a job, and it is ready again: `events` is false where that is so.
    const same = (what: string, script: Step[], events = true): void => {
      it(`${title}: ${what}`, comparing([...GRAPH, ...script], { files, filter, events }));
    };

    same('by its name, until the job has succeeded', [
      start({ 'filter-node-name': 'f' }),
      ...settled,
      ...NODES,
      ...pending,
      ...NODES,
      command('job-finalize', { id: 'j' }),
      over('j'),
      ...NODES,
      ...dismissed('j'),
    ]);
    same('by a name that is made up, until the job is cancelled', [
      start(),
      ...settled,
      ...NODES,
      command('job-cancel', { id: 'j' }),
      over('j'),
      ...NODES,
      ...dismissed('j'),
    ]);
    // A commit is created first, and gone at once.
    same('names that it cannot have, before anything is wrong with the job', [
      ...BAD_NAMES.flatMap((bad) => [
        start({ 'filter-node-name': bad }),
        ...(title === 'commit' ? [] : [start({ 'filter-node-name': bad, 'job-id': '0' })]),
      ]),
      start({ 'filter-node-name': 'f', 'job-id': '0' }),
      ...NODES,
      // The name is free again.
      start({ 'filter-node-name': 'f' }),
      ...settled,
      command('job-cancel', { id: 'j' }),
      over('j'),
      start({ 'filter-node-name': 'f', 'job-id': 'k' }),
      untilStatus('k', settled === READY ? 'ready' : 'pending'),
      ...(settled === READY ? [until('BLOCK_JOB_READY', { device: 'k' })] : []),
      command('query-named-block-nodes', { flat: true }),
      command('job-cancel', { id: 'k' }),
      over('k'),
      ...NODES,
      ...dismissed('j', 'k'),
    ]);
    same(
      'what others may do meanwhile',
      [
        start({ 'filter-node-name': 'f' }),
        ...settled,
        command('blockdev-add', { driver: 'raw', 'node-name': 'f', file: 'x' }),
        command('blockdev-add', { driver: 'raw', 'node-name': 'above', file: 'f' }),
        command('blockdev-del', { 'node-name': 'above' }),
        command('blockdev-snapshot', { node: 'f', overlay: 'x' }),
        command('blockdev-snapshot-sync', {
          'node-name': 'f',
          'snapshot-file': 'DIR/s.qcow2',
          'snapshot-node-name': 's',
        }),
        command('blockdev-mirror', { 'job-id': 'k', device: 'top', target: 'x', sync: 'full' }),
        command('blockdev-mirror', { 'job-id': 'k', device: 'f', target: 'x', sync: 'full' }),
        command('blockdev-backup', { 'job-id': 'k', device: 'f', target: 'x', sync: 'full' }),
        // Where it may run, it ends by itself, some time.
        untilIfDone('JOB_STATUS_CHANGE', { id: 'k', status: 'null' }),
        command('block-stream', { 'job-id': 'k', device: 'f' }),
        command('block-commit', { 'job-id': 'k', device: 'top' }),
        command('block-commit', { 'job-id': 'k', device: 'f' }),
        command('block_resize', { 'node-name': 'f', size: 2 * SIZE }),
        command('blockdev-reopen', { options: [{ driver: 'raw', 'node-name': 'f', file: 'top' }] }),
        command('block-dirty-bitmap-add', { node: 'f', name: 'b' }),
        command('block-dirty-bitmap-remove', { node: 'f', name: 'b' }),
        ...(title === 'stream' ? [] : [command('blockdev-del', { 'node-name': 'f' })]),
        command('blockdev-del', { 'node-name': 'mid' }),
        ...NODES,
        command('job-cancel', { id: 'j' }),
        over('j'),
        ...NODES,
        ...dismissed('j'),
      ],
      false,
    );
  }
});
