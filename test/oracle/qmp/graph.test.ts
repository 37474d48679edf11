// Nodes, bitmaps, snapshots and exports against qemu-storage-daemon.

import { requirePeer } from '../../support/peers.js';
import { command, comparing, type Setup, type Step, until } from './runner.js';

const SIZE = 4 << 20;

const files: Setup['files'] = (shop, folder) => {
  const make = (...words: string[]) => shop.must('qemu-img', 'create', '-q', ...words);
  make('-f', 'qcow2', `${folder}/base.qcow2`, String(SIZE));
  shop.must('qemu-io', '-c', 'write -P 1 0 1M', `${folder}/base.qcow2`);
  make('-f', 'qcow2', '-b', `${folder}/base.qcow2`, '-F', 'qcow2', `${folder}/top.qcow2`);
  make('-f', 'qcow2', `${folder}/over.qcow2`, String(SIZE));
  make('-f', 'qcow2', `${folder}/small.qcow2`, '1M');
  make('-f', 'raw', `${folder}/a.raw`, String(SIZE));
};

const add = (name: string, driver: string, file: string, more = {}): Step =>
  command('blockdev-add', { driver, 'node-name': name, file: { driver: 'file', filename: `DIR/${file}` }, ...more });
const NODES = command('query-named-block-nodes');
const FLAT = command('query-named-block-nodes', { flat: true });

