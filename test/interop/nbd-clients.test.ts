// Further clients at our server: fio's nbd engine, which verifies what it wrote; nbd-client, as far as it comes without a kernel device;
// nbdkit as a proxy, with filters that delay and break requests; and qemu-storage-daemon.

import { readFileSync } from 'node:fs';
import { expect } from 'chai';
import { StorageDaemon } from '../support/qmp.js';
import { must, type Outcome, run, type Served, specimens, useNbd } from './nbd-support.js';
import { qemuCheck, qemuImg } from './support.js';

const SIZE = 8 << 20;
const NBD_CLIENT = '/usr/sbin/nbd-client';

/** What fio is told; each job writes all of its part, reads it back and compares checksums. */
const JOBS = [
  ['--rw=randwrite', '--bs=4k', '--iodepth=32'],
  ['--rw=write', '--bs=1m', '--iodepth=8'],
  ['--rw=randwrite', '--bsrange=512-128k', '--bs_unaligned=1', '--iodepth=16', '--verify_backlog=64'],
  ['--rw=randrw', '--bs=16k', '--iodepth=16', '--fsync=50', '--trim_percentage=10'],
  ['--rw=randtrim', '--bs=64k', '--iodepth=4'],
];

describe('fio over NBD', function () {
  this.timeout(120_000);
  const bench = useNbd('fio');

  it('reads back what it wrote', async () => {
    for (const format of ['raw', 'qcow2']) {
      const file = bench().path(`disk.${format}`);
      qemuImg('create', '-q', '-f', format, file, String(SIZE));
      const server = await bench().ours(file, format);
      for (const job of JOBS) {
        const verify = job[0] === '--rw=randtrim' ? [] : ['--verify=crc32c', '--verify_fatal=1', '--do_verify=1'];
        await must('fio', [
          '--name=verify',
          '--ioengine=nbd',
          `--uri=${server.uri}`,
          '--randseed=7',
          // No file of its own beside us.
          '--verify_state_save=0',
          ...job,
          ...verify,
        ]);
      }
      await server.close();
      if (format === 'qcow2') expect(qemuCheck(file).status).to.equal(0);
    }
  });
});

describe('nbd-client', function () {
  this.timeout(60_000);
  const bench = useNbd('nbd-client', 'qemu-nbd');

  it('lists our export, and comes as far as with qemu-nbd', async () => {
    const [{ file }] = await specimens(bench());
    const theirs = await bench().qemuNbd(file, 'raw', '-r', '-x', 'disk', '-D', 'a description');
    const ours = await bench().ours(file, 'raw', {
      ...{ open: { readOnly: true }, name: 'disk', description: 'a description' },
    });
    const ask = async (served: Served, ...words: string[]): Promise<Outcome> => {
      const { code, stdout, stderr } = await run(NBD_CLIENT, ['-u', served.socket, ...words]);
      const plain = (text: string) => text.replaceAll(served.socket, 'SOCKET');
      return { code, stdout: plain(stdout), stderr: plain(stderr) };
    };
    for (const words of [
      ['-l'],
      ['-N', 'disk', '/dev/nbd0'],
      ['-N', 'none', '/dev/nbd0'],
      ['-N', 'disk', '-R', '-b', '4096', '/dev/nbd0'],
    ]) {
      expect(await ask(ours, ...words), words.join(' ')).to.deep.equal(await ask(theirs, ...words));
    }
    expect((await ask(ours, '-l')).stdout).to.contain('disk: a description');
  });
});

describe('nbdkit as a proxy of our server', function () {
  this.timeout(60_000);
  const bench = useNbd('nbdkit', 'nbdcopy', 'nbdinfo');

  it('passes everything on, also to several clients at once', async () => {
    for (const { file, format } of await specimens(bench())) {
      const ours = await bench().ours(file, format, { open: { readOnly: true } });
      const proxy = await bench().nbdkit('nbd', `uri=${ours.uri}`, 'shared=true');
      expect(await must('nbdinfo', ['--map', proxy.uri])).to.equal(await must('nbdinfo', ['--map', ours.uri]));
      const [straight, passed] = ['straight.raw', 'passed.raw'].map((name) => bench().path(name));
      qemuImg('convert', '-f', format, '-O', 'raw', file, straight);
      await must('nbdcopy', ['--connections=4', proxy.uri, passed]);
      expect(readFileSync(passed).equals(readFileSync(straight))).to.equal(true);
    }
  });

  it('writes through filters that delay, split and refuse requests', async () => {
    const [{ file: source }] = await specimens(bench());
    const file = bench().path('target.qcow2');
    qemuImg('create', '-q', '-f', 'qcow2', file, String(SIZE));
    const server = await bench().ours(file, 'qcow2');
    const plugin = ['nbd', `uri=${server.uri}`];
    const broken = await bench().nbdkit('--filter=error', ...plugin, 'error=ENOSPC', 'error-rate=50%');
    const { code, stderr } = await run('nbdcopy', [source, broken.uri]);
    expect(code).to.equal(1);
    expect(stderr).to.contain('No space left on device');
    const slow = await bench().nbdkit(
      '--filter=blocksize',
      '--filter=delay',
      ...plugin,
      'maxdata=16k',
      'delay-write=1ms',
    );
    await must('nbdcopy', ['--requests=16', source, slow.uri]);
    await must('qemu-img', ['compare', '-f', 'raw', '-F', 'raw', source, slow.uri]);
    await server.close();
    expect(qemuCheck(file).status).to.equal(0);
    qemuImg('compare', '-f', 'raw', '-F', 'qcow2', source, file);
  });
});

describe('qemu-storage-daemon at our server', function () {
  this.timeout(60_000);
  const bench = useNbd('qemu-storage-daemon');

  it('mirrors and backs up to an export', async () => {
    const [, source] = await specimens(bench());
    for (const command of ['blockdev-mirror', 'blockdev-backup']) {
      const file = bench().path(`${command}.qcow2`);
      qemuImg('create', '-q', '-f', 'qcow2', file, String(SIZE));
      const server = await bench().ours(file, 'qcow2');
      const nodes = [
        { driver: 'qcow2', 'node-name': 'source', 'read-only': true, file: { driver: 'file', filename: source.file } },
        { driver: 'nbd', 'node-name': 'target', server: { type: 'unix', path: server.socket } },
      ];
      const daemon = await StorageDaemon.start(
        bench().path('qmp.sock'),
        nodes.flatMap((node) => ['--blockdev', JSON.stringify(node)]),
      );
      try {
        await daemon.job(command, { 'job-id': 'job0', device: 'source', target: 'target', sync: 'full' });
      } finally {
        await daemon.quit();
      }
      await server.close();
      expect(qemuCheck(file).status).to.equal(0);
      qemuImg('compare', '-f', 'qcow2', '-F', 'qcow2', source.file, file);
    }
  });
});
