// Our NBD client at qemu-nbd and at nbdkit with its many moods: what we say of their exports is what qemu-img says, and what we copy
// from and to them is what was there.

import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { expect } from 'chai';
import { codeOf } from '../sim/support.js';
import { cliBundle } from '../support/cli.js';
import { must, type NbdBench, type Outcome, run, type Served, specimens, useNbd } from './nbd-support.js';
import { qemuCheck, qemuImg } from './support.js';

const MIB = 1 << 20;
const SIZE = 8 * MIB;

async function diskwright(...words: string[]): Promise<Outcome> {
  return run(process.execPath, [await cliBundle(), ...words]);
}

/** The bytes of an export, through our library. */
async function contentOf(bench: NbdBench, uri: string): Promise<Buffer> {
  const image = await bench.workspace.open(uri, { format: 'raw', readOnly: true });
  const content = Buffer.alloc(image.size);
  for (let at = 0; at < content.length; at += MIB) await image.read(at, content.subarray(at, at + MIB));
  await image.close();
  return content;
}

function seededFile(bench: NbdBench, name: string): Buffer {
  const content = Buffer.alloc(SIZE);
  for (let at = 0; at < SIZE; at += 4)
    if ((at >> 17) % 3 > 0) content.writeUInt32LE((Math.imul(at, 0x9e3779b1) | 1) >>> 0, at);
  writeFileSync(bench.path(name), content);
  return content;
}

describe('our NBD client at qemu-nbd', function () {
  this.timeout(120_000);
  const bench = useNbd('qemu-nbd');

  it('says of an export what qemu-img says', async () => {
    for (const { file, format, name } of await specimens(bench())) {
      const { uri } = await bench().qemuNbd(file, format, '-r');
      for (const words of [
        ['map', '--output=json', '-f', 'raw', uri],
        ['map', '-f', 'raw', uri],
        ['info', '--output=json', '-f', 'raw', uri],
        ['info', uri],
        ['compare', '-f', 'raw', '-F', 'raw', uri, uri],
        ['compare', '-f', 'raw', '-F', format, uri, file],
        ['check', '-f', 'raw', uri],
      ]) {
        const ours = await diskwright(...words);
        const theirs = await run('qemu-img', words);
        theirs.stderr = theirs.stderr.replaceAll('qemu-img: ', 'diskwright: ');
        expect(ours, `${name}: ${words.join(' ')}`).to.deep.equal(theirs);
      }
    }
  });

  it('converts from an export and to one', async () => {
    for (const { file, format, name } of await specimens(bench())) {
      const source = await bench().qemuNbd(file, format, '-r');
      const [copy, there] = [bench().path('copy.qcow2'), bench().path('there.qcow2')];
      expect(await diskwright('convert', '-f', 'raw', '-O', 'qcow2', source.uri, copy)).to.deep.equal(silent);
      qemuImg('compare', '-f', format, '-F', 'qcow2', file, copy);
      expect(qemuCheck(copy).status, name).to.equal(0);
      qemuImg('create', '-q', '-f', 'qcow2', there, String(SIZE));
      const target = await bench().qemuNbd(there, 'qcow2', '--discard=unmap');
      expect(await diskwright('convert', '-n', '-f', 'qcow2', '-O', 'raw', copy, target.uri)).to.deep.equal(silent);
      await bench().end(target);
      qemuImg('compare', '-f', 'qcow2', '-F', 'qcow2', copy, there);
      expect(qemuCheck(there).status, name).to.equal(0);
    }
  });

  it('mirrors and backs up to an export', async () => {
    const [, source] = await specimens(bench());
    for (const kind of ['mirror', 'backup'] as const) {
      const there = bench().path(`${kind}.qcow2`);
      qemuImg('create', '-q', '-f', 'qcow2', there, String(SIZE));
      const target = await bench().qemuNbd(there, 'qcow2');
      const { workspace } = bench();
      const image = await workspace.open(source.file, { format: 'qcow2' });
      const job = await workspace[kind](image, target.uri, { format: 'raw', sync: 'full' });
      if (kind === 'mirror') job.on('BLOCK_JOB_READY', () => void job.complete());
      await job.done;
      await image.close();
      await bench().end(target);
      qemuImg('compare', '-f', 'qcow2', '-F', 'qcow2', source.file, there);
      expect(qemuCheck(there).status).to.equal(0);
    }
  });

  it('says what an export cannot', async () => {
    const [{ file }] = await specimens(bench());
    const { uri, socket } = await bench().qemuNbd(file, 'raw', '-r', '-x', 'disk');
    const { workspace } = bench();
    expect(await codeOf(workspace.open(uri, { format: 'raw' }))).to.equal('read-only');
    const elsewhere = `nbd+unix:///nothing?socket=${socket}`;
    expect(await codeOf(workspace.open(elsewhere, { format: 'raw', readOnly: true }))).to.equal('not-found');
    const nobody = `nbd+unix:///?socket=${bench().path('nobody')}`;
    expect(existsSync(bench().path('nobody'))).to.equal(false);
    expect(await codeOf(workspace.open(nobody, { format: 'raw', readOnly: true }))).to.equal('not-found');
  });
});

