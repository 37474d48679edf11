// dmg: what an image holds, compared with its checksums.

import { randomBytes } from 'node:crypto';
import { crc32 as zlibCrc32 } from 'node:zlib';
import { expect } from 'chai';
import { describe, it } from 'mocha';
import type { CheckFinding } from '../../../src/block/finding.js';
import { findingText } from '../../../src/block/finding-text.js';
import { crc32, crc32OfZeroes } from '../../../src/util/crc32.js';
import { checkImage } from '../../../src/workspace/check.js';
import { chunk, dmgImage, type EncodedImage, Kind } from '../../formats/dmg/images.js';
import { BZIP2, SAMPLE, XZ } from '../../formats/dmg/samples.js';
import { failureOf, makeBench } from '../support.js';
import { counted, END, IMAGE, forked as layoutOf, SECTOR } from './support.js';

const TABLES = [
  [
    counted(Kind.raw, 1, 3),
    chunk(Kind.zero, Buffer.alloc(77 * SECTOR)),
    counted(Kind.zlib, 4, 2),
    chunk(Kind.ignore, Buffer.alloc(5 * SECTOR)),
    END,
  ],
  [
    { kind: Kind.bzip2, content: SAMPLE, stored: BZIP2 },
    { kind: Kind.lzma, content: SAMPLE, stored: XZ },
    chunk(Kind.adc, SAMPLE),
    END,
  ],
];
const forked = (checksums = true): EncodedImage => dmgImage({ tables: TABLES, tablesIn: 'resource fork', checksums });

/** What is found, and the counts of corruptions and of errors. */
async function found(image: Uint8Array): Promise<[string[], number, number]> {
  const { host, graph } = makeBench();
  host.writeFile(IMAGE, image);
  const findings: CheckFinding[] = [];
  const { result } = await checkImage(graph, IMAGE, {}, (finding) => findings.push(finding), undefined, 'checkData');
  return [findings.map(findingText), result.corruptions, result.checkErrors];
}

describe('dmg: checksums', () => {
  it('that are right are no finding', async () => {
    for (const image of [forked(), dmgImage({ tables: TABLES, before: 99 })]) {
      expect(await found(image.image)).to.deep.equal([[], 0, 0]);
    }
  });

  it('that are not there are said: nothing was compared', async () => {
    const text = 'ERROR: The image has no checksum that can be compared';
    expect(await found(forked(false).image)).to.deep.equal([[text], 0, 1]);
  });

  it('of the data fork and of a table say that a byte is another one', async () => {
    const { image } = forked();
    image[SECTOR] ^= 1;
    const [texts, corruptions, errors] = await found(image);
    expect(texts.length).to.equal(2);
    expect(texts[0]).to.match(/^ERROR: the data fork: the checksum is 0x[0-9a-f]{8}, and should be 0x[0-9a-f]{8}$/);
    expect(texts[1]).to.match(/^ERROR: the table 0: the checksum is 0x[0-9a-f]{8}, and should be 0x/);
    expect([corruptions, errors]).to.deep.equal([2, 0]);
  });

  it('are not compared for chunks that hold more than the disk has: they might be decompressed for days', async () => {
    const { image, chunkAt } = layoutOf([[counted(Kind.zlib, 1, 2), counted(Kind.zlib, 3, 2), END]]);
    // Both hold the same place of a disk that is as large as one.
    image.writeBigUInt64BE(0n, chunkAt(1) + 8);
    image.writeBigUInt64BE(2n, image.length - 512 + 0x1ec);
    const [texts, corruptions] = await found(image);
    expect(texts).to.deep.equal(['ERROR: the table 0: the chunks hold more than the disk has']);
    expect(corruptions).to.equal(1);
  });

  it('of the tables say that one of them was changed', async () => {
    const { image, tablesAt } = forked();
    image[tablesAt + 256 + 4 + 72] ^= 1;
    const [texts] = await found(image);
    expect(texts.map((text) => text.slice(0, 19))).to.deep.equal(['ERROR: the table 0:', 'ERROR: the tables: ']);
  });

  it('say where a chunk cannot be decompressed, and where the data fork is not all there', async () => {
    const { image, trailerAt, dataAt } = forked();
    image[dataAt + 3 * SECTOR + 4] ^= 0xff;
    image.writeBigUInt64BE(2n ** 40n, trailerAt + 32);
    const [texts, corruptions] = await found(image);
    expect(texts).to.deep.equal([
      'ERROR: the data fork: it does not lie within the file',
      'ERROR: the table 0: The chunk at 40960 of the disk: the zlib stream is broken, or does not hold 1024 bytes',
    ]);
    expect(corruptions).to.equal(2);
  });

  it('cannot be verified where a chunk cannot be read here, which is said', async () => {
    const { image, tablesAt } = forked();
    image.writeUInt32BE(Kind.lzfse, tablesAt + 256 + 4 + 204);
    const [texts, corruptions, errors] = await found(image);
    expect(texts).to.deep.equal([
      'ERROR: the table 0: The chunk at 0 of the disk: it is compressed by lzfse, which cannot be read here',
    ]);
    expect([corruptions, errors]).to.deep.equal([0, 1]);
  });

  it('are not there in other formats', async () => {
    const { host, graph } = makeBench();
    host.writeFile('/raw', new Uint8Array(SECTOR));
    const failure = await failureOf(checkImage(graph, '/raw', {}, () => undefined, undefined, 'checkData'));
    expect([failure.code, failure.reason]).to.deep.equal([
      'unsupported',
      'This image format has no checksums of its data',
    ]);
  });
});

describe('CRC-32', () => {
  it('of zeroes is what it is of that many bytes, behind anything', () => {
    const before = zlibCrc32(randomBytes(100));
    for (const length of [0, 1, 2, 3, 511, 512, 65_537, 1_000_000]) {
      for (const start of [0, before]) {
        expect(crc32OfZeroes(length, start), `${length}`).to.equal(crc32(new Uint8Array(length), start));
      }
    }
    expect(crc32OfZeroes(2 ** 60)).to.be.within(0, 0xffff_ffff);
  });
});
