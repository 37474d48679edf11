// Block status through nodes that hand on other nodes' bytes, beside the real tools: raw and windows of raw over a chain whose layers are
// of different lengths. The map is that of qemu-img, the depths are those of qemu-nbd, and every copy has the right bytes.

import { readFileSync } from 'node:fs';
import { expect } from 'chai';
import { Workshop } from '../support/cli.js';
import { NbdProcess } from '../support/nbd-process.js';
import { requirePeer } from '../support/peers.js';

const OVERLAY = 'driver=qcow2,file.driver=file,file.filename=top.qcow2';
const under = (options: string): string => options.replace(/[a-z-]+[.a-z]*=/g, 'file.$&');
const WINDOW = `driver=raw,offset=1048576,${under(OVERLAY)}`;

const STACKS: [string, string][] = [
  ['raw over an overlay', `driver=raw,${under(OVERLAY)}`],
  ['a window without an end', WINDOW],
  ['a window with an end', `driver=raw,offset=512,size=5000192,${under(OVERLAY)}`],
  ['raw over a window', `driver=raw,${under(WINDOW)}`],
  [
    'qcow2 in a window',
    'driver=qcow2,file.driver=raw,file.offset=0,file.file.driver=file,file.file.filename=top.qcow2',
  ],
  ['raw over null-co', 'driver=raw,file.driver=null-co,file.size=1M'],
  ['raw over null-co that reads zeroes', 'driver=raw,file.driver=null-co,file.size=1M,file.read-zeroes=on'],
];

describe('block status through other nodes', () => {
  let bench: Workshop;
  before(async function () {
    for (const peer of ['qemu-img', 'qemu-io', 'qemu-nbd', 'nbdinfo', 'nbdcopy']) requirePeer(this, peer);
    bench = await Workshop.open();
    const create = (name: string, size: string, cluster: string, base?: string) => {
      const backing = base === undefined ? [] : ['-b', base, '-F', 'qcow2'];
      bench.must('qemu-img', 'create', '-q', '-f', 'qcow2', '-o', `cluster_size=${cluster}`, ...backing, name, size);
    };
    create('base.qcow2', '5M', '64k');
    bench.qemuIo('base.qcow2', 'write -P 5 1M 2M', 'write -P 6 4M 1M');
    create('middle.qcow2', '7M', '4k', 'base.qcow2');
    bench.qemuIo('middle.qcow2', 'write -P 7 2M 1M', 'write -z 4M 512k', 'write -P 8 6500k 100k');
    create('top.qcow2', '40M', '16k', 'middle.qcow2');
    bench.qemuIo('top.qcow2', 'write -P 9 1M 64k', 'write -z 2M 64k', 'write -P 3 36M 64k');
    bench.must('qemu-img', 'convert', '-O', 'raw', '--image-opts', WINDOW, 'wanted.raw');
  });
  after(() => bench?.remove());

  for (const [what, options] of STACKS) {
    it(`maps ${what} as qemu-img does`, () => {
      for (const start of ['0', '8M']) {
        const words = ['map', '--output=json', `--start-offset=${start}`, '--image-opts', options];
        expect(bench.ours(...words).stdout, start).to.equal(bench.qemuImg(...words).stdout);
      }
    });
  }

  for (const [what, words] of [
    ['an overlay', ['-f', 'qcow2', 'top.qcow2']],
    ['a window of it', ['--offset', '1048576', '-f', 'qcow2', 'top.qcow2']],
  ] as const) {
    it(`tells the allocation depth of ${what} as qemu-nbd does`, async () => {
      const maps: string[] = [];
      for (const server of ['diskwright', 'qemu-nbd'] as const) {
        const started = await NbdProcess.start(server, bench.path('depth'), ['-t', '-A', ...words], bench.folder);
        maps.push(bench.must('nbdinfo', '--map=qemu:allocation-depth', started.uri));
        await started.stop();
      }
      expect(maps[0]).to.equal(maps[1]);
    });
  }

  it('gives others the bytes of the window, not zeroes', async () => {
    const wanted = readFileSync(bench.path('wanted.raw'));
    const words = ['-t', '-e', '4', '--offset', '1048576', '-f', 'qcow2', 'top.qcow2'];
    const started = await NbdProcess.start('diskwright', bench.path('socket'), words, bench.folder);
    try {
      const { uri } = started;
      expect(bench.must('nbdinfo', '--map', uri).split('\n')[0].trim().split(/\s+/)).to.deep.equal([
        '0',
        '1048576',
        '0',
        'data',
      ]);
      bench.must('nbdcopy', uri, 'nbdcopy.raw');
      bench.must('qemu-img', 'convert', '-f', 'raw', '-O', 'raw', uri, 'theirs.raw');
      for (const name of ['nbdcopy.raw', 'theirs.raw'])
        expect(readFileSync(bench.path(name)).equals(wanted)).to.equal(true);
      const copied = bench.ours('convert', '-f', 'raw', '-O', 'raw', uri, 'ours.raw');
      expect(copied.code, copied.stderr).to.equal(0);
      expect(readFileSync(bench.path('ours.raw')).equals(wanted)).to.equal(true);
    } finally {
      await started.stop();
    }
  });

  it('copies by each command what lies below, also where the server cannot tell zeroes', async () => {
    const wanted = readFileSync(bench.path('wanted.raw'));
    const words = ['-t', '-r', '-e', '4', '--offset', '1048576', '-f', 'qcow2', 'top.qcow2'];
    const started = await NbdProcess.start('qemu-nbd', bench.path('theirs'), words, bench.folder);
    try {
      const commands = [
        ['convert', '-O', 'raw', '--image-opts', WINDOW, 'a.raw'],
        ['convert', '-f', 'raw', '-O', 'raw', started.uri, 'b.raw'],
        ['mirror', '--sync=full', '--target=c.raw', '--format=raw', started.uri],
        ['mirror', '--sync=top', '--target=d.raw', '--format=raw', started.uri],
        ['backup', '--sync=top', '--target=e.raw', '--format=raw', started.uri],
      ];
      for (const [index, command] of commands.entries()) {
        const { code, stderr } = bench.ours(...command);
        expect(code, `${command.join(' ')}: ${stderr}`).to.equal(0);
        const name = `${'abcde'[index]}.raw`;
        expect(readFileSync(bench.path(name)).equals(wanted), command.join(' ')).to.equal(true);
      }
    } finally {
      await started.stop();
    }
  });
});
