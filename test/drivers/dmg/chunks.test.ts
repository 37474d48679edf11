// dmg: which chunk a sector of the disk is read from, and what becomes of chunks that cannot be right.

import { expect } from 'chai';
import { describe, it } from 'mocha';
import { chunk, Kind } from '../../formats/dmg/images.js';
import { failureOf } from '../support.js';
import { counted, END, forked, readSectors, SECTOR } from './support.js';

const KIND = 0;
const FIRST = 8;
const SECTORS = 16;
const OFFSET = 24;
const LENGTH = 32;

/** Sectors of 1 to 3 (raw), 11 to 14 (zlib), 21 and 22 (raw). */
const TABLES = [[counted(Kind.raw, 1, 3), counted(Kind.zlib, 11, 4), counted(Kind.raw, 21, 2), END]];
const BAD = 'corrupt-image';

/** The image with the 64 bits of a field of the chunk `index` changed. */
function changed(index: number, field: number, value: number | bigint): Buffer {
  const { image, chunkAt } = forked(TABLES);
  image.writeBigUInt64BE(BigInt(value), chunkAt(index) + field);
  return image;
}

function withKind(index: number, kind: number): Buffer {
  const { image, chunkAt } = forked(TABLES);
  image.writeUInt32BE(kind, chunkAt(index) + KIND);
  return image;
}

