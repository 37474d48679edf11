// The check of Parallels images beside qemu-img's: its words, its counts, its exit codes, and what its repairs leave.

import { spawnSync } from 'node:child_process';
import { copyFileSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { describe, it } from 'mocha';
import { Field, HEADER_BYTES, IN_USE, withOldMagic } from '../../formats/parallels/images.js';
import { useBench } from '../../interop/support.js';
import { cliBundle } from '../../support/cli.js';
import { requirePeer } from '../../support/peers.js';

const CASES: [string, (image: Buffer) => Buffer][] = [
  ['sound', (image) => image],
  ['sound, with the older magic', withOldMagic],
  ['not closed', (image) => with32(image, Field.inUse, IN_USE)],
  ['with an entry that points out of it', (image) => with32(image, HEADER_BYTES + 8, 9)],
  ['with an entry to where the file ends', (image) => with32(image, HEADER_BYTES + 8, 4)],
  ['with unused space at the end', (image) => Buffer.concat([image, Buffer.alloc(200_000, 1)])],
  ['with a part of a sector at the end', (image) => Buffer.concat([image, Buffer.alloc(100, 1)])],
  ['whose last cluster is cut off', (image) => image.subarray(0, image.length - 65436)],
  ['whose clusters are cut off', (image) => image.subarray(0, 131072 + 512)],
  [
    'with all of them',
    (image) => with32(with32(Buffer.concat([image, Buffer.alloc(70_000)]), Field.inUse, IN_USE), HEADER_BYTES + 8, 99),
  ],
];

function with32(image: Buffer, at: number, value: number): Buffer {
  const bytes = Buffer.from(image);
  bytes.writeUInt32LE(value, at);
  return bytes;
}

describe('parallels: check', function () {
  this.timeout(60_000);
  const bench = useBench('parallels-check');
  let cli: string;
  let image: Buffer;

  before(async function () {
    for (const peer of ['qemu-img', 'qemu-io']) requirePeer(this, peer);
    cli = await cliBundle();
  });

  const run = (program: string, args: readonly string[]) => {
    const { status, stdout, stderr } = spawnSync(program, args, { encoding: 'utf8' });
    return { status, stdout, stderr: stderr.replaceAll(/^(qemu-img|diskwright): /gm, '') };
  };

  beforeEach(() => {
    const path = join(bench.folder, 'made');
    run('qemu-img', ['create', '-q', '-f', 'parallels', '-o', 'cluster_size=64k', path, '1M']);
    const writes = [131072, 655360, 0].flatMap((at) => ['-c', `write -P 1 ${at} 64k`]);
    run('qemu-io', ['-f', 'parallels', ...writes, path]);
    image = readFileSync(path);
  });

  for (const [how, change] of CASES) {
    it(`of an image ${how} says what qemu-img says, and repairs the same`, () => {
      const [ours, theirs] = ['ours', 'theirs'].map((name) => join(bench.folder, name));
      writeFileSync(ours, change(image));
      for (const args of [['check'], ['check', '-r', 'leaks'], ['check', '-r', 'all'], ['check']]) {
        copyFileSync(ours, theirs);
        const words = [...args, '-f', 'parallels'];
        const result = run(process.execPath, [cli, ...words, ours]);
        expect(result, args.join(' ')).to.deep.equal(run('qemu-img', [...words, theirs]));
        const [mine, others] = [ours, theirs].map((file) => readFileSync(file));
        // Of entries that point out of the image QEMU first makes the file so long that they point into it, and it takes the mark away also where it repairs leaks alone.
        const left = /outside/.test(result.stderr) ? others.subarray(0, mine.length) : others;
        if (args.includes('leaks')) for (const bytes of [mine, left]) bytes.fill(0, Field.inUse, Field.inUse + 4);
        expect(mine.equals(left), args.join(' ')).to.equal(true);
      }
    });
  }
});
