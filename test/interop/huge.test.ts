// Images above 4 GiB, 2 TiB and 8 TiB (sparse): written and read at both ends, by us and by qemu-io, whoever made them.

import { execFileSync } from 'node:child_process';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { Graph } from '../../src/block/graph.js';
import { openNode } from '../../src/block/open.js';
import { used } from '../drivers/support.js';
import { requirePeer } from '../support/peers.js';
import { qemuCheck, qemuImg, useBench } from './support.js';

const GIB = 2 ** 30;
const TIB = 2 ** 40;
const SIZES: [string, number][] = [
  ['4 GiB', 4 * GIB + 1536],
  ['2 TiB', 2 * TIB + 65536 + 512],
  ['8 TiB', 8 * TIB + 512],
];
const LENGTH = 70_144;

describe('huge images', function () {
  this.timeout(120_000);
  const bench = useBench('huge');

  before(function () {
    requirePeer(this, 'qemu-img');
    requirePeer(this, 'qemu-io');
  });

  for (const format of ['raw', 'qcow2']) {
    for (const [name, size] of SIZES) {
      it(`${format} above ${name}`, async () => {
        const path = join(bench.folder, `huge.${format}`);
        qemuImg('create', '-q', '-f', format, path, String(size));
        // Begin, end, and right across the limit that the name says.
        const limit = size - (size % GIB);
        const places: [number, number][] = [
          [0, 0x11],
          [Math.min(limit - 35_072, size - 2 * LENGTH), 0x22],
          [size - LENGTH, 0x33],
        ];
        const io = (...commands: string[]) =>
          execFileSync('qemu-io', ['-f', format, ...commands.flatMap((one) => ['-c', one]), path], {
            encoding: 'utf8',
          });

        io(`write -q -P 0x77 ${GIB} 4096`);
        const graph = new Graph(bench.host);
        const node = await used(openNode(graph, path, { format }));
        expect(node.length).to.equal(size);
        for (const [offset, pattern] of places) await node.write(offset, Buffer.alloc(LENGTH, pattern));
        await node.flush();
        for (const [offset, pattern] of places) {
          const found = Buffer.alloc(LENGTH);
          await node.read(offset, found);
          expect(found.equals(Buffer.alloc(LENGTH, pattern)), `at ${offset}`).to.equal(true);
        }
        const theirs = Buffer.alloc(4096);
        await node.read(GIB, theirs);
        expect(theirs.equals(Buffer.alloc(4096, 0x77))).to.equal(true);
        await graph.closeAll();

        const text = io(
          ...places.map(([offset, pattern]) => `read -P ${pattern} ${offset} ${LENGTH}`),
          `read -P 0x77 ${GIB} 4096`,
        );
        expect(text).not.to.match(/failed|mismatch/i);
        if (format === 'qcow2') expect(qemuCheck(path)).to.include({ status: 0 });
        rmSync(path);
      });
    }
  }
});