describe('dmg: chunks', () => {
  it('are read where they lie', async () => {
    expect((await readSectors(forked(TABLES).image)).sectors).to.deep.equal([1, 2, 3, 11, 12, 13, 14, 21, 22]);
  });

  it('are found in whatever order they are listed', async () => {
    const { image, chunkAt } = forked(TABLES);
    const first = Buffer.from(image.subarray(chunkAt(0), chunkAt(1)));
    image.copyWithin(chunkAt(0), chunkAt(2), chunkAt(3));
    first.copy(image, chunkAt(2));
    expect((await readSectors(image)).sectors).to.deep.equal([1, 2, 3, 11, 12, 13, 14, 21, 22]);
  });

  it('that leave a gap: what no chunk holds is an error, the rest is read', async () => {
    const { sectors, reason } = await readSectors(changed(1, FIRST, 100));
    expect(sectors).to.deep.equal([1, 2, 3, BAD, BAD, BAD, BAD, 21, 22]);
    expect(reason).to.equal('Byte 1536 of the disk: no chunk holds it');
  });

  it('that overlap: what two lay claim to is an error, the rest is read', async () => {
    const { sectors, reason } = await readSectors(changed(1, FIRST, 2));
    expect(sectors).to.deep.equal([1, 2, BAD, 12, 13, 14, BAD, 21, 22]);
    expect(reason).to.equal('Byte 1024 of the disk: chunks overlap there, and none can be trusted');
  });

  it('that lie in others are read from neither, nor is what follows them there', async () => {
    const { image, chunkAt } = forked(TABLES);
    // The last one, of two sectors, lies in the second one.
    image.writeBigUInt64BE(4n, chunkAt(2) + FIRST);
    expect((await readSectors(image)).sectors).to.deep.equal([1, 2, 3, 11, BAD, BAD, BAD, BAD, BAD]);
  });

  it('of no sectors, and those that begin beyond the disk, are none', async () => {
    expect((await readSectors(changed(0, SECTORS, 0))).sectors.slice(2)).to.deep.equal([BAD, 11, 12, 13, 14, 21, 22]);
    for (const first of [2n ** 55n, 2n ** 63n, 2n ** 64n - 1n]) {
      expect((await readSectors(changed(2, FIRST, first))).sectors.slice(6)).to.deep.equal([14, BAD, BAD]);
    }
  });

  it('that are stored beyond the end of the file, or in too few bytes, are errors', async () => {
    for (const offset of [2n ** 40n, 2n ** 63n, 2n ** 64n - 1n]) {
      const { sectors, reason } = await readSectors(changed(1, OFFSET, offset));
      expect(sectors).to.deep.equal([1, 2, 3, BAD, BAD, BAD, BAD, 21, 22]);
      expect(reason).to.equal('The chunk at 1536 of the disk: it lies beyond the end of the file');
    }
    expect((await readSectors(changed(0, LENGTH, 2 * SECTOR + 1))).sectors.slice(0, 4)).to.deep.equal([1, 2, BAD, 11]);
  });

  it('of zlib that hold more or less than they say are errors', async () => {
    for (const sectors of [3, 5]) {
      expect((await readSectors(changed(1, SECTORS, sectors))).sectors[3]).to.equal(BAD);
    }
    const { reason } = await readSectors(changed(1, SECTORS, 3));
    expect(reason).to.equal('The chunk at 1536 of the disk: the zlib stream is broken, or does not hold 1536 bytes');
  });

  it("beyond QEMU's limits are refused when the image is opened, in its words", async () => {
    for (const [image, reason] of [
      [changed(1, SECTORS, 131_073), 'sector count 131073 for chunk 1 is larger than max (131072)'],
      [changed(0, SECTORS, 2n ** 62n), 'sector count 4611686018427387904 for chunk 0 is larger than max (131072)'],
      [changed(2, LENGTH, (64 << 20) + 1), 'length 67108865 for chunk 2 is larger than max (67108864)'],
    ] as const) {
      const failure = await failureOf(readSectors(image));
      expect([failure.code, failure.reason]).to.deep.equal(['invalid-image', reason]);
    }
  });

  it('of zeroes may have any number of sectors', async () => {
    const { image, chunkAt } = forked(TABLES);
    image.writeUInt32BE(Kind.zero, chunkAt(2));
    image.writeBigUInt64BE(2n ** 53n, chunkAt(2) + SECTORS);
    expect((await readSectors(image)).sectors).to.deep.equal([1, 2, 3, 11, 12, 13, 14, 0, 0]);
  });

  it('that nothing here reads are named: once when the image is opened, and where they are read', async () => {
    const lzfse = await readSectors(withKind(1, Kind.lzfse));
    expect(lzfse.sectors).to.deep.equal([1, 2, 3, ...Array(4).fill('unsupported'), 21, 22]);
    expect(lzfse.reason).to.equal(
      'The chunk at 1536 of the disk: it is compressed by lzfse, which cannot be read here',
    );
    expect(lzfse.warnings).to.deep.equal([
      'warning: Image contains chunks compressed by lzfse, accessing them will result in I/O errors',
    ]);
    const unknown = await readSectors(withKind(2, 0x1234));
    expect(unknown.sectors.slice(6)).to.deep.equal([14, 'unsupported', 'unsupported']);
    expect(unknown.warnings).to.deep.equal([
      'warning: Image contains chunks of unknown type 1234, accessing them will result in I/O errors',
    ]);
  });

  it('for which the system has no library are said when the image is opened, and name it there and where they are read', async () => {
    for (const [kind, type, library] of [
      [Kind.bzip2, 'bzip2', 'libbz2'],
      [Kind.lzma, 'xz', 'liblzma'],
    ] as const) {
      const missing = `${type} needs the system's library ${library}, which is not installed`;
      const { sectors, reason, warnings } = await readSectors(withKind(1, kind), type);
      expect(sectors).to.deep.equal([1, 2, 3, ...Array(4).fill('unsupported'), 21, 22]);
      expect(reason).to.equal(`The chunk at 1536 of the disk: ${missing}`);
      expect(warnings).to.deep.equal([
        `warning: Image contains chunks of type ${kind.toString(16)}, accessing them will result in I/O errors: ${missing}`,
      ]);
      expect((await readSectors(withKind(1, kind))).warnings, 'it is there').to.deep.equal([]);
    }
  });

  it('of comments, and ends, wherever they stand, hold nothing', async () => {
    for (const kind of [Kind.comment, Kind.end]) {
      const { sectors, warnings } = await readSectors(withKind(1, kind));
      expect(sectors).to.deep.equal([1, 2, 3, BAD, BAD, BAD, BAD, 21, 22]);
      expect(warnings).to.deep.equal([]);
    }
  });

  it('of ADC that reach back before their begin, or end early, are errors', async () => {
    for (const stored of [[0x00, 0x00], [0x80, 7, 0x40, 0, 1], [0x80, 7, 0x04], [0x83, 7], []]) {
      const broken = { ...chunk(Kind.adc, Buffer.alloc(SECTOR)), stored: Buffer.from(stored) };
      expect((await readSectors(forked([[broken, END]]).image)).sectors, `${stored}`).to.deep.equal([BAD]);
    }
  });
});
