// `diskwright nbd --monitor`: an image is copied, and snapshots of it are made, by QMP, while clients write to it.

import { existsSync, readFileSync } from 'node:fs';
import { expect } from 'chai';
import { openRealHost } from '../../src/host/real/index.js';
import type { Image } from '../../src/library/image.js';
import type { QmpClient } from '../../src/library/qmp.js';
import { Workspace } from '../../src/library/workspace.js';
import { Workshop } from '../support/cli.js';
import { isAlive, NbdProcess, nbdCommand, runNbd, until } from '../support/nbd-process.js';
import { RawClient } from '../support/nbd-raw.js';

const MiB = 1024 * 1024;

describe('nbd --monitor', () => {
  let shop: Workshop;
  let workspace: Workspace;
  let server: NbdProcess;
  let disk: Image;
  let client: QmpClient;

  beforeEach(async () => {
    shop = await Workshop.open();
    workspace = new Workspace(openRealHost());
    await workspace.create(shop.path('a.qcow2'), { driver: 'qcow2', size: 4 * MiB });
  });
  afterEach(async () => {
    await workspace.close();
    await server?.stop('SIGKILL');
    shop.remove();
  });

  async function serve(...words: string[]): Promise<void> {
    server = await NbdProcess.start('diskwright', shop.path('nbd'), ['--monitor', 'm', ...words], shop.folder);
    await until('the monitor is there', () => existsSync(shop.path('m')));
    client = await workspace.connectQmp(shop.path('m'));
    disk = await workspace.open(server.uri, { format: 'raw' });
  }

  const write = (at: number, byte: number): Promise<void> => disk.write(at, new Uint8Array(65536).fill(byte));
  const first = (file: string, format: string, at: number): string =>
    shop.must('qemu-io', '-r', '-f', format, '-c', `read -v ${at} 1`, file).slice(11, 13);

  async function untilStatus(id: string, status: string, act: () => Promise<unknown>): Promise<void> {
    const events = client.events('JOB_STATUS_CHANGE');
    await act();
    for await (const { data } of events) if (data.id === id && data.status === status) return;
  }

  it('has the image as device and export of the name disk', async () => {
    await serve('-t', '-f', 'qcow2', '-x', '', 'a.qcow2');
    const [{ device, inserted }] = await client.execute('query-block');
    expect(device).to.equal('disk');
    expect(inserted).to.include({ drv: 'qcow2', ro: false });
    expect(await client.execute('query-block-exports')).to.deep.equal([
      { id: 'disk', type: 'nbd', 'node-name': inserted?.['node-name'], 'shutting-down': false },
    ]);
  });

  it('tells which options of its command line take parameters', async () => {
    await serve('-t', '-f', 'qcow2', '-x', '', 'a.qcow2');
    expect(await client.execute('query-command-line-options')).to.deep.equal([{ option: 'object', parameters: [] }]);
  });

  it('makes a snapshot: what clients write afterwards goes to the overlay', async () => {
    await serve('-t', '-f', 'qcow2', 'a.qcow2');
    await write(0, 0x11);
    const over = { device: 'disk', 'snapshot-file': shop.path('over.qcow2'), 'snapshot-node-name': 'over' };
    await client.execute('blockdev-snapshot-sync', over);
    await write(0, 0x22);
    await write(MiB, 0x33);
    await disk.close();
    await client.execute('quit');
    expect(await server.end()).to.equal(0);
    expect([first('a.qcow2', 'qcow2', 0), first('a.qcow2', 'qcow2', MiB)]).to.deep.equal(['11', '00']);
    expect([first('over.qcow2', 'qcow2', 0), first('over.qcow2', 'qcow2', MiB)]).to.deep.equal(['22', '33']);
    for (const file of ['a.qcow2', 'over.qcow2']) shop.must('qemu-img', 'check', '-q', file);
    expect(existsSync(shop.path('m'))).to.equal(false);
  });

  it('backs up a moment, while clients go on', async () => {
    await serve('-t', '-f', 'qcow2', 'a.qcow2');
    await write(0, 0x11);
    const target = shop.path('backup.qcow2');
    await untilStatus('b', 'null', async () => {
      await client.execute('drive-backup', { 'job-id': 'b', device: 'disk', target, sync: 'full', format: 'qcow2' });
      await write(0, 0x22);
    });
    await client.close();
    expect(first('backup.qcow2', 'qcow2', 0)).to.equal('11');
  });

  it('moves the disk to another file by a mirror, under its clients', async () => {
    await serve('-t', '-f', 'qcow2', 'a.qcow2');
    await write(0, 0x11);
    const mirror = {
      'job-id': 'm',
      device: 'disk',
      target: shop.path('new.qcow2'),
      'node-name': 'new',
      sync: 'full',
    } as const;
    await untilStatus('m', 'ready', () => client.execute('drive-mirror', mirror));
    await untilStatus('m', 'null', () => client.execute('job-complete', { id: 'm' }));
    await write(MiB, 0x33);
    const [moved] = await client.execute('query-block-exports');
    expect(moved['node-name']).to.equal('new');
    // The name has moved on with the disk; nobody needs the old image any more.
    const target = shop.path('backup.qcow2');
    await untilStatus('b', 'null', () =>
      client.execute('drive-backup', { 'job-id': 'b', device: 'disk', target, sync: 'full', format: 'qcow2' }),
    );
    expect([first('backup.qcow2', 'qcow2', 0), first('backup.qcow2', 'qcow2', MiB)]).to.deep.equal(['11', '33']);
    shop.must('qemu-img', 'check', '-q', 'a.qcow2');
    shop.must('qemu-io', '-f', 'qcow2', '-c', 'write 0 64k', 'a.qcow2');
    await disk.close();
    await server.stop('SIGTERM');
    expect([first('new.qcow2', 'qcow2', 0), first('new.qcow2', 'qcow2', MiB)]).to.deep.equal(['11', '33']);
    expect(first('a.qcow2', 'qcow2', MiB)).to.equal('00');
  });

  it('keeps the name with the disk after an active commit', async () => {
    await serve('-t', '-f', 'qcow2', 'a.qcow2');
    await write(0, 0x11);
    await client.execute('blockdev-snapshot-sync', { device: 'disk', 'snapshot-file': shop.path('over.qcow2') });
    await write(0, 0x22);
    await untilStatus('c', 'ready', () => client.execute('block-commit', { 'job-id': 'c', device: 'disk' }));
    await untilStatus('c', 'null', () => client.execute('job-complete', { id: 'c' }));
    await write(MiB, 0x33);
    const [{ inserted }] = await client.execute('query-block');
    expect(inserted?.file).to.match(/a\.qcow2$/);
    await client.execute('blockdev-snapshot-sync', { device: 'disk', 'snapshot-file': shop.path('second.qcow2') });
    await disk.close();
    await server.stop('SIGTERM');
    expect([first('a.qcow2', 'qcow2', 0), first('a.qcow2', 'qcow2', MiB)]).to.deep.equal(['22', '33']);
  });

  it('is listed and steered by diskwright jobs; a job that runs at the end is cancelled', async () => {
    await serve('-t', '-f', 'qcow2', 'a.qcow2');
    await write(0, 0x11);
    const slow = {
      'job-id': 'm',
      device: 'disk',
      target: shop.path('new.raw'),
      sync: 'full',
      format: 'raw',
      speed: 1024,
    } as const;
    await client.execute('drive-mirror', slow);
    expect(shop.ours('jobs', '-m', 'm').stdout).to.match(/^m {2}mirror {2}/);
    await disk.close();
    expect(await server.stop('SIGTERM')).to.equal(0);
    shop.must('qemu-img', 'check', '-q', 'a.qcow2');
  });

  it('ends with the last client, unless -t is given', async () => {
    await serve('-f', 'qcow2', 'a.qcow2');
    await write(0, 0x11);
    await disk.close();
    expect(await server.end()).to.equal(0);
    await client.closed;
  });

  it('is a device on the topmost node of --snapshot and --offset, and leaves a name that options give', async () => {
    await serve('-t', '-s', '-o', '65536', '-f', 'qcow2', 'a.qcow2');
    expect((await client.execute('query-block'))[0].inserted).to.include({ drv: 'raw' });
    await client.close();
    await disk.close();
    await server.stop('SIGTERM');
    await serve('-t', '--image-opts', 'driver=qcow2,node-name=mine,file.filename=a.qcow2');
    expect((await client.execute('query-block-exports'))[0]).to.include({ id: 'disk', 'node-name': 'mine' });
  });

  it('works in the background: the path is that of the folder where it was started', async () => {
    const words = [
      '--fork',
      '-t',
      '-k',
      shop.path('nbd'),
      '--pid-file=pid',
      '--monitor',
      'm',
      '-f',
      'qcow2',
      'a.qcow2',
    ];
    expect(runNbd(await nbdCommand('diskwright'), words, shop.folder)).to.deep.equal({
      code: 0,
      stdout: '',
      stderr: '',
    });
    const pid = Number(readFileSync(shop.path('pid'), 'utf8'));
    client = await workspace.connectQmp(shop.path('m'));
    await client.execute('quit');
    await client.closed;
    await until('the server has ended', () => !isAlive(pid));
  });

  it('refuses a monitor where somebody listens, or where none can be, before it serves', async () => {
    await serve('-t', '-f', 'qcow2', 'a.qcow2');
    shop.must('qemu-img', 'create', '-q', '-f', 'qcow2', 'b.qcow2', '1M');
    const command = await nbdCommand('diskwright');
    const again = runNbd(command, ['-k', shop.path('nbd2'), '--monitor', 'm', 'b.qcow2'], shop.folder);
    expect(again).to.include({ code: 1 });
    expect(again.stderr).to.match(/Failed to bind socket to .*\/m: Address already in use/);
    const list = runNbd(command, ['--list', '-k', shop.path('nbd'), '--monitor', 'm2'], shop.folder);
    expect(list.stderr).to.contain('List mode is incompatible with --monitor');
  });

  it('takes the commands of an older QMP where that is asked for', async () => {
    await serve('-t', '--compat', 'first-names', '--compat', '2.1', '-f', 'qcow2', 'a.qcow2');
    const commands = (await client.execute('query-commands')).map(({ name }) => name);
    expect(commands).to.include.members(['block_job_cancel', 'block_passwd']);
    const command = await nbdCommand('diskwright');
    const wrong = runNbd(
      command,
      ['-k', shop.path('nbd2'), '--monitor', 'm2', '--compat', '3', 'a.qcow2'],
      shop.folder,
    );
    expect(wrong.stderr).to.contain('--compat 3: expected first-names or 2.1');
    const alone = runNbd(command, ['-k', shop.path('nbd2'), '--compat', '2.1', 'a.qcow2'], shop.folder);
    expect(alone.stderr).to.contain('--compat is for the monitor: it needs --monitor');
  });

  it('ends at once after quit, whoever is connected', async () => {
    await serve('-t', '-e', '0', '-f', 'qcow2', 'a.qcow2');
    const idle = await RawClient.connect(shop.path('nbd'));
    await idle.go('simple');
    const silent = await RawClient.connect(shop.path('m'));
    for (const { socket } of [idle, silent]) socket.pause();
    const begun = performance.now();
    await client.execute('quit');
    expect(await server.end()).to.equal(0);
    expect(performance.now() - begun).to.be.below(2000);
    for (const one of [idle, silent]) one.close();
  });
});
