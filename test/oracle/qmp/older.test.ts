// Older QMPs: without `--compat` their names are refused as the reference refuses them; with it, today's commands are answered as the reference does.

import { requirePeer } from '../../support/peers.js';
import { command, expectSame, type Step, until, untilStatus } from './runner.js';

const FILE = { driver: 'file', filename: 'DIR/a' };
const BOTH = ['--compat', 'first-names', '--compat', '2.1'];

/** Makes a raw file. */
const files = (shop: { must(program: string, ...words: string[]): unknown }, folder: string): void => {
  shop.must('qemu-img', 'create', '-q', '-f', 'raw', `${folder}/a`, '1M');
};

describe('names of older QMPs against qemu-storage-daemon', () => {
  before(function () {
    requirePeer(this, 'qemu-storage-daemon');
  });

  it('are not there', async () => {
    const script: Step[] = [
      command('block_stream', { device: 'a' }),
      command('block_job_set_speed', { device: 'a', value: 1 }),
      command('block_job_cancel', { device: 'a' }),
      command('block_passwd', { device: 'a', password: 'x' }),
      command('blockdev-add', { options: { driver: 'null-co', id: 'a' } }),
    ];
    await expectSame(script);
  });

  it('change nothing of what today has', async () => {
    const top = { driver: 'qcow2', 'node-name': 'top', file: { driver: 'file', filename: 'DIR/top' } };
    const script: Step[] = [
      command('blockdev-add', { driver: 'raw', 'node-name': 'a', file: FILE }),
      command('blockdev-add', { driver: 'raw', 'node-name': 'b', file: FILE, options: {} }),
      command('blockdev-add', {}),
      command('blockdev-add', { driver: 'null-co', 'node-name': 'n', cache: { writeback: true } }),
      command('blockdev-add', { driver: 'null-co', 'node-name': 'n', id: 'n' }),
      command('blockdev-add', { driver: 'qcow2', 'node-name': 'n', file: 'a', backing: '' }),
      command('blockdev-snapshot-sync', { 'node-name': 'a', 'snapshot-file': 'DIR/over' }),
      command('block-stream', { device: 'a' }),
      command('block-stream', { device: 'nobody', 'job-id': 's' }),
      command('block-stream', { device: 'a', 'job-id': 's', base: 'none' }),
      command('block-commit', { device: 'nobody' }),
      command('block-job-cancel', { device: 'nobody' }),
      command('drive-mirror', { device: 'nobody', 'job-id': 'm', target: 'DIR/b', sync: 'full' }),
      command('drive-backup', { device: 'nobody', 'job-id': 'b', target: 'DIR/b', sync: 'full' }),
      command('block_resize', { 'node-name': 'nobody', size: 0 }),
      command('block_resize', { 'node-name': 'a', size: 2 << 20 }),
      command('blockdev-snapshot-sync', { 'node-name': 'nobody', 'snapshot-file': 'DIR/b', 'snapshot-node-name': 'x' }),
      command('transaction', { actions: [], properties: {} }),
      command('transaction', { actions: [] }),
      command('transaction', { actions: [{ type: 'block-dirty-bitmap-add', data: { node: 'nobody', name: 'x' } }] }),
      command('blockdev-create', { 'job-id': 'c', options: { driver: 'file', filename: 'DIR/top', size: 0 } }),
      untilStatus('c', 'concluded'),
      command('job-dismiss', { id: 'c' }),
      command('blockdev-add', { ...top, driver: 'raw', 'node-name': 'file' }),
      command('blockdev-mirror', { device: 'a', 'job-id': 'm', target: 'nobody', sync: 'full' }),
      command('blockdev-backup', { device: 'a', 'job-id': 'b', target: 'nobody', sync: 'full' }),
      command('drive-backup', { device: 'a', 'job-id': 'b', target: 'DIR/copy', sync: 'full', format: 'raw' }),
      until('BLOCK_JOB_COMPLETED', { device: 'b' }),
      command('query-block-jobs'),
      command('query-jobs'),
      command('blockdev-del', { 'node-name': 'nobody' }),
      command('block_stream_', { device: 'a' }),
    ];
    await expectSame(script, { files, ourWords: BOTH });
  });
});
