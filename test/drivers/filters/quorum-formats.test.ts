// quorum over each format that is written: a child that has other content is outvoted, and repaired; blkverify then finds both the same. And raw shows a part of each.

import { expect } from 'chai';
import { createImage } from '../../../src/block/create.js';
import { openNode } from '../../../src/block/open.js';
import { knownDriver } from '../../../src/block/registry.js';
import { Random } from '../../../src/host/sim/index.js';
import type { BlockdevDriver, BlockdevOptions } from '../../../src/schema/generated/types.js';
import { FORMATS } from '../../formats/index.js';
import { type Bench, makeBench, used } from '../support.js';

/** vpc has it, too: 480 cylinders of 16 heads and 17 sectors. */
const SIZE = 480 * 16 * 17 * 512;

describe('quorum over formats', () => {
  let bench: Bench;
  beforeEach(() => {
    bench = makeBench();
  });

  const optionsOf = (format: string): BlockdevOptions =>
    ({ driver: format, file: { driver: 'file', filename: `/${format}` } }) as BlockdevOptions;

  async function make(formats: readonly string[]): Promise<void> {
    for (const format of formats) {
      await createImage(bench.graph, `/${format}`, { driver: format as BlockdevDriver, size: SIZE } as never);
    }
  }

  async function contentOf(options: BlockdevOptions, length = SIZE): Promise<Buffer> {
    const node = await used(openNode(bench.graph, options));
    expect(node.length).to.equal(length);
    const content = Buffer.alloc(length);
    await node.read(0, content);
    await bench.graph.closeAll();
    return content;
  }

  makeBench();
  for (const { name, conformance } of FORMATS) {
    if (conformance.length === 0 || name === 'raw' || name === 'qcow2') continue;
    if (knownDriver(name)?.createOptions === undefined) continue;

    it(`${name}: is outvoted where it differs, and repaired`, async () => {
      const random = new Random(1, name.length);
      const children = ['raw', name, 'qcow2'];
      await make(children);
      const quorum: BlockdevOptions = {
        driver: 'quorum',
        'vote-threshold': 2,
        'rewrite-corrupted': true,
        children: children.map(optionsOf),
      };
      const expected = Buffer.alloc(SIZE);
      const written = await used(openNode(bench.graph, quorum));
      for (let i = 0; i < 20; i++) {
        const from = random.below(SIZE - 70_000);
        const data = Buffer.alloc(random.between(1, 70_000), random.between(1, 255));
        expected.set(data, from);
        await written.write(from, data);
      }
      await bench.graph.closeAll();
      const alone = await used(openNode(bench.graph, optionsOf(name)));
      for (let i = 0; i < 10; i++) await alone.write(random.below(SIZE - 9000), Buffer.alloc(9000, 0xee));
      await bench.graph.closeAll();
      expect((await contentOf(optionsOf(name))).equals(expected), 'it differs').to.equal(false);
      expect((await contentOf(quorum)).equals(expected), 'it is outvoted').to.equal(true);
      const verify: BlockdevOptions = { driver: 'blkverify', test: optionsOf(name), raw: optionsOf('raw') };
      expect((await contentOf(verify)).equals(expected), 'it is repaired').to.equal(true);
    });

    it(`${name}: raw shows a part of it`, async () => {
      await make([name]);
      const part: BlockdevOptions = { driver: 'raw', offset: 1536, size: 100_864, file: optionsOf(name) };
      const node = await used(openNode(bench.graph, part));
      await node.write(1000, Buffer.alloc(50_000, 0x21));
      await bench.graph.closeAll();
      const expected = Buffer.alloc(100_864).fill(0x21, 1000, 51_000);
      expect((await contentOf(part, 100_864)).equals(expected)).to.equal(true);
      const whole = Buffer.alloc(SIZE).fill(0x21, 2536, 52_536);
      expect((await contentOf(optionsOf(name))).equals(whole)).to.equal(true);
    });
  }
});
