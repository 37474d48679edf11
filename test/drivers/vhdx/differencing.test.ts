// Differencing VHDX images, which QEMU refuses.

import { expect } from 'chai';
import { describe, it } from 'mocha';
import { openNode } from '../../../src/block/open.js';
import { checkImage } from '../../../src/workspace/check.js';
import { type Difference, encodeDifference, LOCATOR, linkageOf, makeParent } from '../../formats/vhdx/differencing.js';
import { MIB, withLog } from '../../formats/vhdx/images.js';
import { type Bench, failureOf, makeBench, readNode } from '../support.js';

const SIZE = 6 * MIB;
const IMAGE = '/vms/child.vhdx';
const BASE = '/vms/base.vhdx';
const TABLE = 2 * MIB;
const SECTORS = new Map([
  [0, 1],
  [9, 2],
  [15, 3],
  [2047, 4],
]);
const BLOCKS: Difference['blocks'] = new Map([
  [1, { state: 2 }],
  [2, { byte: 0x77 }],
  [3, { sectors: SECTORS }],
  [5, { state: 3 }],
]);

async function bench(
  own: Partial<Difference> = {},
  { texts = {}, base = BASE, sizeOfBase = SIZE } = {},
): Promise<Bench> {
  const made = makeBench();
  const parent_linkage = await makeParent(made, base, sizeOfBase);
  const given = { parent_linkage, relative_path: '.\\base.vhdx', ...texts };
  made.host.writeFile(IMAGE, encodeDifference({ size: SIZE, texts: given, blocks: BLOCKS, ...own }));
  return made;
}

async function contentOf({ graph }: Bench, at = 0, length?: number): Promise<Buffer> {
  const node = await openNode(graph, IMAGE, { readOnly: true });
  const content = Buffer.alloc(length ?? node.length);
  await readNode(node, at, content);
  await graph.closeAll();
  return content;
}

function merged(parent = Buffer.alloc(SIZE, 0xaa), sectorBytes = 512): Buffer {
  const content = Buffer.from(parent);
  content
    .fill(0, MIB, 2 * MIB)
    .fill(0x77, 2 * MIB, 3 * MIB)
    .fill(0, 5 * MIB);
  for (const [sector, byte] of SECTORS) {
    const at = 3 * MIB + sector * sectorBytes;
    if (at < 4 * MIB) content.fill(byte, at, at + sectorBytes);
  }
  return content;
}

const refusal = async ({ graph }: Bench, readOnly = true): Promise<readonly [string, string]> => {
  const { code, message } = await failureOf(openNode(graph, IMAGE, { readOnly }));
  await graph.closeAll();
  return [code, message];
};

