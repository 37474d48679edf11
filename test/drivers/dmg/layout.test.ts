// dmg: where the trailer and the tables are looked for, and what is refused there.

import { expect } from 'chai';
import { describe, it } from 'mocha';
import { resourcesOfList } from '../../../src/drivers/formats/dmg/property-list.js';
import { resourcesOfFork } from '../../../src/drivers/formats/dmg/resource-fork.js';
import { dmgImage, type ImageShape, Kind } from '../../formats/dmg/images.js';
import { failureOf } from '../support.js';
import { counted, END, forked, readSectors } from './support.js';

const TABLES = [
  [counted(Kind.raw, 1, 3), END],
  [counted(Kind.zlib, 4, 2), END],
];
const SECTORS = [1, 2, 3, 4, 5];

const listed = (own: Partial<ImageShape> = {}) => dmgImage({ tables: TABLES, ...own });

/** The image with 64 bits of its trailer changed. */
function withTrailer(at: number, value: number | bigint, image = listed()): Buffer {
  image.image.writeBigUInt64BE(BigInt(value), image.trailerAt + at);
  return image.image;
}

/** The image with its property list changed. */
function withList(change: (text: string) => string): Buffer {
  const { image, tablesAt, trailerAt } = listed();
  const text = change(image.toString('latin1', tablesAt, trailerAt));
  const trailer = Buffer.from(image.subarray(trailerAt));
  trailer.writeBigUInt64BE(BigInt(text.length), 224);
  return Buffer.concat([image.subarray(0, tablesAt), Buffer.from(text, 'latin1'), trailer]);
}

async function refusal(image: Uint8Array): Promise<[string, string]> {
  const { code, reason } = await failureOf(readSectors(image));
  return [code, reason];
}

describe('dmg: the trailer and the tables', () => {
  it('are no resources that are too short for a table, of which there may be millions', () => {
    const fork = Buffer.alloc(16 + 5 * 1000 + 4 + 204);
    fork.writeUInt32BE(16, 0);
    fork.writeUInt32BE(fork.length - 16, 8);
    for (let i = 0; i < 1000; i++) fork.writeUInt32BE(1, 16 + 5 * i);
    fork.writeUInt32BE(204, 16 + 5000);
    expect(resourcesOfFork(fork, '/a')).to.have.length(1);
    const list = Buffer.from(`${'<data></data>'.repeat(1000)}<data>${'A'.repeat(272)}</data>`);
    expect(resourcesOfList(list, '/a')).to.have.length(1);
  });

  it('are found in a property list and in a resource fork, with anything before and little behind', async () => {
    for (const tablesIn of ['property list', 'resource fork'] as const) {
      for (const [before, behind] of [
        [0, 0],
        [1, 0],
        [5000, 1],
      ]) {
        const { sectors } = await readSectors(listed({ tablesIn, before, behind }).image);
        expect(sectors, `${tablesIn}, ${before}, ${behind}`).to.deep.equal(SECTORS);
      }
    }
  });

  it('are not found in a file that has none, or that is cut', async () => {
    const { image } = listed();
    const none = 'Could not locate UDIF trailer in dmg file';
    expect(await refusal(new Uint8Array(0))).to.deep.equal([
      'invalid-image',
      'dmg file must be at least 512 bytes long',
    ]);
    for (const file of [
      Buffer.alloc(1),
      Buffer.alloc(2000),
      image.subarray(0, -509),
      Buffer.concat([image, Buffer.alloc(600)]),
    ]) {
      expect(await refusal(file), `${file.length}`).to.deep.equal(['invalid-image', none]);
    }
  });

  it('refuse what does not lie before the trailer', async () => {
    for (const far of [2n ** 20n, 2n ** 40n, 2n ** 63n, 2n ** 64n - 1n]) {
      for (const [at, name] of [
        [24, 'data fork'],
        [216, 'property list'],
        [224, 'property list'],
      ] as const) {
        expect(await refusal(withTrailer(at, far)), `${at} ${far}`).to.deep.equal([
          'invalid-image',
          `The ${name} does not lie before the trailer`,
        ]);
      }
      const fork = () => listed({ tablesIn: 'resource fork' });
      for (const at of [40, 48]) {
        expect((await refusal(withTrailer(at, far, fork())))[1]).to.match(/^The resource fork does not lie before/);
      }
    }
  });

  it('refuse an image without tables, and disks beyond 2^53', async () => {
    expect((await refusal(withTrailer(224, 0)))[1]).to.match(/neither a resource fork nor a property list/);
    for (const sectors of [2n ** 44n, 2n ** 63n]) {
      expect((await refusal(withTrailer(492, sectors)))[0]).to.equal('limit');
    }
  });

  it('take the resource fork where there is a property list, too', async () => {
    const { image, trailerAt } = forked(TABLES);
    image.writeBigUInt64BE(1n, trailerAt + 216);
    image.writeBigUInt64BE(100n, trailerAt + 224);
    expect((await readSectors(image)).sectors).to.deep.equal(SECTORS);
  });

  it('refuse a property list beyond 16 MiB', async () => {
    const max = 16 << 20;
    expect((await readSectors(withList((text) => text.padEnd(max)))).sectors).to.deep.equal(SECTORS);
    expect((await refusal(withList((text) => text.padEnd(max + 1))))[0]).to.equal('limit');
  });

  it('refuse a resource that does not end, or does not lie in the fork', async () => {
    expect((await refusal(withList((text) => text.replaceAll('</data>', '</dat>'))))[0]).to.equal('invalid-image');
    for (const [at, value] of [
      [0, 0xffff_ffff],
      [8, 0],
      [8, 0xff_ffff],
      [256, 0],
      [256, 203],
      [256, 0xffff_ffff],
    ]) {
      const { image, fork } = forked(TABLES);
      image.writeUInt32BE(value, fork + at);
      expect((await refusal(image))[0], `${at}: ${value}`).to.equal('invalid-image');
    }
  });

  it('leave out resources that are no tables', async () => {
    const { image, fork } = forked(TABLES);
    image.write('mash', fork + 260, 'latin1');
    expect((await readSectors(image)).sectors).to.deep.equal([...Array(3).fill('corrupt-image'), 4, 5]);
    expect(
      (await readSectors(withList((text) => text.replace('<array>', '<array><data></data>')))).sectors,
    ).to.deep.equal(SECTORS);
  });

  it('say that an image without a chunk holds nothing', async () => {
    const { image } = forked([[END]]);
    image.writeBigUInt64BE(1n, image.length - 512 + 492);
    expect((await readSectors(image)).sectors).to.deep.equal(['corrupt-image']);
  });
});
