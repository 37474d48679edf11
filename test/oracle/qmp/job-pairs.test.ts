// What may begin beside a job, against qemu-storage-daemon: while a job of each type works on a chain, a job of each type, an export, another user, a new
// size, an overlay, other options and the removal of each node are asked for. Both take the same, and refuse the rest in the same words.
//
//   base <- mid <- top      and, somewhere in it, the job and its filter `f`; `target` for those that have one

import { requirePeer } from '../../support/peers.js';
import { command, expectSame, type Setup, type Step, until, untilIfDone, untilStatus } from './runner.js';

const SIZE = 4 << 20;

const files: Setup['files'] = (shop, folder) => {
  const make = (...words: string[]) => shop.must('qemu-img', 'create', '-q', ...words);
  const write = (name: string, what: string) => shop.must('qemu-io', '-c', `write ${what}`, `${folder}/${name}.qcow2`);
  make('-f', 'qcow2', `${folder}/base.qcow2`, String(SIZE));
  write('base', '-P 1 0 1M');
  for (const [name, below, what] of [
    ['mid', 'base', '-P 2 1M 512K'],
    ['top', 'mid', '-P 3 2M 512K'],
  ]) {
    make('-f', 'qcow2', '-b', `${folder}/${below}.qcow2`, '-F', 'qcow2', `${folder}/${name}.qcow2`);
    write(name, what);
  }
  for (const name of ['over', 'above']) make('-f', 'qcow2', `${folder}/${name}.qcow2`, String(SIZE));
  for (const name of ['target', 'other']) make('-f', 'raw', `${folder}/${name}.raw`, String(SIZE));
  make('-f', 'raw', `${folder}/large.raw`, String(2 * SIZE));
};

const image = (name: string, driver = 'qcow2', more = {}): Step =>
  command('blockdev-add', {
    driver,
    'node-name': name,
    file: { driver: 'file', 'node-name': `${name}-file`, filename: `DIR/${name}.${driver}` },
    ...more,
  });
const nothing = (name: string): Step => command('blockdev-add', { driver: 'null-co', 'node-name': name, size: SIZE });

const GRAPH: Step[] = [
  command('nbd-server-start', { addr: { type: 'unix', data: { path: 'DIR/nbd' } } }),
  image('base', 'qcow2', { 'read-only': true }),
  image('mid', 'qcow2', { 'read-only': true, backing: 'base' }),
  image('top', 'qcow2', { backing: 'mid' }),
  ...['target', 'other', 'large'].map((name) => image(name, 'raw')),
  image('over'),
  command('blockdev-add', { driver: 'file', 'node-name': 'above-file', filename: 'DIR/above.qcow2' }),
  ...['source', 'spare'].map(nothing),
];