describe('vhdx: differencing images', () => {
  it('read their own sectors, and those of the parent', async () => {
    expect((await contentOf(await bench())).equals(merged())).to.equal(true);
  });

  it('read single sectors, and parts of them', async () => {
    const made = await bench();
    for (const [at, length] of [
      [3 * MIB + 511, 2],
      [3 * MIB + 8 * 512 + 100, 1000],
      [4 * MIB - 513, 600],
      [MIB - 7, MIB + 20],
    ]) {
      const found = await contentOf(made, at, length);
      expect(found.equals(merged().subarray(at, at + length)), `${at}`).to.equal(true);
    }
  });

  it('say which sectors are theirs', async () => {
    const { graph } = await bench();
    const node = await openNode(graph, IMAGE, { readOnly: true });
    const found: [number, string][] = [];
    for (let at = 0; at < SIZE; ) {
      const { length, allocated, data, zero } = await node.blockStatus(at, SIZE - at);
      const kind = allocated ? (data ? 'data' : 'zero') : zero ? 'none' : 'parent';
      found.push([length / 512, kind]);
      at += length;
    }
    expect(found).to.deep.equal([
      [2048, 'parent'],
      [2048, 'zero'],
      [2048, 'data'],
      [1, 'data'],
      [8, 'parent'],
      [1, 'data'],
      [5, 'parent'],
      [1, 'data'],
      [2031, 'parent'],
      [1, 'data'],
      [2048, 'parent'],
      [2048, 'zero'],
    ]);
    await graph.closeAll();
  });

  it('with sectors of 4096 bytes have a bit for each of these', async () => {
    const sectors = new Map([...SECTORS].filter(([sector]) => sector < 256));
    const blocks = new Map([...BLOCKS, [3, { sectors }]]) as Difference['blocks'];
    const content = await contentOf(await bench({ sectorBytes: 4096, blocks }));
    expect(content.equals(merged(undefined, 4096))).to.equal(true);
  });

  it('have their bits in the block of the bitmap that is for the part of the disk', async () => {
    // A block of the bitmap describes 4096 blocks of 1 MiB.
    const size = 4100 * MIB;
    const blocks: Difference['blocks'] = new Map([
      [0, { sectors: new Map([[5, 5]]) }],
      [4095, { sectors: new Map([[6, 6]]) }],
      [4096, { sectors: new Map([[7, 7]]) }],
      [4099, { byte: 8 }],
    ]);
    const made = await bench({ size, blocks });
    for (const [block, sector, byte] of [
      [0, 5, 5],
      [4095, 6, 6],
      [4096, 7, 7],
      [4099, 9, 8],
    ]) {
      const content = await contentOf(made, block * MIB + (sector - 1) * 512, 1024);
      expect([content[512], content[1023]]).to.deep.equal([byte, byte]);
      expect(content[0], `${block}`).to.equal(block === 4099 ? 8 : block === 0 ? 0xaa : 0);
    }
  });

  it('read zeroes behind the end of a shorter parent', async () => {
    const made = await bench({}, { sizeOfBase: MIB / 2 });
    const parent = Buffer.concat([Buffer.alloc(MIB / 2, 0xaa)], SIZE);
    expect((await contentOf(made)).equals(merged(parent))).to.equal(true);
  });

  it('lie over one another', async () => {
    const made = await bench();
    const { host, graph } = made;
    host.writeFile('/vms/middle.vhdx', host.readFile(IMAGE));
    const texts = { parent_linkage: linkageOf(host.readFile(IMAGE)), relative_path: 'middle.vhdx' };
    host.writeFile(IMAGE, encodeDifference({ size: SIZE, texts, blocks: new Map([[0, { byte: 9 }]]) }));
    const expected = merged().fill(9, 0, MIB);
    expect((await contentOf({ ...made, graph })).equals(expected)).to.equal(true);
  });

  it('are read through their log', async () => {
    const made = await bench();
    const image = Buffer.from(made.host.readFile(IMAGE));
    const table = Buffer.from(image.subarray(TABLE, TABLE + 4096));
    // What the log says of block 1: the parent's.
    table.writeBigUInt64LE(0n, 8);
    made.host.writeFile(IMAGE, withLog(image, TABLE, table));
    expect((await contentOf(made)).equals(merged().fill(0xaa, MIB, 2 * MIB))).to.equal(true);
    const kinds: string[] = [];
    await checkImage(made.graph, IMAGE, { format: 'vhdx' }, ({ kind }) => kinds.push(kind));
    expect(kinds).to.deep.equal(['vhdx-log']);
  });

  const places: [string, Record<string, string>, string?][] = [
    ['by a path from its folder', { relative_path: '..\\vms\\base.vhdx' }],
    [
      'by the file name of a path to a volume',
      { relative_path: '', volume_path: '\\\\?\\Volume{26A2}\\old\\base.vhdx' },
    ],
    [
      'by the file name of a path from a drive',
      { relative_path: '', absolute_win32_path: '\\\\?\\d:\\old\\base.vhdx' },
    ],
    ['by the relative path before all others', { absolute_win32_path: 'd:\\else.vhdx', volume_path: '\\\\?\\v\\else' }],
    ['that looks like a protocol', { relative_path: 'nbd:base.vhdx' }, '/vms/nbd:base.vhdx'],
    ['by the second of its GUIDs', { parent_linkage: `{${'0'.repeat(8)}-0000-0000-0000-${'0'.repeat(12)}}` }],
  ];
  for (const [how, texts, base] of places) {
    it(`find their parent ${how}`, async () => {
      const made = makeBench();
      const linkage = await makeParent(made, base ?? BASE, SIZE);
      const given = { parent_linkage: linkage, parent_linkage2: linkage.toUpperCase(), relative_path: '.\\base.vhdx' };
      made.host.writeFile(IMAGE, encodeDifference({ size: SIZE, texts: { ...given, ...texts }, blocks: BLOCKS }));
      expect((await contentOf(made)).equals(merged())).to.equal(true);
    });
  }

  it('are refused over a parent whose content has changed', async () => {
    const made = await bench();
    const node = await openNode(made.graph, BASE, { format: 'vhdx' });
    await node.write(0, new Uint8Array(512));
    await made.graph.closeAll();
    const [code, message] = await refusal(made);
    expect(code).to.equal('invalid-image');
    expect(message).to.match(/The content of the parent has the GUID/);
  });

  const damages: [string, Partial<Difference>, string, RegExp][] = [
    ['that do not say what their parent is', { texts: null }, 'invalid-image', /does not say what its parent is/],
    ['that do not say where it is', {}, 'invalid-image', /does not say where its parent is/],
    ['without a GUID of it', { texts: { relative_path: 'base.vhdx' } }, 'invalid-image', /no GUID of the parent/],
    [
      'over something else than a VHDX image',
      { kind: '11111111-2222-3333-4444-555555555555' },
      'unsupported',
      /of a kind that is not known: 11111111/,
    ],
  ];
  for (const [what, own, code, message] of damages) {
    it(`${what} are refused`, async () => {
      const found = await refusal(await bench(own, { texts: { relative_path: '' } }));
      expect(found[0]).to.equal(code);
      expect(found[1]).to.match(message);
    });
  }

  it('make no text of what nobody looks for, however often the image names it', async () => {
    const others = Object.fromEntries(Array.from({ length: 100 }, (_, index) => [`k${index}`, '']));
    const made = await bench({}, { texts: others });
    const image = Buffer.from(made.host.readFile(IMAGE));
    for (let index = 2; index < 102; index++) {
      const at = LOCATOR + 20 + 12 * index;
      image.writeUInt32LE(0, at + 4);
      image.writeUInt16LE(4000, at + 10);
      // Every second one has a long key, too.
      if (index % 2 === 0) image.writeUInt32LE(0, at);
      if (index % 2 === 0) image.writeUInt16LE(4000, at + 8);
    }
    made.host.writeFile(IMAGE, image);
    let decoded = 0;
    const original = Buffer.prototype.toString;
    Buffer.prototype.toString = function (this: Buffer, encoding?: BufferEncoding, start = 0, end = this.length) {
      if (encoding === 'utf16le') decoded += end - start;
      return original.call(this, encoding, start, end);
    };
    try {
      await openNode(made.graph, IMAGE, { readOnly: true });
    } finally {
      Buffer.prototype.toString = original;
    }
    await made.graph.closeAll();
    expect(decoded).to.be.within(1, 2000);
  });

  it('open where somebody else says what lies below', async () => {
    const { graph } = await bench({}, { texts: { relative_path: '' } });
    const options = { driver: 'vhdx', file: { driver: 'file', filename: IMAGE }, backing: null } as const;
    const node = await openNode(graph, options, { readOnly: true });
    const content = Buffer.alloc(SIZE);
    await readNode(node, 0, content);
    expect(content.equals(merged(Buffer.alloc(SIZE)))).to.equal(true);
    await graph.closeAll();
  });

  it('are not written', async () => {
    const made = await bench();
    const before = Buffer.from(made.host.readFile(IMAGE));
    const [code, message] = await refusal(made, false);
    expect(code).to.equal('read-only');
    expect(message).to.match(/A differencing VHDX image can only be read/);
    expect(Buffer.from(made.host.readFile(IMAGE)).equals(before)).to.equal(true);
  });

  it('without their bits are an error where these are needed, and found by a check', async () => {
    const made = await bench();
    const image = Buffer.from(made.host.readFile(IMAGE));
    const sound: string[] = [];
    await checkImage(made.graph, IMAGE, { format: 'vhdx' }, ({ kind }) => sound.push(kind));
    expect(sound).to.deep.equal([]);
    for (const entry of [
      0n,
      6n,
      BigInt(100 * MIB + 6),
      BigInt(2 * MIB + 6),
      BigInt(4 * MIB + 6),
      BigInt(6 * MIB + 5),
    ]) {
      image.writeBigUInt64LE(entry, TABLE + 8 * 4096);
      made.host.writeFile(IMAGE, image);
      const kinds: string[] = [];
      await checkImage(made.graph, IMAGE, { format: 'vhdx' }, ({ kind }) => kinds.push(kind));
      expect([...new Set(kinds)], `${entry}`).to.deep.equal(['vhdx-bitmap']);
      const node = await openNode(made.graph, IMAGE, { readOnly: true });
      const failure =
        entry === BigInt(4 * MIB + 6) ? null : await failureOf(readNode(node, 3 * MIB, Buffer.alloc(512)));
      if (failure !== null) expect(failure.code, `${entry}`).to.equal('corrupt-image');
      const other = Buffer.alloc(512);
      await readNode(node, 2 * MIB, other);
      expect(other[0]).to.equal(0x77);
      await made.graph.closeAll();
    }
  });
});
