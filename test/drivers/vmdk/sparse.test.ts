// Sparse extents of VMDK that we do not make ourselves: without tables, of ESX, compressed; and the repair of what a loss of power leaves.

import { deflateSync } from 'node:zlib';
import { expect } from 'chai';
import { createImage } from '../../../src/block/create.js';
import { openNode } from '../../../src/block/open.js';
import { checkImage, repairImage } from '../../../src/workspace/check.js';
import { type Bench, failureOf, makeBench, readNode, used } from '../support.js';

const GRAIN = 65536;
const SIZE = 600 * GRAIN;
const SECTOR = 512;
/** As `layoutOf` has it for an image of this size: two tables. */
const COPIES = 21 * SECTOR;
const TABLES = COPIES + SECTOR + 2 * 2048;

function patch(bench: Bench, path: string, change: (view: DataView) => void): void {
  const bytes = Buffer.from(bench.host.readFile(path));
  change(new DataView(bytes.buffer, bytes.byteOffset, bytes.length));
  bench.host.writeFile(path, bytes);
}

async function byteAt(bench: Bench, path: string, offset: number): Promise<number> {
  const byte = new Uint8Array(1);
  await readNode(await openNode(bench.graph, path, { format: 'vmdk', readOnly: true }), offset, byte);
  await bench.graph.closeAll();
  return byte[0];
}

async function faults(bench: Bench): Promise<string[]> {
  const kinds: string[] = [];
  await checkImage(bench.graph, '/a', { format: 'vmdk' }, ({ kind }) => kinds.push(kind));
  await bench.graph.closeAll();
  return kinds;
}