describe('our NBD client at nbdkit', function () {
  this.timeout(120_000);
  const bench = useNbd('nbdkit');

  /** How the server is, and the arguments behind the plugin. */
  const moods: [name: string, before: string[], after: string[]][] = [
    ['as it is', [], []],
    ['simple replies', ['--no-sr'], []],
    ['newstyle without GO', ['--mask-handshake=0'], []],
    ['no extents', ['--filter=noextents'], []],
    ['no zeroing', ['--filter=nozero'], ['zeromode=none']],
    ['no fua', ['--filter=fua'], []],
    ['emulated fua', ['--filter=fua'], ['fuamode=emulate']],
    [
      'blocks of 4 KiB at least',
      ['--filter=blocksize-policy'],
      ['blocksize-minimum=4096', 'blocksize-error-policy=error'],
    ],
    ['64 KiB at most', ['--filter=blocksize-policy'], ['blocksize-maximum=64k', 'blocksize-error-policy=error']],
    ['one at a time', ['--filter=noparallel'], ['serialize=requests']],
    ['no several connections', ['--filter=multi-conn'], ['multi-conn-mode=disable']],
    ['slow', ['--filter=delay'], ['rdelay=2ms', 'wdelay=2ms']],
  ];

  for (const [name, before, after] of moods) {
    it(`reads and writes: ${name}`, async () => {
      const content = seededFile(bench(), 'there.raw');
      const server: Served = await bench().nbdkit(...before, 'file', bench().path('there.raw'), ...after);
      expect((await contentOf(bench(), server.uri)).equals(content), 'read').to.equal(true);
      const image = await bench().workspace.open(server.uri, { format: 'raw' });
      const write = async (offset: number, length: number, value: number) => {
        content.fill(value, offset, offset + length);
        await image.write(offset, Buffer.alloc(length, value));
      };
      await Promise.all([write(100, 3, 1), write(5000, 100_000, 2), write(MIB + 1, 2 * MIB, 3), write(SIZE - 1, 1, 4)]);
      content.fill(0, 4 * MIB + 7, 5 * MIB);
      await image.writeZeroes(4 * MIB + 7, MIB - 7);
      await image.flush();
      await image.close();
      expect(readFileSync(bench().path('there.raw')).equals(content), 'written').to.equal(true);
    });
  }

  it('gets through to an export of many exbibytes', async () => {
    const { uri } = await bench().nbdkit('pattern', 'size=4P');
    const image = await bench().workspace.open(uri, { format: 'raw', readOnly: true });
    const word = Buffer.alloc(8);
    await image.read(3 * 2 ** 50 + 8, word);
    expect(word.readBigUInt64BE()).to.equal(BigInt(3 * 2 ** 50 + 8));
    await image.close();
  });

  it('reports an error of the server, and goes on', async () => {
    seededFile(bench(), 'there.raw');
    const trigger = bench().path('broken');
    writeFileSync(trigger, '');
    const words = ['error=ENOSPC', 'error-rate=100%', `error-file=${trigger}`];
    const { uri } = await bench().nbdkit('--filter=error', 'file', bench().path('there.raw'), ...words);
    const opened = bench().workspace.open(uri, { format: 'raw' });
    const image = await opened;
    expect(await codeOf(image.write(0, Buffer.alloc(512)))).to.equal('no-space');
    await must('rm', [trigger]);
    await image.write(0, Buffer.alloc(512, 9));
    const back = Buffer.alloc(512);
    await image.read(0, back);
    expect(back.every((byte) => byte === 9)).to.equal(true);
    await image.close();
  });
});

const silent: Outcome = { code: 0, stdout: '', stderr: '' };
