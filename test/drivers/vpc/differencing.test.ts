// Differencing VHD images, which QEMU reads as if they had no parent.

import { expect } from 'chai';
import { describe, it } from 'mocha';
import { openNode } from '../../../src/block/open.js';
import { type Difference, encodeDifference, makeParent, utf16 } from '../../formats/vpc/differencing.js';
import { type Bench, failureOf, makeBench, readNode, used } from '../support.js';

const SIZE = 1 << 20;
const SECTOR = 512;
const IMAGE = '/vms/child.vhd';
const WRITTEN = new Map([
  [0, 1],
  [9, 2],
  [130, 3],
]);

/** A parent full of the byte 0xaa, and a differencing image over it. */
async function bench(own: Partial<Difference> = {}, parent = '/vms/base.vhd'): Promise<Bench> {
  const made = makeBench();
  const { host, graph } = made;
  const parentUuid = await makeParent(host, graph, parent, SIZE);
  const node = await used(openNode(graph, parent));
  await node.write(0, new Uint8Array(SIZE).fill(0xaa));
  await graph.closeAll();
  const locators = [['W2ru', utf16('.\\base.vhd')]] as const;
  const image = encodeDifference({ size: SIZE, blockBytes: 64 << 10, parentUuid, locators, sectors: WRITTEN, ...own });
  host.writeFile(IMAGE, image);
  return made;
}

/** The first byte of each sector. */
async function sectorsOf({ graph }: Bench): Promise<number[]> {
  const node = await openNode(graph, IMAGE, { readOnly: true });
  const content = new Uint8Array(node.length);
  await readNode(node, 0, content);
  await graph.closeAll();
  return Array.from({ length: content.length / SECTOR }, (_, i) => content[i * SECTOR]);
}

const merged = Array.from({ length: SIZE / SECTOR }, (_, i) => WRITTEN.get(i) ?? 0xaa);

describe('vpc: differencing images', () => {
  it('read their own sectors, and those of the parent', async () => {
    expect(await sectorsOf(await bench())).to.deep.equal(merged);
  });

  it('say which sectors are theirs', async () => {
    const { graph } = await bench();
    const node = await openNode(graph, IMAGE, { readOnly: true });
    const found: [number, boolean][] = [];
    for (let at = 0; at < SIZE; ) {
      const { length, allocated } = await node.blockStatus(at, SIZE - at);
      found.push([length / SECTOR, allocated]);
      at += length;
    }
    // Blocks have 128 sectors.
    expect(found).to.deep.equal([
      [1, true],
      [8, false],
      [1, true],
      [118, false],
      [2, false],
      [1, true],
      [125, false],
      [SIZE / SECTOR - 256, false],
    ]);
    await graph.closeAll();
  });

  const places: [string, Partial<Difference>, string?][] = [
    ['by a path of Windows from its folder', { locators: [['W2ru', utf16('..\\vms\\base.vhd')]] }],
    ['by the file name of a path from the root of Windows', { locators: [['W2ku', utf16('C:\\old\\base.vhd')]] }],
    ['by the file name of a path to a server', { locators: [['W2ku', utf16('\\\\server\\share\\base.vhd')]] }],
    ['by a URL', { locators: [['MacX', Buffer.from('file://localhost/far/a%20b.vhd')]] }, '/far/a b.vhd'],
    ["by Xen's URL from its folder", { locators: [['MacX', Buffer.from('file://./base.vhd\0')]] }],
    ['by the name in the header', { locators: [], parentName: 'base.vhd' }],
    [
      'by the relative path before all others',
      {
        locators: [
          ['MacX', Buffer.from('file:///else.vhd')],
          ['W2ku', utf16('C:\\else.vhd')],
          ['W2ru', utf16('base.vhd')],
        ],
        parentName: 'else.vhd',
      },
    ],
    ['by a path that looks like a protocol', { locators: [['W2ru', utf16('nbd:base.vhd')]] }, '/vms/nbd:base.vhd'],
  ];
  for (const [how, own, parent] of places) {
    it(`find their parent ${how}`, async () => {
      expect(await sectorsOf(await bench(own, parent))).to.deep.equal(merged);
    });
  }

  it('are refused over another image than their parent', async () => {
    const { graph } = await bench({ parentUuid: '00'.repeat(16) });
    expect((await failureOf(openNode(graph, IMAGE, { readOnly: true }))).code).to.equal('invalid-image');
    await graph.closeAll();
  });

  it('are refused where they do not say where their parent is, and open where somebody else does', async () => {
    const { graph } = await bench({ locators: [] });
    expect((await failureOf(openNode(graph, IMAGE, { readOnly: true }))).message).to.match(/where its parent is/);
    const node = await openNode(
      graph,
      { driver: 'vpc', file: { driver: 'file', filename: IMAGE }, backing: null },
      { readOnly: true },
    );
    const content = new Uint8Array(2 * SECTOR);
    await readNode(node, 0, content);
    expect([content[0], content[SECTOR]]).to.deep.equal([1, 0]);
    await graph.closeAll();
  });

  it('are not written', async () => {
    const made = await bench();
    const before = Buffer.from(made.host.readFile(IMAGE));
    expect((await failureOf(openNode(made.graph, IMAGE))).code).to.equal('read-only');
    await made.graph.closeAll();
    expect(Buffer.from(made.host.readFile(IMAGE)).equals(before)).to.equal(true);
  });
});