describe('qmp against qemu-storage-daemon: graph', () => {
  before(function () {
    for (const peer of ['qemu-storage-daemon', 'qemu-img', 'qemu-io']) requirePeer(this, peer);
  });

  const same = (title: string, ...script: Step[]): void => {
    it(title, comparing(script, { files }));
  };

  same(
    'nodes of all kinds, and what is told of them',
    command('blockdev-add', { driver: 'null-co', 'node-name': 'null', size: 1 << 20, 'read-zeroes': true }),
    add('top', 'qcow2', 'top.qcow2', { 'detect-zeroes': 'on' }),
    add('raw', 'raw', 'a.raw', { 'read-only': true }),
    command('blockdev-add', {
      driver: 'file',
      'node-name': 'file',
      filename: 'DIR/over.qcow2',
      cache: { direct: false, 'no-flush': true },
    }),
    command('blockdev-add', { driver: 'qcow2', 'node-name': 'over', file: 'file' }),
    add('alone', 'qcow2', 'small.qcow2', { backing: null }),
    NODES,
    FLAT,
    ...['over', 'file', 'raw', 'top', 'null', 'alone', 'nobody'].map((name) =>
      command('blockdev-del', { 'node-name': name }),
    ),
    NODES,
  );

  same(
    'what is wrong with a node',
    command('blockdev-add'),
    command('blockdev-add', { driver: 'nonsense' }),
    command('blockdev-add', { driver: 'null-co' }),
    command('blockdev-add', { driver: 'null-co', 'node-name': '' }),
    command('blockdev-add', { driver: 'null-co', 'node-name': 'a b' }),
    command('blockdev-add', { driver: 'null-co', 'node-name': 'x'.repeat(32) }),
    command('blockdev-add', { driver: 'null-co', 'node-name': 'n', size: '1M' }),
    command('blockdev-add', { driver: 'null-co', 'node-name': 'n', nonsense: 1 }),
    command('blockdev-add', { driver: 'null-co', 'node-name': 'n', cache: { direct: 'on' } }),
    command('blockdev-add', { driver: 'null-co', 'node-name': 'n', cache: 1 }),
    command('blockdev-add', { driver: 'null-co', 'node-name': 'n', 'read-only': 'on' }),
    command('blockdev-add', { driver: 'null-co', 'node-name': 'n', 'detect-zeroes': 'maybe' }),
    command('blockdev-add', { driver: 'null-co', 'node-name': 'n', 'detect-zeroes': 'unmap' }),
    command('blockdev-add', { driver: 'file', 'node-name': 'n' }),
    command('blockdev-add', { driver: 'file', 'node-name': 'n', filename: 'DIR/none' }),
    command('blockdev-add', { driver: 'file', 'node-name': 'n', filename: 'DIR' }),
    // Files without an end.
    command('blockdev-add', { driver: 'file', 'node-name': 'n', filename: '/proc/cpuinfo', 'read-only': true }),
    command('blockdev-add', {
      driver: 'raw',
      'node-name': 'n',
      file: { driver: 'file', filename: '/proc/self/mem' },
      'read-only': true,
    }),
    command('blockdev-add', { driver: 'null-co', 'node-name': 'n', 'latency-ns': -1 }),
    ...[-1, 1.5, 'x'].flatMap((wrong) => [
      command('blockdev-add', { driver: 'raw', 'node-name': 'n', offset: wrong, file: { driver: 'null-co' } }),
      add('n', 'qcow2', 'over.qcow2', { 'l2-cache-size': wrong }),
      add('n', 'qcow2', 'over.qcow2', { 'cache-clean-interval': wrong }),
      command('blockdev-add', { driver: 'blkdebug', 'node-name': 'n', align: wrong, image: { driver: 'null-co' } }),
      command('blockdev-add', {
        driver: 'blkdebug',
        'node-name': 'n',
        'max-transfer': wrong,
        image: { driver: 'null-co' },
      }),
    ]),
    command('blockdev-add', { driver: 'qcow2', 'node-name': 'n' }),
    command('blockdev-add', { driver: 'qcow2', 'node-name': 'n', file: 'nobody' }),
    command('blockdev-add', { driver: 'qcow2', 'node-name': 'n', file: 1 }),
    command('blockdev-add', { driver: 'qcow2', 'node-name': 'n', file: { driver: 'nonsense' } }),
    command('blockdev-add', { driver: 'qcow2', 'node-name': 'n', file: { driver: 'file' } }),
    add('n', 'qcow2', 'a.raw'),
    add('n', 'qcow2', 'none'),
    add('n', 'raw', 'a.raw'),
    add('n', 'raw', 'over.qcow2'),
    command('blockdev-del'),
    command('blockdev-del', { 'node-name': 'nobody' }),
    command('blockdev-del', { 'node-name': 7 }),
    FLAT,
  );

  same(
    'figures',
    command('query-blockstats'),
    command('query-blockstats', { 'query-nodes': true }),
    add('top', 'qcow2', 'top.qcow2'),
    add('raw', 'raw', 'a.raw', { 'read-only': true }),
    command('blockdev-add', { driver: 'null-co', 'node-name': 'null' }),
    command('blockdev-add', { driver: 'raw', 'node-name': 'window', offset: 512, size: 512, file: 'null' }),
    command('query-blockstats'),
    command('query-blockstats', { 'query-nodes': false }),
    command('query-blockstats', { 'query-nodes': true }),
    command('query-blockstats', { 'query-nodes': 1 }),
    command('query-blockstats', { nonsense: true }),
  );

  same(
    'thresholds of writes, and threads',
    add('raw', 'raw', 'a.raw'),
    command('block-set-write-threshold', { 'node-name': 'nobody', 'write-threshold': 1 }),
    command('block-set-write-threshold', { 'node-name': 'raw' }),
    command('block-set-write-threshold', { 'node-name': 'raw', 'write-threshold': '1' }),
    command('block-set-write-threshold', { 'node-name': 'raw', 'write-threshold': 4096 }),
    FLAT,
    command('block-set-write-threshold', { 'node-name': 'raw', 'write-threshold': 0 }),
    FLAT,
    command('x-blockdev-set-iothread', { 'node-name': 'nobody', iothread: null }),
    command('x-blockdev-set-iothread', { 'node-name': 'raw' }),
    command('x-blockdev-set-iothread', { 'node-name': 'raw', iothread: 'none' }),
    command('x-blockdev-set-iothread', { 'node-name': 'raw', iothread: 'none', force: true }),
    command('x-blockdev-set-iothread', { 'node-name': 'raw', iothread: 1 }),
    command('x-blockdev-set-iothread', { 'node-name': 'raw', iothread: null }),
  );

  same(
    'nodes that others use',
    command('blockdev-add', { driver: 'file', 'node-name': 'file', filename: 'DIR/top.qcow2' }),
    add('base', 'qcow2', 'base.qcow2', { 'read-only': true }),
    command('blockdev-add', { driver: 'qcow2', 'node-name': 'top', file: 'file', backing: 'base' }),
    ...['file', 'base', 'top', 'base', 'file'].map((name) => command('blockdev-del', { 'node-name': name })),
    FLAT,
  );

  same(
    'sizes',
    add('top', 'qcow2', 'top.qcow2'),
    add('raw', 'raw', 'a.raw'),
    add('ro', 'raw', 'over.qcow2', { 'read-only': true }),
    command('block_resize', { 'node-name': 'top', size: 8 << 20 }),
    command('block_resize', { 'node-name': 'raw', size: 1 << 20 }),
    command('block_resize', { device: 'raw', size: 2 << 20 }),
    command('block_resize', { 'node-name': 'top', size: 1000 }),
    command('block_resize', { 'node-name': 'raw', size: -1 }),
    command('block_resize', { 'node-name': 'nobody', size: 512 }),
    command('block_resize', { device: 'nobody', size: 512 }),
    command('block_resize', { size: 512 }),
    command('block_resize', { 'node-name': 'ro', size: 512 }),
    FLAT,
  );

  same(
    'bitmaps',
    add('top', 'qcow2', 'top.qcow2'),
    add('raw', 'raw', 'a.raw'),
    add('small', 'qcow2', 'small.qcow2'),
    ...[
      { name: 'a' },
      { name: 'a' },
      { name: 'b', granularity: 4096, disabled: true },
      { name: '' },
      { name: 'c', granularity: 1000 },
      { name: 'c', granularity: 256 },
      { name: 'c', granularity: 0 },
      { name: 'c', granularity: -1 },
      { name: 'c', granularity: 2 ** 31 },
      { name: 'd', granularity: 2 ** 32 },
      { name: 'x'.repeat(1024) },
      { name: 'y'.repeat(1023) },
    ].map((words) => command('block-dirty-bitmap-add', { node: 'top', ...words })),
    command('block-dirty-bitmap-add', { node: 'nobody', name: 'a' }),
    command('block-dirty-bitmap-add', { node: 'raw', name: 'a' }),
    command('block-dirty-bitmap-add', { node: 'small', name: 'a' }),
    command('block-dirty-bitmap-remove', { node: 'top', name: 'y'.repeat(1023) }),
    FLAT,
    ...['clear', 'enable', 'disable', 'remove'].flatMap((verb) =>
      ['b', 'nobody'].map((name) => command(`block-dirty-bitmap-${verb}`, { node: 'top', name })),
    ),
    command('block-dirty-bitmap-clear', { node: 'nobody', name: 'a' }),
    command('block-dirty-bitmap-add', { node: 'top', name: 'm', granularity: 512, disabled: true }),
    ...[
      ['a'],
      ['nobody'],
      [{ node: 'raw', name: 'a' }],
      [{ node: 'small', name: 'a' }],
      [{ node: 'x', name: 'a' }],
      [1],
    ].map((bitmaps) => command('block-dirty-bitmap-merge', { node: 'top', target: 'm', bitmaps })),
    command('block-dirty-bitmap-merge', { node: 'top', target: 'nobody', bitmaps: ['a'] }),
    FLAT,
  );

  same(
    'a snapshot over a filter that writes what is read',
    add('top', 'qcow2', 'top.qcow2'),
    command('blockdev-add', { driver: 'copy-on-read', 'node-name': 'cor', file: 'top' }),
    command('nbd-server-start', { addr: { type: 'unix', data: { path: 'DIR/nbd' } } }),
    command('block-export-add', { type: 'nbd', id: 'e', 'node-name': 'cor', writable: true }),
    add('over', 'qcow2', 'over.qcow2', { backing: null }),
    command('blockdev-snapshot', { node: 'cor', overlay: 'over' }),
    // It is no read-only node: somebody else's permissions are in the way.
    command('block-export-add', { type: 'nbd', id: 'f', 'node-name': 'cor', name: 'f', writable: true }),
    command('nbd-server-stop'),
  );

  same(
    'snapshots',
    add('top', 'qcow2', 'top.qcow2'),
    add('over', 'qcow2', 'over.qcow2', { backing: null }),
    add('small', 'qcow2', 'small.qcow2', { backing: null }),
    add('raw', 'raw', 'a.raw'),
    command('blockdev-snapshot', { node: 'nobody', overlay: 'over' }),
    command('blockdev-snapshot', { node: 'top', overlay: 'nobody' }),
    command('blockdev-snapshot', { node: 'top', overlay: 'raw' }),
    command('blockdev-snapshot', { node: 'top', overlay: 'top' }),
    command('blockdev-snapshot', { node: 'top', overlay: 'over' }),
    command('blockdev-snapshot', { node: 'top', overlay: 'over' }),
    command('blockdev-del', { 'node-name': 'top' }),
    command('blockdev-del', { 'node-name': 'over' }),
    command('blockdev-snapshot-sync', { 'snapshot-file': 'DIR/s' }),
    command('blockdev-snapshot-sync', { device: 'nobody', 'snapshot-file': 'DIR/s' }),
    command('blockdev-snapshot-sync', { 'node-name': 'small', 'snapshot-file': 'DIR/s' }),
    command('blockdev-snapshot-sync', {
      'node-name': 'small',
      'snapshot-file': 'DIR/s',
      'snapshot-node-name': 'raw',
    }),
    command('blockdev-snapshot-sync', {
      'node-name': 'small',
      'snapshot-file': 'DIR/s',
      'snapshot-node-name': 's',
      format: 'nonsense',
    }),
    command('blockdev-snapshot-sync', { 'node-name': 'small', 'snapshot-file': 'DIR/s', 'snapshot-node-name': 's' }),
    FLAT,
  );

  same(
    'exports',
    add('top', 'qcow2', 'top.qcow2'),
    add('raw', 'raw', 'a.raw', { 'read-only': true }),
    command('block-export-add', { type: 'nbd', id: 'e', 'node-name': 'top' }),
    command('nbd-server-stop'),
    command('nbd-server-start', { addr: { type: 'unix' } }),
    command('nbd-server-start', { addr: { type: 'unix', data: {} } }),
    command('nbd-server-start', { addr: { type: 'nonsense', data: {} } }),
    command('nbd-server-start', { addr: { type: 'unix', data: { path: 'DIR/nbd' } }, 'tls-creds': 'nobody' }),
    command('nbd-server-start', { addr: { type: 'unix', data: { path: 'DIR/nbd' } } }),
    command('nbd-server-start', { addr: { type: 'unix', data: { path: 'DIR/nbd' } } }),
    command('block-export-add', { type: 'nbd', id: 'e', 'node-name': 'nobody' }),
    command('block-export-add', { type: 'nonsense', id: 'e', 'node-name': 'top' }),
    command('block-export-add', { type: 'nbd', id: 'e', 'node-name': 'raw', writable: true }),
    command('block-export-add', { type: 'nbd', id: 'e e', 'node-name': 'top' }),
    command('block-export-add', { type: 'nbd', id: 'e', 'node-name': 'top', bitmaps: ['nobody'] }),
    command('block-dirty-bitmap-add', { node: 'top', name: 'm' }),
    command('block-export-add', { type: 'nbd', id: 'e', 'node-name': 'top', bitmaps: ['m'] }),
    command('block-dirty-bitmap-disable', { node: 'top', name: 'm' }),
    command('block-export-add', { type: 'nbd', id: 'e', 'node-name': 'top', bitmaps: ['m'], 'allocation-depth': true }),
    command('block-dirty-bitmap-remove', { node: 'top', name: 'm' }),
    command('block-dirty-bitmap-clear', { node: 'top', name: 'm' }),
    command('block-export-add', { type: 'nbd', id: 'e', 'node-name': 'top' }),
    command('block-export-add', { type: 'nbd', id: 'f', 'node-name': 'top' }),
    command('block-export-add', { type: 'nbd', id: 'f', 'node-name': 'top', name: 'other', writable: true }),
    command('query-block-exports'),
    command('blockdev-del', { 'node-name': 'top' }),
    command('block-export-del', { id: 'nobody' }),
    command('block-export-del', { id: 'e', mode: 'nonsense' }),
    command('block-export-del', { id: 'e' }),
    until('BLOCK_EXPORT_DELETED'),
    command('nbd-server-add', { device: 'raw' }),
    command('nbd-server-add', { device: 'raw' }),
    command('nbd-server-add', { device: 'nobody' }),
    command('nbd-server-remove', { name: 'nobody' }),
    command('nbd-server-remove', { name: 'raw', mode: 'hard' }),
    command('query-block-exports'),
    command('nbd-server-stop'),
    command('query-block-exports'),
    command('nbd-server-stop'),
    FLAT,
  );

  same(
    'exports of what others use, with a server and without',
    command('blockdev-add', { driver: 'file', 'node-name': 'f', filename: 'DIR/top.qcow2' }),
    command('blockdev-add', { driver: 'qcow2', 'node-name': 'top', file: 'f' }),
    command('blockdev-add', { driver: 'file', 'node-name': 'ro', filename: 'DIR/over.qcow2', 'read-only': true }),
    ...['first', 'then'].flatMap((when) => [
      ...(when === 'then' ? [command('nbd-server-start', { addr: { type: 'unix', data: { path: 'DIR/nbd' } } })] : []),
      command('block-export-add', { type: 'nbd', id: 'e', 'node-name': 'f', writable: true }),
      command('block-export-add', { type: 'nbd', id: 'e', 'node-name': 'f' }),
      command('block-export-add', { type: 'nbd', id: 'e', 'node-name': 'ro', writable: true }),
      command('block-export-add', { type: 'nbd', id: 'e', 'node-name': 'nobody' }),
      command('block-export-add', { type: 'nbd', id: 'e', 'node-name': 'top', writable: true, bitmaps: ['x'] }),
    ]),
    command('block-export-add', { type: 'nbd', id: 'e', 'node-name': 'top', writable: true }),
    command('block_resize', { 'node-name': 'top', size: 2 << 20 }),
    command('block-export-del', { id: 'e' }),
    until('BLOCK_EXPORT_DELETED'),
    command('block_resize', { 'node-name': 'top', size: 2 << 20 }),
  );

  same(
    'an export whose node gets an overlay',
    add('top', 'qcow2', 'top.qcow2'),
    add('over', 'qcow2', 'over.qcow2', { backing: null }),
    command('nbd-server-start', { addr: { type: 'unix', data: { path: 'DIR/nbd' } } }),
    command('block-export-add', { type: 'nbd', id: 'e', 'node-name': 'top', writable: true }),
    command('query-block-exports'),
    command('blockdev-snapshot', { node: 'top', overlay: 'over' }),
    command('query-block-exports'),
    command('block-export-del', { id: 'e' }),
    until('BLOCK_EXPORT_DELETED'),
    command('query-block-exports'),
  );

  const exported = (node: string): Step =>
    command('block-export-add', { type: 'nbd', id: node, name: node, 'node-name': node });
  const unexported = (node: string): Step[] => [
    command('block-export-del', { id: node }),
    until('BLOCK_EXPORT_DELETED', { id: node }),
  ];
  const gone = (...names: string[]): Step[] => names.map((name) => command('blockdev-del', { 'node-name': name }));
  // Events are not compared: an export that goes pauses a mirror for a moment there.
  it(
    'nodes that nobody holds go with their last user',
    comparing(
      [
        command('nbd-server-start', { addr: { type: 'unix', data: { path: 'DIR/nbd' } } }),
        // An overlay, used by an export alone, then by a job alone.
        add('disk', 'qcow2', 'over.qcow2'),
        exported('disk'),
        command('blockdev-snapshot-sync', {
          'node-name': 'disk',
          'snapshot-file': 'DIR/sync.qcow2',
          'snapshot-node-name': 'sync',
        }),
        command('blockdev-add', { driver: 'null-co', 'node-name': 'null', size: SIZE }),
        command('blockdev-mirror', { 'job-id': 'm', device: 'sync', target: 'null', sync: 'full' }),
        until('BLOCK_JOB_READY'),
        ...unexported('disk'),
        ...gone('sync', 'disk'),
        command('block-job-cancel', { device: 'm' }),
        until('BLOCK_JOB_COMPLETED'),
        ...gone('sync', 'disk', 'null'),
        // Children of a node that is closed, used by exports alone.
        add('top', 'qcow2', 'top.qcow2', {
          backing: { driver: 'qcow2', 'node-name': 'base', file: { driver: 'file', filename: 'DIR/base.qcow2' } },
        }),
        exported('base'),
        ...gone('base', 'top', 'base'),
        ...unexported('base'),
        ...gone('base'),
        NODES,
      ],
      { files, events: false },
    ),
  );

  same(
    'objects',
    command('object-add', { 'qom-type': 'secret', id: 's', data: 'x' }),
    command('object-add', { 'qom-type': 'secret', id: 's', data: 'x' }),
    command('object-add', { 'qom-type': 'secret', id: 't' }),
    command('object-add', { 'qom-type': 'secret', id: 't', file: 'DIR/none' }),
    command('object-add', { 'qom-type': 'secret', id: '1', data: 'x' }),
    command('object-add', { 'qom-type': 'nonsense', id: 't' }),
    command('object-add', { 'qom-type': 'secret' }),
    command('object-add', { id: 't' }),
    command('object-add', { 'qom-type': 'secret', id: 't', data: 1 }),
    command('object-del', { id: 's' }),
    command('object-del', { id: 's' }),
    command('object-del'),
  );
});
