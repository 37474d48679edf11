// drive-mirror and drive-backup, whose targets are files, against qemu-storage-daemon.

import { requirePeer } from '../../support/peers.js';
import type { Json } from '../../support/qmp.js';
import { command, comparing, type Setup, type Step, until, untilStatus } from './runner.js';

const files: Setup['files'] = (shop, folder) => {
  const make = (...words: string[]) => shop.must('qemu-img', 'create', '-q', ...words);
  make('-f', 'qcow2', `${folder}/base.qcow2`, '4M');
  shop.must('qemu-io', '-c', 'write -P 1 0 3M', `${folder}/base.qcow2`);
  make('-f', 'qcow2', '-b', `${folder}/base.qcow2`, '-F', 'qcow2', `${folder}/top.qcow2`);
  shop.must('qemu-io', '-c', 'write -P 2 0 1M', `${folder}/top.qcow2`);
  make('-f', 'raw', `${folder}/there.raw`, '4M');
  make('-f', 'raw', `${folder}/small.raw`, '1M');
};

const TOP = command('blockdev-add', {
  driver: 'qcow2',
  'node-name': 'top',
  file: { driver: 'file', filename: 'DIR/top.qcow2' },
});
const FLAT = command('query-named-block-nodes', { flat: true });
/** Ours count what has no data, too. */
const filter = (text: string): string => text.replace(/"(len|total-progress)":\d+,?/g, '');
const drive = (verb: string, more: Json): Step =>
  command(`drive-${verb}`, { 'job-id': 'j', device: 'top', target: 'DIR/t', sync: 'full', ...more });

describe('qmp against qemu-storage-daemon: targets in files', () => {
  before(function () {
    for (const peer of ['qemu-storage-daemon', 'qemu-img', 'qemu-io']) requirePeer(this, peer);
  });

  const same = (title: string, ...script: Step[]): void => {
    it(title, comparing([TOP, ...script], { files, filter }));
  };

  const backup = (more: Json): Step[] => [drive('backup', more), untilStatus('j', 'null'), FLAT];
  same(
    'backups to their end',
    ...backup({}),
    ...backup({ target: 'DIR/over', sync: 'top' }),
    ...backup({ target: 'DIR/raw', format: 'raw' }),
    ...backup({ target: 'DIR/there.raw', format: 'raw', mode: 'existing' }),
  );
  same(
    'a backup of which nothing is copied until it is written, and its end',
    drive('backup', { sync: 'none', 'auto-dismiss': false }),
    command('job-cancel', { id: 'j' }),
    untilStatus('j', 'concluded'),
    FLAT,
    command('job-dismiss', { id: 'j' }),
  );
  same(
    'backups in a transaction',
    command('transaction', {
      actions: [
        { type: 'drive-backup', data: { 'job-id': 'j', device: 'top', target: 'DIR/t', sync: 'full' } },
        { type: 'block-dirty-bitmap-add', data: { node: 'top', name: 'm' } },
      ],
    }),
    untilStatus('j', 'null'),
    command('transaction', {
      actions: [
        { type: 'drive-backup', data: { 'job-id': 'j', device: 'top', target: 'DIR/t', sync: 'full' } },
        { type: 'abort', data: {} },
      ],
    }),
    command('transaction', { actions: [{ type: 'drive-backup', data: {} }] }),
    FLAT,
  );
  same(
    'what is wrong with a backup',
    command('drive-backup'),
    drive('backup', { 'job-id': '1' }),
    drive('backup', { device: 'nobody' }),
    drive('backup', { format: 'nonsense' }),
    drive('backup', { target: 'DIR/none/t' }),
    drive('backup', { mode: 'nonsense' }),
    drive('backup', { mode: 'existing', target: 'DIR/none' }),
    drive('backup', { mode: 'existing', target: 'DIR/small.raw', format: 'raw' }),
    drive('backup', { sync: 'incremental' }),
    FLAT,
  );

  const mirror = (more: Json): Step[] => [
    drive('mirror', more),
    untilStatus('j', 'ready'),
    until('BLOCK_JOB_READY'),
    command('block-job-cancel', { device: 'j' }),
    untilStatus('j', 'null'),
    FLAT,
  ];
  same(
    'mirrors, left without a switch',
    ...mirror({}),
    ...mirror({ target: 'DIR/raw', format: 'raw', 'node-name': 'copy', 'copy-mode': 'write-blocking', unmap: false }),
    ...mirror({ target: 'DIR/there.raw', format: 'raw', mode: 'existing', granularity: 65536, 'buf-size': 1 << 20 }),
  );
  same(
    'what is wrong with a mirror',
    command('drive-mirror'),
    drive('mirror', { 'job-id': '1' }),
    drive('mirror', { device: 'nobody' }),
    drive('mirror', { format: 'nonsense' }),
    drive('mirror', { target: 'DIR/none/t' }),
    drive('mirror', { mode: 'existing', target: 'DIR/none' }),
    drive('mirror', { 'node-name': 'top' }),
    drive('mirror', { bitmap: 'x' }),
    FLAT,
  );
});
