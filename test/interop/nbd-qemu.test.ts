// qemu-img and qemu-io over NBD, at our server and at qemu-nbd: the same text, the same bytes.

import { copyFileSync, readFileSync, statSync } from 'node:fs';
import { expect } from 'chai';
import { must, type Outcome, run, type Served, specimens, useNbd } from './nbd-support.js';
import { qemuCheck, qemuImg } from './support.js';

const MIB = 1 << 20;

async function ask(served: Served, program: string, words: readonly string[]): Promise<Outcome> {
  const { code, stdout, stderr } = await run(
    program,
    words.map((word) => word.replace('URI', served.uri)),
  );
  // What it took is not the same twice.
  const plain = (text: string) =>
    text.replaceAll(served.socket, 'SOCKET').replace(/[\d.]+ (?:sec|ops|[KMG]iB)[^\n]*/g, '...');
  return { code, stdout: plain(stdout), stderr: plain(stderr) };
}

/** What only looks. */
const QUESTIONS: [string, ...string[]][] = [
  ['qemu-img', 'info', 'URI'],
  ['qemu-img', 'info', '--output=json', 'URI'],
  ['qemu-img', 'map', '--output=json', 'URI'],
  ['qemu-img', 'map', 'URI'],
  ['qemu-img', 'check', '-f', 'raw', 'URI'],
  ['qemu-img', 'compare', '-f', 'raw', 'URI', 'URI'],
  ['qemu-img', 'measure', '-O', 'qcow2', 'URI'],
  ['qemu-io', '-r', '-f', 'raw', '-c', 'length', '-c', 'map', '-c', 'info', 'URI'],
  ['qemu-io', '-r', '-f', 'raw', '-c', 'read -P 17 0 128k', '-c', 'read -P 99 0 4k', '-c', 'read -v 1000k 64', 'URI'],
  ['qemu-io', '-r', '-f', 'raw', '-c', 'alloc 0 128k', '-c', 'alloc 3M 64k', '-c', 'read 9M 4k', 'URI'],
  ['qemu-io', '-r', '-f', 'raw', '-c', 'write 0 4k', 'URI'],
];

/** What a guest may do, and what it may not. */
const CHANGES = `
  write -P 71 0 512;  write -P 72 100 7000;  writev -P 73 1M 4k 8k 16k;  write -f -P 74 2M 3M;  write -z 4M 1M
  write -z -u 5M 1M;  write -z -f 6M 100;  discard 1M 64k;  discard 0 8M;  write -P 75 7M 1M;  aio_write -P 76 3M 1M
  aio_flush;  flush;  write -P 77 8191k 2k;  truncate 9M;  read -P 75 7M 512k;  write -n -z 64k 64k;  read 64k 64k
  write -z 1M 1M;  write -P 78 2M 1M;  write -z -u 2M 1M;  write -P 79 4M 1M;  discard 4M 1M`
  .split(/[;\n]/)
  .map((change) => change.trim())
  .filter((change) => change !== '');
/** Blocks that a file system may need more for one file than for the other. */
const SLACK_BYTES = 128 << 10;

describe('qemu-img and qemu-io over NBD', function () {
  this.timeout(120_000);
  const bench = useNbd('qemu-nbd');

  it('say of our exports what they say of those of qemu-nbd', async () => {
    for (const { file, format, name } of await specimens(bench())) {
      const theirs = await bench().qemuNbd(file, format, '-r');
      const ours = await bench().ours(file, format, { open: { readOnly: true } });
      for (const [program, ...words] of QUESTIONS) {
        const answer = await ask(ours, program, words);
        expect(answer, `${name}: ${words.join(' ')}`).to.deep.equal(await ask(theirs, program, words));
      }
    }
  });

  it('change our images as they change those of qemu-nbd', async () => {
    for (const { file, format, name } of (await specimens(bench())).slice(0, 3)) {
      const [mine, their] = ['ours', 'theirs'].map((kind) => bench().path(`${kind}.${format}`));
      for (const copy of [mine, their]) copyFileSync(file, copy);
      const ours = await bench().ours(mine, format);
      const theirs = await bench().qemuNbd(their, format, '--discard=unmap');
      const words = ['-f', 'raw', '-d', 'unmap', ...CHANGES.flatMap((change) => ['-c', change]), 'URI'];
      expect(await ask(ours, 'qemu-io', words), name).to.deep.equal(await ask(theirs, 'qemu-io', words));
      await ours.close();
      await bench().end(theirs);
      qemuImg('compare', '-f', format, '-F', format, mine, their);
      if (format === 'qcow2') expect(qemuCheck(mine).status, name).to.equal(0);
      const [mineBytes, theirBytes] = [mine, their].map((path) => statSync(path).blocks * 512);
      expect(mineBytes, `${name}: space`).to.be.within(theirBytes - SLACK_BYTES, theirBytes + SLACK_BYTES);
    }
  });

  it('convert from and to an export, every format of what is in it', async () => {
    const [raw, qcow2] = await specimens(bench());
    for (const inner of ['raw', 'qcow2']) {
      const file = bench().path('outer.raw');
      qemuImg('create', '-q', '-f', 'raw', file, String(16 * MIB));
      const outer = await bench().ours(file, 'raw');
      if (inner === 'qcow2') await must('qemu-img', ['create', '-q', '-f', 'qcow2', outer.uri, String(8 * MIB)]);
      await must('qemu-img', ['convert', '-n', '-W', '-m', '8', '-f', 'qcow2', '-O', inner, qcow2.file, outer.uri]);
      if (inner === 'qcow2') await must('qemu-img', ['check', '-q', '-f', 'qcow2', outer.uri]);
      const back = bench().path('back.raw');
      await must('qemu-img', ['convert', '-f', inner, '-O', 'raw', outer.uri, back]);
      await outer.close();
      const content = readFileSync(back).subarray(0, 8 * MIB);
      qemuImg('convert', '-f', 'qcow2', '-O', 'raw', qcow2.file, bench().path('expected.raw'));
      expect(content.equals(readFileSync(bench().path('expected.raw'))), inner).to.equal(true);
    }
    const first = await bench().ours(raw.file, 'raw', { open: { readOnly: true } });
    const second = await bench().ours(qcow2.file, 'qcow2', { open: { readOnly: true } });
    const { code, stdout } = await run('qemu-img', ['compare', first.uri, second.uri]);
    expect([code, stdout]).to.deep.equal([1, 'Content mismatch at offset 1048576!\n']);
  });

  it('use an overlay whose backing file is an export', async () => {
    const [, { file }] = await specimens(bench());
    const { uri } = await bench().ours(file, 'qcow2', { open: { readOnly: true } });
    const overlay = bench().path('overlay.qcow2');
    await must('qemu-img', ['create', '-q', '-f', 'qcow2', '-b', uri, '-F', 'raw', overlay]);
    await must('qemu-io', ['-f', 'qcow2', '-c', 'write -P 5 64k 1k', '-c', 'read -P 17 0 64k', overlay]);
    await must('qemu-img', ['rebase', '-f', 'qcow2', '-F', 'qcow2', '-b', file, overlay]);
    await must('qemu-io', ['-f', 'qcow2', '-c', 'read -P 17 0 64k', '-c', 'read -P 5 64k 1k', overlay]);
    expect(qemuCheck(overlay).status).to.equal(0);
  });
});
