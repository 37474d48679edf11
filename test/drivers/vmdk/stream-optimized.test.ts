// Stream-optimised VMDK images that are written: whole grains, compressed, each once.

import { inflateSync } from 'node:zlib';
import { expect } from 'chai';
import { createImage } from '../../../src/block/create.js';
import type { BlockNode } from '../../../src/block/node/node.js';
import { openNode } from '../../../src/block/open.js';
import { adler32 } from '../../../src/util/adler32.js';
import { checkImage, repairImage } from '../../../src/workspace/check.js';
import { type Bench, failureOf, makeBench, pattern, readNode, used } from '../support.js';

const GRAIN = 65536;
const SIZE = 4 * GRAIN + 1536;
const SECTOR = 512;
const TABLE = 22 * SECTOR;

describe('stream-optimised VMDK', () => {
  let bench: Bench;
  let node: BlockNode;

  beforeEach(async () => {
    bench = makeBench();
    await createImage(bench.graph, '/a', { driver: 'vmdk', size: SIZE, subformat: 'streamOptimized' });
    node = await used(openNode(bench.graph, '/a', { format: 'vmdk' }));
  });

  afterEach(() => bench.graph.closeAll());

  const write = (offset: number, bytes: Uint8Array): Promise<void> => node.write(offset, bytes, { compressed: true });

  it('reads what was written, noise and the short last grain among it', async () => {
    const content = Buffer.alloc(SIZE);
    content.set(pattern(2 * GRAIN), GRAIN);
    for (let i = 0; i < GRAIN; i++) content[GRAIN + i] = (i * i * 31 + (i >> 3) * 7) & 0xff;
    content.fill(9, 4 * GRAIN);
    await write(GRAIN, content.subarray(GRAIN, 3 * GRAIN));
    await write(4 * GRAIN, content.subarray(4 * GRAIN));
    await bench.graph.closeAll();
    const found = Buffer.alloc(SIZE);
    await readNode(await openNode(bench.graph, '/a', { format: 'vmdk', readOnly: true }), 0, found);
    expect(found.equals(content)).to.equal(true);
  });

  it("keeps each grain in zlib's format, behind its marker, in the order of the disk", async () => {
    await Promise.all([0, 1, 3].map((grain) => write(grain * GRAIN, Buffer.alloc(GRAIN, grain + 1))));
    await bench.graph.closeAll();
    const file = Buffer.from(bench.host.readFile('/a'));
    let before = 0;
    for (const grain of [0, 1, 3]) {
      const at = file.readUInt32LE(TABLE + 4 * grain) * SECTOR;
      expect(at).to.be.above(before);
      expect(file.readBigUInt64LE(at)).to.equal(BigInt(grain * 128));
      const data = file.subarray(at + 12, at + 12 + file.readUInt32LE(at + 8));
      expect(inflateSync(data).equals(Buffer.alloc(GRAIN, grain + 1))).to.equal(true);
      before = at;
    }
  });

  it('refuses a grain whose bytes or checksum are others than were written', async () => {
    const noise = Buffer.from(pattern(GRAIN)).map((byte, i) => byte ^ ((i * i * 31 + (i >> 3) * 7) & 0xff));
    await write(0, Buffer.alloc(GRAIN, 1));
    await write(GRAIN, noise);
    await write(4 * GRAIN, noise.subarray(0, SIZE - 4 * GRAIN));
    await bench.graph.closeAll();
    const whole = Buffer.from(bench.host.readFile('/a'));
    for (const grain of [1, 4]) {
      const at = whole.readUInt32LE(TABLE + 4 * grain) * SECTOR;
      const end = at + 12 + whole.readUInt32LE(at + 8);
      const middle = (at + end) >> 1;
      const places = { method: at + 12, flags: at + 13, data: middle, checksum: end - 1 };
      for (const [what, place] of Object.entries(places)) {
        const file = Buffer.from(whole);
        file[place] ^= 0x10;
        bench.host.writeFile('/a', file);
        const opened = await openNode(bench.graph, '/a', { format: 'vmdk', readOnly: true });
        const parts = grain === 1 ? [[0, SIZE] as const, [GRAIN + 512, 512] as const] : [[4 * GRAIN, 512] as const];
        for (const [offset, length] of parts) {
          const { code, path, offset: found, cause } = await failureOf(readNode(opened, offset, Buffer.alloc(length)));
          expect({ what, code, path, found }).to.deep.equal({ what, code: 'corrupt-image', path: '/a', found: at });
          expect(cause).to.have.property('code', 'invalid-image');
        }
        await bench.graph.closeAll();
      }
    }
  });

  it('has a grain that is cut off found by a check, and made a hole', async () => {
    const noise = Buffer.from(pattern(GRAIN)).map((byte, i) => byte ^ ((i * i * 31 + (i >> 3) * 7) & 0xff));
    for (const grain of [0, 2, 3]) await write(grain * GRAIN, noise);
    await bench.graph.closeAll();
    const whole = Buffer.from(bench.host.readFile('/a'));
    const at = whole.readUInt32LE(TABLE + 4 * 3) * SECTOR;
    const end = at + 12 + whole.readUInt32LE(at + 8);
    const withLength = (length: number): Buffer => {
      const file = Buffer.from(whole);
      file.writeUInt32LE(length, at + 8);
      return file;
    };
    const cases: [Buffer, string | null][] = [
      [whole.subarray(0, end), null],
      [whole.subarray(0, end - 1 - ((end - 1) % SECTOR)), 'The file ends before the compressed grain 3 does'],
      [whole.subarray(0, at + 12), 'The file ends before the compressed grain 3 does'],
      [withLength(0), 'The compressed grain 3 has a length of 0 bytes'],
      [
        Buffer.concat([withLength(2 * GRAIN), Buffer.alloc(2 * GRAIN)]),
        'The compressed grain 3 has a length of 131072 bytes',
      ],
    ];
    for (const [file, reason] of cases) {
      bench.host.writeFile('/a', file);
      const opened = await openNode(bench.graph, '/a', { format: 'vmdk', readOnly: true });
      const read = readNode(opened, 3 * GRAIN, Buffer.alloc(GRAIN));
      if (reason === null) await read;
      else {
        const error = await failureOf(read);
        expect([error.code, error.reason, error.offset]).to.deep.equal(['corrupt-image', reason, at]);
      }
      await bench.graph.closeAll();
      const found: unknown[] = [];
      const repaired: unknown[] = [];
      const { result } = await checkImage(bench.graph, '/a', { format: 'vmdk' }, ({ kind, index, guestOffset }) =>
        found.push([kind, index, guestOffset]),
      );
      const bad = ['vmdk-grain-cut', 3 * 128, 3 * GRAIN];
      expect([reason, found]).to.deep.equal([reason, reason === null ? [] : [bad]]);
      expect(result.corruptions).to.equal(found.length);
      await repairImage(bench.graph, '/a', 'all', { format: 'vmdk' }, ({ kind, repairs }) =>
        repaired.push([kind, repairs]),
      );
      expect(repaired).to.deep.equal(reason === null ? [] : [['vmdk-grain-cut', true]]);
      await bench.graph.closeAll();
      const mended = await openNode(bench.graph, '/a', { format: 'vmdk', readOnly: true });
      const content = Buffer.alloc(SIZE);
      await readNode(mended, 0, content);
      expect(content.subarray(2 * GRAIN, 3 * GRAIN).equals(noise)).to.equal(true);
      expect(content.subarray(3 * GRAIN, 4 * GRAIN).equals(reason === null ? noise : Buffer.alloc(GRAIN))).to.equal(
        true,
      );
      await bench.graph.closeAll();
    }
  });

  it('refuses a grain that is there already, and one that comes twice at once', async () => {
    await write(0, Buffer.alloc(GRAIN, 1));
    const twice = [write(GRAIN, Buffer.alloc(GRAIN, 2)), write(GRAIN, Buffer.alloc(GRAIN, 3))];
    const results = await Promise.allSettled([...twice, write(0, Buffer.alloc(GRAIN, 4))]);
    expect(results.map(({ status }) => status)).to.deep.equal(['fulfilled', 'rejected', 'rejected']);
    const byte = new Uint8Array(1);
    for (const [offset, value] of [
      [0, 1],
      [GRAIN, 2],
    ]) {
      await node.read(offset, byte);
      expect(byte[0]).to.equal(value);
    }
  });

  it('refuses what is not compressed, and zeroes over data; takes zeroes where there is nothing', async () => {
    expect((await failureOf(node.write(0, Buffer.alloc(GRAIN)))).code).to.equal('unsupported');
    await write(0, Buffer.alloc(GRAIN, 1));
    expect((await failureOf(node.writeZeroes(0, GRAIN))).code).to.equal('unsupported');
    await node.writeZeroes(GRAIN, GRAIN);
  });

  it('has a grain on the disk before a table points to it', async () => {
    await write(0, Buffer.alloc(GRAIN, 5));
    expect(bench.host.durableFile('/a').subarray(TABLE, TABLE + 4)).to.deep.equal(new Uint8Array(4));
    await node.flush();
    const durable = makeBench();
    durable.host.writeFile('/a', bench.host.durableFile('/a'));
    const byte = new Uint8Array(1);
    await readNode(await openNode(durable.graph, '/a', { format: 'vmdk', readOnly: true }), GRAIN - 1, byte);
    expect(byte[0]).to.equal(5);
    await durable.graph.closeAll();
  });

  it('reads a grain that its table calls zeroes as zeroes, whatever lies below', async () => {
    await createImage(bench.graph, '/base', { driver: 'vmdk', size: SIZE });
    const base = await used(openNode(bench.graph, '/base', { format: 'vmdk' }));
    await base.write(0, Buffer.alloc(SIZE, 7));
    await base.flush();
    await bench.graph.closeAll();
    const over = { subformat: 'streamOptimized', 'zeroed-grain': true, 'backing-file': 'base' } as const;
    await createImage(bench.graph, '/top', { driver: 'vmdk', size: SIZE, ...over });
    const file = Buffer.from(bench.host.readFile('/top'));
    file.writeUInt32LE(1, TABLE);
    bench.host.writeFile('/top', file);
    const top = await used(openNode(bench.graph, '/top', { format: 'vmdk' }));
    const found = Buffer.alloc(2 * GRAIN);
    await top.read(0, found);
    expect(found.equals(Buffer.concat([Buffer.alloc(GRAIN), Buffer.alloc(GRAIN, 7)]))).to.equal(true);
    const { length, allocated, zero, data } = await top.blockStatus(0, SIZE);
    expect({ length, allocated, zero, data }).to.deep.equal({
      length: GRAIN,
      allocated: true,
      zero: true,
      data: false,
    });
    expect((await top.blockStatus(GRAIN, SIZE - GRAIN)).allocated).to.equal(false);
    await top.writeZeroes(0, GRAIN);
  });

  it('has the checksum of RFC 1950', () => {
    expect(adler32(Buffer.from('Wikipedia'))).to.equal(0x11e60398);
    expect(adler32(Buffer.alloc(100_000, 0xff))).to.equal(0x149a302c);
  });
});
