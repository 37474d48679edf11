// nbdcopy from and to our server, alone and with qemu-nbd on the other side: the bytes, the holes and what is written are the same.

import { readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { expect } from 'chai';
import { must, type NbdBench, type Specimen, specimens, useNbd } from './nbd-support.js';
import { qemuCheck, qemuImg } from './support.js';

const MIB = 1 << 20;
const SIZE = 8 * MIB;

function contentOf(bench: NbdBench, { file, format }: Specimen): Buffer {
  const raw = bench.path('content.raw');
  qemuImg('convert', '-f', format, '-O', 'raw', file, raw);
  return readFileSync(raw);
}

describe('nbdcopy', function () {
  this.timeout(120_000);
  const bench = useNbd('nbdcopy', 'qemu-nbd');
  const shapes = [
    [],
    ['--connections=4', '--threads=2', '--requests=64'],
    ['--request-size=4096'],
    ['--request-size=8388608', '--synchronous'],
    ['--no-extents'],
  ];

  it('reads every image as it is, with one connection and several', async () => {
    for (const specimen of await specimens(bench())) {
      const content = contentOf(bench(), specimen);
      const ours = await bench().ours(specimen.file, specimen.format, { open: { readOnly: true } });
      for (const words of shapes) {
        const copy = bench().path('copy.raw');
        writeFileSync(copy, '');
        await must('nbdcopy', [...words, ours.uri, copy]);
        expect(readFileSync(copy).equals(content), `${specimen.name} ${words.join(' ')}`).to.equal(true);
      }
    }
  });

  it('leaves out what is a hole, as with qemu-nbd', async () => {
    for (const { file, format, name } of await specimens(bench())) {
      const maps: string[] = [];
      for (const kind of ['ours', 'theirs'] as const) {
        const { uri } =
          kind === 'ours'
            ? await bench().ours(file, format, { open: { readOnly: true } })
            : await bench().qemuNbd(file, format, '-r');
        const copy = bench().path(`${kind}.raw`);
        writeFileSync(copy, '');
        await must('nbdcopy', [uri, copy]);
        maps.push(dataOf(copy, 'raw'));
      }
      expect(maps[0], name).to.equal(maps[1]).and.to.contain('false');
    }
  });

  it('fills an image as with qemu-nbd: content, map and check', async () => {
    const [source] = await specimens(bench());
    const content = contentOf(bench(), source);
    for (const format of ['raw', 'qcow2']) {
      for (const words of [...shapes, ['--destination-is-zero'], ['--allocated'], ['--flush'], ['--sparse=0']]) {
        const maps: string[] = [];
        for (const kind of ['ours', 'theirs'] as const) {
          const file = bench().path(`${kind}.${format}`);
          qemuImg('create', '-q', '-f', format, file, String(SIZE));
          if (kind === 'ours') {
            const server = await bench().ours(file, format);
            await must('nbdcopy', [...words, source.file, server.uri]);
            await server.close();
          } else {
            const server = await bench().qemuNbd(file, format, '--discard=unmap');
            await must('nbdcopy', [...words, source.file, server.uri]);
            await bench().end(server);
          }
          const found = contentOf(bench(), { name: kind, file, format: format as 'raw' });
          expect(found.equals(content), `${kind} ${format} ${words.join(' ')}`).to.equal(true);
          if (format === 'qcow2') expect(qemuCheck(file).status, words.join(' ')).to.equal(0);
          maps.push(dataOf(file, format));
        }
        expect(maps[0], `${format} ${words.join(' ')}`).to.equal(maps[1]);
      }
    }
  });

  it('copies between us and qemu-nbd, both ways', async () => {
    const [, source] = await specimens(bench());
    const content = contentOf(bench(), source);
    const names = ['there.raw', 'back.raw'].map((name) => bench().path(name));
    for (const name of names) {
      writeFileSync(name, '');
      truncateSync(name, SIZE);
    }
    const theirs = await bench().qemuNbd(names[0], 'raw');
    await must('nbdcopy', [(await bench().ours(source.file, source.format)).uri, theirs.uri]);
    const back = await bench().ours(names[1], 'raw');
    await must('nbdcopy', ['--connections=3', theirs.uri, back.uri]);
    await back.close();
    for (const name of names) expect(readFileSync(name).equals(content)).to.equal(true);
  });
});

/**
 * Where an image says that it holds data, and where not; without where in the file, and by what kind of zero: whether the rest of a
 * cluster that was half written is a hole of the file system depends on what that has done with it so far.
 */
function dataOf(file: string, format: string): string {
  const runs: { end: number; data: boolean }[] = [];
  for (const { start, length, data } of JSON.parse(qemuImg('map', '--output=json', '-f', format, file))) {
    const last = runs.at(-1);
    if (last !== undefined && last.data === data) last.end = start + length;
    else runs.push({ end: start + length, data });
  }
  return JSON.stringify(runs);
}
