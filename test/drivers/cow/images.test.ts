// cow images: the four kinds of headers, what is refused, and the order in which they are written.

import { expect } from 'chai';
import { createImage } from '../../../src/block/create.js';
import { openNode } from '../../../src/block/open.js';
import type { BlockErrorCode } from '../../../src/util/errors.js';
import { COW_KINDS, cowImage } from '../../formats/cow/images.js';
import { type Bench, failureOf, makeBench, readNode, used } from '../support.js';

const SECTOR = 512;
/** Also of the last byte of the bitmap, which is not whole. */
const SECTORS = 2003;
const SIZE = SECTORS * SECTOR;

describe('images of cow', () => {
  let bench: Bench;

  beforeEach(() => {
    bench = makeBench();
    bench.host.writeFile('/base', Buffer.alloc(SIZE, 0xbb));
  });

  const WRITTEN: ReadonlyMap<number, Uint8Array> = new Map(
    [0, 1, 7, 8, 15, 500, SECTORS - 1].map((sector) => [sector, Buffer.alloc(SECTOR, (sector % 250) + 1)]),
  );

  function expected(): Buffer {
    const content = Buffer.alloc(SIZE, 0xbb);
    for (const [sector, bytes] of WRITTEN) content.set(bytes, sector * SECTOR);
    return content;
  }

  async function contentOf(): Promise<Buffer> {
    const node = await openNode(bench.graph, '/a.cow', { readOnly: true });
    const content = Buffer.alloc(node.length);
    await readNode(node, 0, content);
    await bench.graph.closeAll();
    return content;
  }

  for (const kind of COW_KINDS) {
    const isWritten = kind.startsWith('version 3');
    it(`${kind}: are read${isWritten ? ', and written to' : ' only'}`, async () => {
      const { image, bitmap, data } = cowImage({ kind, size: SIZE, backing: '/base', date: 0 }, WRITTEN);
      bench.host.writeFile('/a.cow', image);
      const content = expected();
      // The first versions have no bit for it.
      if (!isWritten) content.fill(0xbb, (SECTORS - 1) * SECTOR);
      expect((await contentOf()).equals(content)).to.equal(true);
      if (!isWritten) {
        expect((await failureOf(openNode(bench.graph, '/a.cow'))).code).to.equal('unsupported');
        return;
      }
      const node = await used(openNode(bench.graph, '/a.cow'));
      expect(node.driver).to.equal('cow');
      await node.write(20 * SECTOR + 100, Buffer.alloc(1000, 0x77));
      await bench.graph.closeAll();
      content.fill(0x77, 20 * SECTOR + 100, 20 * SECTOR + 1100);
      expect((await contentOf()).equals(content)).to.equal(true);
      const bytes = Buffer.from(bench.host.readFile('/a.cow'));
      expect(bytes[bitmap + 2]).to.equal(0b0111_0000);
      // The rest of a sector that is written in part comes from the backing file.
      const sector = bytes.subarray(data + 20 * SECTOR, data + 21 * SECTOR);
      expect(sector.equals(content.subarray(20 * SECTOR, 21 * SECTOR))).to.equal(true);
      // And nothing else has changed.
      expect(bytes.subarray(0, bitmap).equals(image.subarray(0, bitmap))).to.equal(true);
    });
  }

  const REFUSED: readonly [what: string, change: (image: Buffer) => void, code: BlockErrorCode, reason: RegExp][] = [
    ['a version', (image) => image.writeUInt32BE(4, 4), 'unsupported', /Unsupported COW version 4/],
    ['a sector size', (image) => image.writeUInt32BE(1024, 20), 'unsupported', /Unsupported COW sector size 1024/],
    ['an alignment', (image) => image.writeUInt32BE(1000, 24), 'unsupported', /Unsupported COW alignment 1000/],
    ['a huge alignment', (image) => image.writeUInt32BE(2 ** 31, 24), 'unsupported', /Unsupported COW alignment/],
    ['a bitmap format', (image) => image.writeUInt32BE(1, 28), 'unsupported', /Unsupported COW bitmap format 1/],
    ['a size without end', (image) => image.writeBigUInt64BE(2n ** 64n - 1n, 12), 'invalid-image', /bitmap/],
    [
      'a bitmap that is longer than the file',
      (image) => image.writeBigUInt64BE(2n ** 44n, 12),
      'invalid-image',
      /bitmap/,
    ],
    ['a name without end', (image) => image.fill(0x61, 32, 32 + 4096), 'invalid-image', /does not end/],
  ];
  for (const [what, change, code, reason] of REFUSED) {
    it(`are refused: ${what}`, async () => {
      const { image } = cowImage({ kind: 'version 3', size: SIZE, backing: '/base', date: 0 }, WRITTEN);
      change(image);
      bench.host.writeFile('/a.cow', image);
      const error = await failureOf(
        openNode(bench.graph, { driver: 'cow', file: { driver: 'file', filename: '/a.cow' } }),
      );
      expect(error.code).to.equal(code);
      expect(error.message).to.match(reason);
    });
  }

  it('name the place of a sector that is written beyond the end of the file', async () => {
    const { image, data } = cowImage({ kind: 'version 3', size: SIZE, backing: '/base', date: 0 }, WRITTEN);
    bench.host.writeFile('/a.cow', image.subarray(0, data + 400 * SECTOR));
    const node = await openNode(bench.graph, '/a.cow', { readOnly: true });
    const error = await failureOf(readNode(node, 500 * SECTOR, Buffer.alloc(SECTOR)));
    expect([error.code, error.offset]).to.deep.equal(['corrupt-image', data + 500 * SECTOR]);
    await bench.graph.closeAll();
  });

  it('read the backing file as raw, whatever it begins with', async () => {
    await createImage(bench.graph, '/inner', { driver: 'qcow2', size: SIZE });
    const bytes = Buffer.from(bench.host.readFile('/inner'));
    const size = bytes.length - (bytes.length % SECTOR);
    const { image } = cowImage({ kind: 'version 3', size, backing: '/inner', date: 0 }, new Map());
    bench.host.writeFile('/a.cow', image);
    expect((await contentOf()).equals(bytes.subarray(0, size))).to.equal(true);
  });

  it('warn of a backing file that ends within a sector, which they do not have', async () => {
    bench.host.writeFile('/base', Buffer.alloc(SIZE + 100, 0xbb));
    await createImage(bench.graph, '/a.cow', { driver: 'cow', size: SIZE + 100, 'backing-file': '/base' });
    const { image } = cowImage({ kind: 'version 3', size: SIZE + 100, backing: '/base', date: 0 }, new Map());
    bench.host.writeFile('/a.cow', image);
    expect((await contentOf()).equals(Buffer.alloc(SIZE, 0xbb))).to.equal(true);
    expect(bench.warnings.join()).to.match(/The last 100 bytes of '\/base' are no whole sector/);
  });

  it('warn of a backing file that was changed since', async () => {
    const { warnings } = bench;
    await createImage(bench.graph, '/a.cow', { driver: 'cow', size: SIZE, 'backing-file': '/base' });
    await openNode(bench.graph, '/a.cow', { readOnly: true });
    await bench.graph.closeAll();
    expect(warnings).to.deep.equal([]);
    const image = Buffer.from(bench.host.readFile('/a.cow'));
    image.writeUInt32BE(image.readUInt32BE(8) + 1, 8);
    bench.host.writeFile('/a.cow', image);
    await openNode(bench.graph, '/a.cow', { readOnly: true });
    await bench.graph.closeAll();
    expect(warnings).to.have.length(1);
    expect(warnings[0]).to.match(/'\/base' was changed since '\/a.cow' was made over it/);
  });
});
