// Extents of the kind seSparse, which are only read: what they read as, and what is refused of them.

import { expect } from 'chai';
import { findingText } from '../../../src/block/finding-text.js';
import { openNode } from '../../../src/block/open.js';
import { changeOptions } from '../../../src/block/reopen.js';
import type { BlockErrorCode } from '../../../src/util/errors.js';
import { checkImage } from '../../../src/workspace/check.js';
import { SE_GRAIN, type SeGrain, type SeShape, seDescriptor, seExtent } from '../../formats/vmdk/se-images.js';
import { type Bench, failureOf, makeBench, readNode } from '../support.js';

/** A table and a part of one, and a last grain that is cut. */
const SIZE = 4100 * SE_GRAIN + 512;
const SHAPE: SeShape = { size: SIZE, grains: 5 };
const GRAINS: ReadonlyMap<number, SeGrain> = new Map<number, SeGrain>([
  [0, 3],
  [1, 0],
  [2, 'unmapped'],
  [3, 'zeroes'],
  [4095, 1],
  [4096, 2],
  [4100, 4],
]);

describe('seSparse extents of VMDK', () => {
  let bench: Bench;

  beforeEach(() => {
    bench = makeBench();
    bench.host.writeFile('/disk.vmdk', Buffer.from(seDescriptor([{ size: SIZE, filename: 'e' }])));
  });

  function place(shape: Partial<SeShape>, grains = GRAINS): ReturnType<typeof seExtent> {
    const extent = seExtent({ ...SHAPE, ...shape }, grains);
    bench.host.writeFile('/e', extent.content);
    return extent;
  }

  it('read as their tables say', async () => {
    place({});
    const node = await openNode(bench.graph, '/disk.vmdk', { readOnly: true });
    expect(node.length).to.equal(SIZE);
    const content = Buffer.alloc(SIZE, 0xff);
    await readNode(node, 0, content);
    const expected = Buffer.alloc(SIZE);
    for (const [index, grain] of GRAINS) {
      if (typeof grain === 'number') expected.fill(grain + 1, index * SE_GRAIN, Math.min(SIZE, (index + 1) * SE_GRAIN));
    }
    expect(content.equals(expected)).to.equal(true);
    const hole = await node.blockStatus(5 * SE_GRAIN, 4095 * SE_GRAIN);
    expect([hole.allocated, hole.length]).to.deep.equal([false, 4090 * SE_GRAIN]);
    const unmapped = await node.blockStatus(2 * SE_GRAIN, SE_GRAIN * 10);
    expect([unmapped.allocated, unmapped.zero, unmapped.length]).to.deep.equal([true, true, 2 * SE_GRAIN]);
    await bench.graph.closeAll();
  });

  it('reach a grain whose number needs more than 12 bits, and more than 32', async () => {
    const { content, tables } = place({ grains: 4098 }, new Map([[7, 4097]]));
    const node = await openNode(bench.graph, '/disk.vmdk', { readOnly: true });
    const grain = Buffer.alloc(SE_GRAIN);
    await readNode(node, 7 * SE_GRAIN, grain);
    expect(grain.equals(Buffer.alloc(SE_GRAIN, 4098 & 0xff))).to.equal(true);
    await bench.graph.closeAll();
    content.writeBigUInt64LE((3n << 60n) | 0x8000_0000_0000n, tables + 7 * 8);
    bench.host.writeFile('/e', content);
    const far = await openNode(bench.graph, '/disk.vmdk', { readOnly: true });
    const error = await failureOf(readNode(far, 7 * SE_GRAIN, grain));
    expect([error.code, error.offset]).to.deep.equal(['corrupt-image', tables + 7 * 8]);
    await bench.graph.closeAll();
  });

  it('are not opened to be written', async () => {
    place({});
    expect((await failureOf(openNode(bench.graph, '/disk.vmdk'))).code).to.equal('unsupported');
    const node = await openNode(bench.graph, '/disk.vmdk', { readOnly: true });
    const error = await failureOf(changeOptions(node, new Map([['read-only', false]])));
    expect(error.code).to.equal('unsupported');
    await bench.graph.closeAll();
  });

  const REFUSED: readonly [what: string, shape: Partial<SeShape>, code: BlockErrorCode, reason: RegExp][] = [
    ['a magic number', { fields: new Map([[0, 1n]]) }, 'invalid-image', /Bad const header magic: 0x0000000000000001/],
    ['a version', { fields: new Map([[8, 1n]]) }, 'unsupported', /Unsupported version: 0x0000000000000001/],
    ['a size of grains', { fields: new Map([[24, 16n]]) }, 'unsupported', /Unsupported grain size: 16/],
    ['a size of tables', { fields: new Map([[32, 32n]]) }, 'unsupported', /Unsupported grain table size: 32/],
    ['a flag', { fields: new Map([[40, 1n]]) }, 'unsupported', /Unsupported flags: 0x0000000000000001/],
    ['a reserved field', { fields: new Map([[72, 2n]]) }, 'unsupported', /reserved bits: .* 0x0000000000000002$/],
    ['no volatile header', { fields: new Map([[80, 3n]]) }, 'invalid-image', /Bad volatile header magic/],
    [
      'a volatile header far away',
      { fields: new Map([[80, 2n ** 63n]]) },
      'invalid-image',
      /Bad volatile header magic/,
    ],
    ['a journal', { replay: 1 }, 'unsupported', /Image is dirty/],
    ['a capacity without end', { fields: new Map([[16, 2n ** 62n]]) }, 'unsupported', /capacity/],
    ['a capacity of less', { fields: new Map([[16, 8n]]) }, 'invalid-image', /smaller than its descriptor says/],
    ['a directory in the header', { fields: new Map([[128, 0n]]) }, 'invalid-image', /directory/],
    ['a directory behind the end', { fields: new Map([[128, 2n ** 40n]]) }, 'invalid-image', /directory/],
    ['a directory that is short', { fields: new Map([[136, 0n]]) }, 'invalid-image', /directory/],
  ];
  for (const [what, shape, code, reason] of REFUSED) {
    it(`are refused: ${what}`, async () => {
      place(shape);
      const error = await failureOf(openNode(bench.graph, '/disk.vmdk', { readOnly: true }));
      expect(error.code).to.equal(code);
      expect(error.message).to.match(reason);
    });
  }

  it('are checked: entries that point to nothing are found, and named by their place on the disk', async () => {
    const { content, directory, tables } = place({});
    expect(await found()).to.deep.equal([]);
    content.writeBigUInt64LE((3n << 60n) | (5n << 48n), tables + 8);
    content.writeBigUInt64LE(4n << 60n, tables + 9 * 8);
    content.writeBigUInt64LE((1n << 60n) | 2n, directory + 8);
    bench.host.writeFile('/e', content);
    expect(await found()).to.deep.equal([
      ['vmdk-grain-beyond-end', 8],
      ['vmdk-grain-beyond-end', 72],
      ['vmdk-table-misplaced', 1],
    ]);
  });

  it('of which a disk has several are told apart: grains by their place on the disk, tables by the name of the file', async () => {
    const size = SIZE - (SIZE % SE_GRAIN);
    const extents = ['e', 'f'].map((filename) => ({ size, filename }));
    bench.host.writeFile('/disk.vmdk', Buffer.from(seDescriptor(extents)));
    const { content, directory, tables } = place({ size });
    content.writeBigUInt64LE((3n << 60n) | (5n << 48n), tables + 8);
    content.writeBigUInt64LE((1n << 60n) | 2n, directory + 8);
    bench.host.writeFile('/f', content);
    const texts: string[] = [];
    await checkImage(bench.graph, '/disk.vmdk', {}, (finding) => texts.push(findingText(finding)));
    expect(texts).to.deep.equal([
      `ERROR: cluster offset for sector ${size / 512 + 8} points after EOF`,
      "ERROR: grain table 1 of the extent '/f' lies outside of the file, or over other metadata",
    ]);
    await bench.graph.closeAll();
  });

  async function found(): Promise<unknown[]> {
    const findings: unknown[] = [];
    await checkImage(bench.graph, { driver: 'vmdk', file: { driver: 'file', filename: '/disk.vmdk' } }, {}, (finding) =>
      findings.push([finding.kind, finding.index]),
    );
    return findings;
  }
});
