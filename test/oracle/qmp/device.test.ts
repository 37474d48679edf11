// Devices against those of a virtual machine without anything else.

import { requirePeer } from '../../support/peers.js';
import { command, comparing, type Setup, type Step, untilStatus } from './runner.js';

const files: Setup['files'] = (shop, folder) => {
  shop.must('qemu-img', 'create', '-q', '-f', 'qcow2', `${folder}/base.qcow2`, '4M');
  shop.must('qemu-io', '-c', 'write -P 1 0 1M', `${folder}/base.qcow2`);
  shop.must(
    'qemu-img',
    'create',
    '-q',
    '-f',
    'qcow2',
    '-b',
    `${folder}/base.qcow2`,
    '-F',
    'qcow2',
    `${folder}/top.qcow2`,
  );
  shop.must('qemu-img', 'create', '-q', '-f', 'raw', `${folder}/a.raw`, '4M');
};

const DEVICES = command('query-block');
const FIGURES = command('query-blockstats');
const FLAT = command('query-named-block-nodes', { flat: true });
const TOP = 'if=none,id=d0,node-name=n0,file=DIR/top.qcow2';

describe("qmp against a machine's monitor: devices", () => {
  before(function () {
    for (const peer of ['qemu-system-x86_64', 'qemu-img', 'qemu-io']) requirePeer(this, peer);
  });

  const same = (title: string, drives: readonly string[], ...script: Step[]): void => {
    const words = drives.flatMap((drive) => ['--drive', drive]);
    it(title, comparing(script, { files, words, machine: true }));
  };

  same(
    'what is told of them, and of their nodes',
    [
      TOP,
      'if=none,id=d1,file=DIR/a.raw,format=raw,read-only=on,cache=writethrough',
      'if=none,id=d2,driver=null-co,node-name=n2,cache=unsafe,detect-zeroes=unmap,discard=unmap',
      'if=none,driver=raw,file.driver=null-co,node-name=n3,stats-account-failed=off,stats-account-invalid=off',
    ],
    DEVICES,
    FIGURES,
    command('query-blockstats', { 'query-nodes': true }),
    FLAT,
    command('query-block', { nonsense: 1 }),
  );

  same(
    'limits',
    [
      'if=none,id=d0,driver=null-co,node-name=n0,throttling.iops-total=10',
      'if=none,id=d1,driver=null-co,node-name=n1,throttling.iops-total=10,throttling.iops-size=4096,throttling.group=g',
      'if=none,id=d2,driver=null-co,node-name=n2,throttling.bps-read=1000,throttling.bps-read-max=2000,throttling.bps-write=1000,throttling.bps-write-max=3000,throttling.bps-write-max-length=7,throttling.group=g',
      'if=none,id=d3,driver=null-co,node-name=n3,throttling.group=g',
    ],
    DEVICES,
    FLAT,
  );

  const none = { bps: 0, bps_rd: 0, bps_wr: 0, iops: 0, iops_rd: 0, iops_wr: 0 };
  const limit = (words: object): Step => command('block_set_io_throttle', { ...none, ...words });

  same(
    'other limits',
    ['if=none,id=d0,driver=null-co,node-name=n0', 'if=none,id=d1,driver=null-co,node-name=n1,throttling.iops-total=7'],
    command('block_set_io_throttle'),
    command('block_set_io_throttle', { device: 'd0' }),
    limit({}),
    limit({ device: 'd0', id: 'd0' }),
    limit({ device: 'n0' }),
    limit({ device: 'nobody' }),
    limit({ id: 'nobody' }),
    limit({ device: 'd0', bps: -1 }),
    limit({ device: 'd0', bps: 1, bps_rd: 1 }),
    limit({ device: 'd0', bps: 1000, iops_size: 5 }),
    limit({ device: 'd0', bps_max: 1000 }),
    limit({ device: 'd0', bps: 1000, bps_max: 10 }),
    limit({ device: 'd0', iops_rd: 10, iops_rd_max_length: 3 }),
    limit({ device: 'd0', bps: 'x' }),
    DEVICES,
    limit({ device: 'd0', iops: 100, iops_max: 1000, iops_max_length: 3, iops_size: 4096 }),
    limit({ device: 'd1', bps_rd: 100, bps_wr: 200, group: 'g' }),
    DEVICES,
    limit({ device: 'd0', bps: 1000, group: 'g' }),
    DEVICES,
    limit({ device: 'd1' }),
    DEVICES,
    limit({ device: 'd0' }),
    limit({ device: 'd1', iops_wr: 5 }),
    DEVICES,
  );

  same(
    'limits by a group that is an object',
    ['if=none,id=d0,driver=null-co,node-name=n0', 'if=none,id=d1,driver=null-co,node-name=n1,throttling.iops-total=7'],
    command('object-add', { 'qom-type': 'throttle-group', id: 'g', limits: { 'iops-total': 5 } }),
    limit({ device: 'd0', bps: 1000, group: 'g' }),
    command('qom-get', { path: '/objects/g', property: 'limits' }),
    command('object-del', { id: 'g' }),
    command('qom-set', { path: '/objects/g', property: 'limits', value: { 'iops-read': 9 } }),
    DEVICES,
    limit({ device: 'd0' }),
    command('object-del', { id: 'g' }),
    limit({ device: 'd0', iops: 3 }),
    DEVICES,
  );

  same(
    'figures of the last seconds',
    ['if=none,id=d0,driver=null-co,node-name=n0,stats-intervals.0=5,stats-intervals.1=60'],
    FIGURES,
    command('block-latency-histogram-set', { id: 'nobody' }),
    command('block-latency-histogram-set', { id: 'n0', boundaries: [1] }),
    command('block-latency-histogram-set', { boundaries: [1] }),
  );

  same(
    'commands that name them',
    [TOP, 'if=none,id=d1,driver=null-co,node-name=n1'],
    command('blockdev-add', { driver: 'null-co', 'node-name': 'd0' }),
    command('blockdev-del', { 'node-name': 'n0' }),
    command('blockdev-del', { 'node-name': 'd0' }),
    command('block_resize', { device: 'd0', size: 8 << 20 }),
    command('block_resize', { 'node-name': 'd0', size: 4 << 20 }),
    command('block_resize', { device: 'n0', size: 4 << 20 }),
    command('block_resize', { device: 'd0', 'node-name': 'n0', size: 8 << 20 }),
    command('block-dirty-bitmap-add', { node: 'd0', name: 'b' }),
    command('block-dirty-bitmap-add', { node: 'n0', name: 'b' }),
    command('block-dirty-bitmap-remove', { node: 'd0', name: 'b' }),
    command('change-backing-file', { device: 'd0', 'image-node-name': 'n0', 'backing-file': 'DIR/base.qcow2' }),
    command('change-backing-file', { device: 'd0', 'image-node-name': 'd0', 'backing-file': 'DIR/base.qcow2' }),
    command('blockdev-snapshot', { node: 'd0', overlay: 'd0' }),
    command('blockdev-snapshot', { node: 'd1', overlay: 'nobody' }),
    command('blockdev-mirror', { device: 'd1', target: 'd1', sync: 'full' }),
    command('block-commit', { device: 'nobody' }),
    command('nbd-server-add', { device: 'd0' }),
    DEVICES,
  );

  same(
    'jobs on them, which have their names',
    [TOP],
    command('blockdev-snapshot-sync', {
      device: 'd0',
      'snapshot-file': 'DIR/new.qcow2',
      'snapshot-node-name': 'new',
    }),
    DEVICES,
    command('block-stream', { device: 'd0', base: 'DIR/base.qcow2', 'auto-dismiss': false }),
    untilStatus('d0', 'concluded'),
    command('job-dismiss', { id: 'd0' }),
    command('block-stream', { device: 'new', 'auto-dismiss': false }),
    untilStatus('d0', 'concluded'),
    command('block-job-dismiss', { id: 'd0' }),
    DEVICES,
  );

  same(
    'stop and cont',
    [TOP],
    command('query-status'),
    command('query-name'),
    command('cont'),
    command('stop'),
    command('query-status'),
    command('stop'),
    command('query-status'),
    command('cont'),
    command('query-status'),
    command('cont'),
    command('stop', { nonsense: 1 }),
  );
});