describe('sparse extents of VMDK', () => {
  let bench: Bench;

  beforeEach(async () => {
    bench = makeBench();
    await createImage(bench.graph, '/a', { driver: 'vmdk', size: SIZE });
  });

  async function write(offset: number, byte: number): Promise<void> {
    const node = await used(openNode(bench.graph, '/a', { format: 'vmdk' }));
    await node.write(offset, Buffer.alloc(512, byte));
    await bench.graph.closeAll();
  }

  it('do not lie on the descriptor, where a guest would write the names of files', async () => {
    await write(0, 3);
    const [copies, tables] = [COPIES, TABLES].map((directory) => {
      const view = new DataView(Uint8Array.from(bench.host.readFile('/a')).buffer);
      return view.getUint32(directory, true) * SECTOR;
    });
    patch(bench, '/a', (view) => {
      for (const table of [copies, tables]) view.setUint32(table, 1, true);
    });
    const node = await used(openNode(bench.graph, '/a', { format: 'vmdk' }));
    for (const request of [node.write(0, Buffer.alloc(512, 9)), readNode(node, 0, Buffer.alloc(512))]) {
      expect((await failureOf(request)).code).to.equal('corrupt-image');
    }
    await bench.graph.closeAll();
    expect(Buffer.from(bench.host.readFile('/a', 512, 21)).toString()).to.equal('# Disk DescriptorFile');
  });

  it('get a table, and its copy, where there is none', async () => {
    patch(bench, '/a', (view) => {
      for (const directory of [COPIES, TABLES]) view.setUint32(directory + 4, 0, true);
    });
    await write(550 * GRAIN, 4);
    expect(await byteAt(bench, '/a', 550 * GRAIN)).to.equal(4);
    expect(await faults(bench)).to.deep.equal([]);
    const view = new DataView(Uint8Array.from(bench.host.readFile('/a')).buffer);
    const [copy, table] = [COPIES, TABLES].map((directory) => view.getUint32(directory + 4, true) * SECTOR);
    expect([copy > 0, table > 0, copy !== table]).to.deep.equal([true, true, true]);
    expect(view.getUint32(table + 38 * 4, true)).to.equal(view.getUint32(copy + 38 * 4, true));
  });

  it('have each entry in the copy, too', async () => {
    await write(3 * GRAIN, 4);
    const view = new DataView(Uint8Array.from(bench.host.readFile('/a')).buffer);
    const at = SECTOR + 3 * 4;
    expect(view.getUint32(TABLES + at, true)).to.be.above(0);
    expect(view.getUint32(COPIES + at, true)).to.equal(view.getUint32(TABLES + at, true));
  });

  it('that differ from their copy are found, and get what either has', async () => {
    await write(3 * GRAIN, 4);
    await write(GRAIN, 5);
    patch(bench, '/a', (view) => {
      view.setUint32(TABLES + SECTOR + 3 * 4, 0, true);
      view.setUint32(COPIES + SECTOR + 4, 0, true);
    });
    expect(await faults(bench)).to.deep.equal(['vmdk-tables-differ']);
    await repairImage(bench.graph, '/a', 'all', { format: 'vmdk' }, () => undefined);
    await bench.graph.closeAll();
    expect(await faults(bench)).to.deep.equal([]);
    expect([await byteAt(bench, '/a', 3 * GRAIN), await byteAt(bench, '/a', GRAIN)]).to.deep.equal([4, 5]);
  });

  it('with a grain beyond the end of the file say so, and get it back from the copy', async () => {
    await write(3 * GRAIN, 4);
    patch(bench, '/a', (view) => view.setUint32(TABLES + SECTOR + 3 * 4, 0xfffff, true));
    const node = await used(openNode(bench.graph, '/a', { format: 'vmdk', readOnly: true }));
    expect((await failureOf(node.read(3 * GRAIN, new Uint8Array(1)))).code).to.equal('corrupt-image');
    await bench.graph.closeAll();
    expect(await faults(bench)).to.deep.equal(['vmdk-grain-beyond-end', 'vmdk-tables-differ']);
    await repairImage(bench.graph, '/a', 'all', { format: 'vmdk' }, () => undefined);
    await bench.graph.closeAll();
    expect(await byteAt(bench, '/a', 3 * GRAIN)).to.equal(4);
  });

  it('of a version that is only read are refused to a writer', async () => {
    patch(bench, '/a', (view) => view.setUint32(4, 3, true));
    const error = await failureOf(openNode(bench.graph, '/a', { format: 'vmdk' }));
    expect([error.code, error.reason]).to.deep.equal(['unsupported', 'VMDK version 3 must be read only']);
    expect(await byteAt(bench, '/a', 0)).to.equal(0);
  });

  it('of ESX are read, and refused to a writer', async () => {
    const file = Buffer.alloc(8 * GRAIN);
    file.write('COWD', 'latin1');
    // Version, flags, sectors, grain, directory, its entries.
    for (const [i, value] of [1, 3, 256, 128, 4, 1].entries()) file.writeUInt32LE(value, 4 + 4 * i);
    file.writeUInt32LE(8, 4 * SECTOR);
    file.writeUInt32LE(256, 8 * SECTOR + 4);
    file.fill(7, 256 * SECTOR, 256 * SECTOR + GRAIN);
    bench.host.writeFile('/s', file);
    const text = 'version=1\nCID=1\nparentCID=ffffffff\ncreateType="vmfsSparse"\nRW 256 VMFSSPARSE "s"\n';
    bench.host.writeFile('/d', Buffer.from(text));
    expect([await byteAt(bench, '/d', 0), await byteAt(bench, '/d', GRAIN)]).to.deep.equal([0, 7]);
    const error = await failureOf(openNode(bench.graph, '/d', { format: 'vmdk' }));
    expect([error.code, error.reason]).to.deep.equal(['unsupported', 'A sparse VMDK extent of ESX is only read']);
  });

  /** Three grains, the last of which is short; the tables are behind them, as the footer says. */
  function compressed(damage: (file: Buffer) => void = () => undefined): void {
    const head = Buffer.from(bench.host.readFile('/a', 0, 21 * SECTOR));
    head.writeUInt32LE(3, 4);
    head.writeUInt32LE(0x30001, 8);
    head.writeUInt16LE(1, 77);
    head.writeBigUInt64LE(257n, 12);
    const pieces = [head];
    let end = head.length;
    const table = Buffer.alloc(2048);
    const add = (bytes: Buffer): number => {
      const at = end;
      const padded = Buffer.alloc(Math.ceil(bytes.length / SECTOR) * SECTOR);
      bytes.copy(padded);
      pieces.push(padded);
      end += padded.length;
      return at / SECTOR;
    };
    for (const [i, length] of [GRAIN, 0, 512].entries()) {
      if (length === 0) continue;
      const data = deflateSync(Buffer.alloc(length, i + 1));
      const marker = Buffer.alloc(12);
      marker.writeBigUInt64LE(BigInt(i * 128), 0);
      marker.writeUInt32LE(data.length, 8);
      table.writeUInt32LE(add(Buffer.concat([marker, data])), 4 * i);
    }
    const directory = Buffer.alloc(SECTOR);
    directory.writeUInt32LE(add(table));
    const footer = Buffer.from(head.subarray(0, SECTOR));
    footer.writeBigUInt64LE(BigInt(add(directory)), 56);
    head.writeBigUInt64LE(0xffff_ffff_ffff_ffffn, 56);
    const marker = Buffer.alloc(SECTOR);
    marker.writeUInt32LE(1, 0);
    marker.writeUInt32LE(3, 12);
    for (const sector of [marker, footer, Buffer.alloc(SECTOR)]) add(sector);
    const file = Buffer.concat(pieces);
    damage(file);
    bench.host.writeFile('/c', file);
  }

  it('with compressed grains are read by their footer, and refused to a writer', async () => {
    compressed();
    const bytes = [0, GRAIN, 2 * GRAIN, 2 * GRAIN + 511].map((offset) => byteAt(bench, '/c', offset));
    const found: number[] = [];
    for (const byte of bytes) found.push(await byte);
    expect(found).to.deep.equal([1, 0, 3, 3]);
    const error = await failureOf(openNode(bench.graph, '/c', { format: 'vmdk' }));
    expect([error.code, error.reason]).to.deep.equal([
      'unsupported',
      'A stream-optimised VMDK image with a footer is only read',
    ]);
  });

  it('with a compressed grain that has lost its length, or its data, say so', async () => {
    for (const [at, value] of [
      [21 * SECTOR + 8, 0x7fff_ffff],
      [21 * SECTOR + 8, 1],
      [21 * SECTOR + 12, 0],
    ]) {
      compressed((file) => file.writeUInt32LE(value, at));
      const node = await used(openNode(bench.graph, '/c', { format: 'vmdk', readOnly: true }));
      expect((await failureOf(node.read(0, new Uint8Array(512)))).code).to.be.oneOf(['corrupt-image', 'invalid-image']);
      await bench.graph.closeAll();
    }
  });

  it('whose footer is none are refused', async () => {
    compressed((file) => file.fill(9, file.length - SECTOR));
    const error = await failureOf(openNode(bench.graph, '/c', { format: 'vmdk', readOnly: true }));
    expect([error.code, error.reason]).to.deep.equal(['invalid-image', 'Invalid footer']);
  });
});