/** Each program counts the nodes without a name. */
const filter: Setup['filter'] = (text) => text.replaceAll(/#block\d+/g, '#block');

const PENDING = until('BLOCK_JOB_PENDING');
const READY = until('BLOCK_JOB_READY');

const KINDS: Record<string, [command: string, words: object, settled: Step]> = {
  mirror: ['blockdev-mirror', { device: 'top', target: 'target', sync: 'full' }, READY],
  'commit of the active layer': ['block-commit', { device: 'top' }, READY],
  commit: ['block-commit', { device: 'top', 'top-node': 'mid', 'auto-finalize': false }, PENDING],
  backup: ['blockdev-backup', { device: 'top', target: 'target', sync: 'none' }, untilStatus('j', 'running')],
  stream: ['block-stream', { device: 'top', 'auto-finalize': false }, PENDING],
  'stream down to a base': ['block-stream', { device: 'top', 'base-node': 'base', 'auto-finalize': false }, PENDING],
  'stream into a backing node': ['block-stream', { device: 'mid', 'auto-finalize': false }, PENDING],
};

/** Jobs, each of which ends again where it began. */
function jobs(node: string): Step[] {
  const starts: [string, object][] = [
    ['blockdev-mirror', { device: node, target: 'other', sync: 'full' }],
    ['blockdev-mirror', { device: 'large', target: node, sync: 'none' }],
    ['blockdev-backup', { device: node, target: 'other', sync: 'none' }],
    ['blockdev-backup', { device: 'source', target: node, sync: 'none' }],
    ['block-stream', { device: node }],
    ['block-stream', { device: 'top', 'base-node': node }],
    ['block-stream', { device: 'top', bottom: node }],
    ['block-commit', { device: node }],
    ['block-commit', { device: 'top', 'base-node': node }],
    ['block-commit', { device: 'top', 'top-node': node }],
  ];
  return starts.flatMap(([name, words], i) => [
    command(name, { 'job-id': `k${i}`, 'auto-finalize': false, ...words }),
    command('block-job-cancel', { device: `k${i}`, force: true }),
    untilIfDone('JOB_STATUS_CHANGE', { id: `k${i}`, status: 'null' }),
  ]);
}

function users(node: string): Step[] {
  const exported = (writable: boolean): Step[] => [
    command('block-export-add', { type: 'nbd', id: 'e', name: 'e', 'node-name': node, writable }),
    command('block-export-del', { id: 'e' }),
    untilIfDone('BLOCK_EXPORT_DELETED', { id: 'e' }),
  ];
  const over = (driver: string, children: object): Step[] => [
    command('blockdev-add', { driver, 'node-name': 'above', ...children }),
    command('blockdev-del', { 'node-name': 'above' }),
  ];
  return [
    ...exported(true),
    ...exported(false),
    ...over('raw', { file: node }),
    ...over('qcow2', { file: 'above-file', backing: node }),
    ...over('throttle', { file: node, 'throttle-group': 'none' }),
  ];
}

function changes(node: string): Step[] {
  const overlay = { driver: 'qcow2', 'node-name': 'over', file: 'over-file' };
  return [
    command('block_resize', { 'node-name': node, size: SIZE + 65536 }),
    command('block_resize', { 'node-name': node, size: SIZE }),
    command('blockdev-snapshot', { node, overlay: 'over' }),
    command('blockdev-reopen', { options: [{ ...overlay, backing: null }] }),
    command('block-set-write-threshold', { 'node-name': node, 'write-threshold': 0 }),
    command('x-blockdev-set-iothread', { 'node-name': node, iothread: null }),
    command('change-backing-file', { device: 'top', 'image-node-name': node, 'backing-file': 'other' }),
  ];
}

const BACKING: Record<string, string> = { top: 'mid', mid: 'base' };

function reopenings(node: string): Step[] {
  const options = {
    driver: node === 'target' ? 'raw' : 'qcow2',
    'node-name': node,
    file: `${node}-file`,
    ...(BACKING[node] && { backing: BACKING[node] }),
  };
  const reopen = (more: object) => command('blockdev-reopen', { options: [{ ...options, ...more }] });
  const plain = [true, node === 'mid' || node === 'base', false].map((readOnly) => reopen({ 'read-only': readOnly }));
  return BACKING[node] ? [...plain, reopen({ backing: null }), reopen({ backing: 'spare' })] : plain;
}

describe('qmp against qemu-storage-daemon: beside a job', () => {
  before(function () {
    for (const peer of ['qemu-storage-daemon', 'qemu-img', 'qemu-io']) requirePeer(this, peer);
  });

  for (const [kind, [name, words, settled]] of Object.entries(KINDS)) {
    for (const node of ['top', 'mid', 'base', 'f', 'target']) {
      // The reference's daemon crashes where the image above a commit's top is reopened, and after some reopenings of a backup's source.
      const reopens = node !== 'f' && !(kind === 'commit' && node === 'top');
      const goes = !(kind === 'backup' && node === 'top');
      it(`${kind}: ${node}`, () =>
        expectSame(
          [
            ...GRAPH,
            command(name, { 'job-id': 'j', 'filter-node-name': 'f', ...words }),
            settled,
            ...jobs(node),
            ...users(node),
            ...changes(node),
            ...(reopens ? reopenings(node) : []),
            ...(goes ? [command('blockdev-del', { 'node-name': node })] : []),
          ],
          // How far a job comes before it is cancelled, and how often the first one waits, is by chance.
          { files, filter, events: false },
        ));
    }
  }
});
