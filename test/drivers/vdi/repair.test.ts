// What a repair makes of a VDI image whose map was overwritten: it makes the file no longer than its blocks need, and does not copy one block for each entry.

import { expect } from 'chai';
import { createImage } from '../../../src/block/create.js';
import { openNode } from '../../../src/block/open.js';
import { checkImage, repairImage } from '../../../src/workspace/check.js';
import { type Bench, failureOf, makeBench, readNode, used } from '../support.js';

const MIB = 1 << 20;
const MAP = 512;
const PATH = '/a';
const OPTIONS = { driver: 'vdi', file: { driver: 'file', filename: PATH } } as const;

/** A disk of 64 blocks, of which the first two hold ones and twos; its map is changed then. */
async function damaged(change: (map: Buffer) => void): Promise<Bench> {
  const bench = makeBench();
  await createImage(bench.graph, PATH, { driver: 'vdi', size: 64 * MIB });
  const node = await used(openNode(bench.graph, OPTIONS));
  for (const block of [0, 1]) await node.write(block * MIB, new Uint8Array(MIB).fill(block + 1));
  await bench.graph.closeAll();
  const bytes = Buffer.from(bench.host.readFile(PATH));
  change(bytes.subarray(MAP, MAP + 64 * 4));
  bench.host.writeFile(PATH, bytes);
  return bench;
}

async function firstBytes({ graph }: Bench): Promise<number[]> {
  const node = await openNode(graph, OPTIONS, { readOnly: true });
  const found: number[] = [];
  for (let at = 0; at < 4 * MIB; at += MIB) {
    const sector = new Uint8Array(512);
    await readNode(node, at, sector);
    found.push(sector[0]);
  }
  await graph.closeAll();
  return found;
}

describe('the repair of a VDI image', () => {
  it('makes holes of blocks that begin behind the end of the file', async () => {
    const bench = await damaged((map) => {
      for (let entry = 2; entry < 40; entry++) map.writeUInt32LE(entry + 10, entry * 4);
    });
    const { length } = bench.host.readFile(PATH);
    const { result } = await repairImage(bench.graph, OPTIONS, 'all', {}, () => undefined);
    expect([result.before.corruptions, result.after.corruptions]).to.deep.equal([1, 0]);
    expect(bench.host.readFile(PATH).length).to.equal(length);
    expect(await firstBytes(bench)).to.deep.equal([1, 2, 0, 0]);
  });

  it('makes holes of many entries that point to no block, in little time', async () => {
    const blocks = 1 << 20;
    const bench = makeBench();
    await createImage(bench.graph, PATH, { driver: 'vdi', size: blocks * MIB });
    const node = await used(openNode(bench.graph, OPTIONS));
    await node.write((blocks - 1) * MIB, new Uint8Array(MIB).fill(9));
    await bench.graph.closeAll();
    const bytes = Buffer.from(bench.host.readFile(PATH));
    for (let entry = 0; entry < blocks - 1; entry += 3) bytes.writeUInt32LE(blocks + entry, MAP + entry * 4);
    bench.host.writeFile(PATH, bytes);
    let findings = 0;
    const { result } = await repairImage(bench.graph, OPTIONS, 'all', {}, () => findings++);
    expect([result.before.corruptions, findings]).to.deep.equal([349_525, 349_525]);
    expect(result.after.corruptions).to.equal(0);
    const sector = new Uint8Array(512);
    await readNode(await openNode(bench.graph, OPTIONS, { readOnly: true }), (blocks - 1) * MIB, sector);
    expect(sector[0]).to.equal(9);
    await bench.graph.closeAll();
  });

  it('is refused, and changes nothing, where the file ends before the blocks would begin', async () => {
    const bench = await damaged((map) => map.writeUInt32LE(100, 0));
    const before = Buffer.from(bench.host.readFile(PATH));
    before.writeUInt32LE(0x22a8_8000, 0x158);
    bench.host.writeFile(PATH, before);
    const error = await failureOf(repairImage(bench.graph, OPTIONS, 'all', {}, () => undefined));
    expect([error.code, error.reason.includes('where the file has ended')]).to.deep.equal(['invalid-image', true]);
    expect(Buffer.compare(bench.host.readFile(PATH), before)).to.equal(0);
  });

  it('copies a block that two entries point to', async () => {
    const bench = await damaged((map) => map.writeUInt32LE(1, 3 * 4));
    await repairImage(bench.graph, OPTIONS, 'all', {}, () => undefined);
    expect((await checkImage(bench.graph, OPTIONS, {}, () => undefined)).result.corruptions).to.equal(0);
    expect(await firstBytes(bench)).to.deep.equal([1, 2, 0, 2]);
  });

  it('is refused, and changes nothing, where most entries point to blocks of others', async () => {
    const bench = await damaged((map) => map.fill(0));
    const before = Buffer.from(bench.host.readFile(PATH));
    const error = await failureOf(repairImage(bench.graph, OPTIONS, 'all', {}, () => undefined));
    expect([error.code, error.reason.includes('63 entries of the map')]).to.deep.equal(['limit', true]);
    expect(Buffer.compare(bench.host.readFile(PATH), before)).to.equal(0);
  });
});
