// What the options for making a VHDX image do: the structures that they lead to.

import { expect } from 'chai';
import { makeBench } from '../../drivers/support.js';
import { created, type Effects, file, PATH, refusedCreate, SIZE, withFile } from '../../schema/effects/kit.js';

const MIB = 1 << 20;
const HEADER = 64 << 10;
const REGIONS = 192 << 10;

async function made(own: object = {}): Promise<Buffer> {
  const bench = makeBench();
  await created(bench, { driver: 'file', filename: PATH, size: 0 });
  await created(bench, { driver: 'vhdx', file: file(), size: SIZE, ...own });
  return Buffer.from(bench.host.readFile(PATH));
}

const tableOf = (image: Buffer): number => Number(image.readBigUInt64LE(REGIONS + 32));
const itemsOf = (image: Buffer): number => Number(image.readBigUInt64LE(REGIONS + 64)) + (64 << 10);
const refused = (own: object, reason: RegExp): Promise<void> =>
  refusedCreate(withFile(), { driver: 'vhdx', file: file(), size: SIZE, ...own }, reason);

export const VHDX_EFFECTS: Effects = {
  'BlockdevCreateOptionsVhdx.file': [
    'is the node that is written',
    async () => expect((await made()).toString('latin1', 0, 8)).to.equal('vhdxfile'),
  ],
  'BlockdevCreateOptionsVhdx.size': [
    'is the length of the disk, in whole sectors',
    async () => {
      const image = await made({ size: 1000 });
      expect(image.readBigUInt64LE(itemsOf(image) + 8)).to.equal(1024n);
    },
  ],
  'BlockdevCreateOptionsVhdx.log-size': [
    'is the length of the log, or is refused',
    async () => {
      expect((await made()).readUInt32LE(HEADER + 68)).to.equal(MIB);
      expect((await made({ 'log-size': 3 * MIB })).readUInt32LE(HEADER + 68)).to.equal(3 * MIB);
      await refused({ 'log-size': 1000 }, /Log size must be a multiple of 1 MB/);
      await refused({ 'log-size': 2 ** 32 }, /Log size must be smaller than 4 GB/);
    },
  ],
  'BlockdevCreateOptionsVhdx.block-size': [
    'is the size of a block, or is refused',
    async () => {
      const of = async (own: object) => {
        const image = await made(own);
        return image.readUInt32LE(itemsOf(image));
      };
      expect(await of({})).to.equal(8 * MIB);
      expect(await of({ 'block-size': 2 * MIB })).to.equal(2 * MIB);
      await refused({ 'block-size': 3 * MIB }, /Block size must be a power of two/);
      await refused({ 'block-size': 1000 }, /Block size must be a multiple of 1 MB/);
      await refused({ 'block-size': 512 * MIB }, /Block size must not exceed 268435456/);
    },
  ],
  'BlockdevCreateOptionsVhdx.subformat': [
    'gives each block its place, or none',
    async () => {
      const of = async (subformat: string) => {
        const image = await made({ subformat });
        return [image.readUInt32LE(itemsOf(image) + 4), Number(image.readBigUInt64LE(tableOf(image)))];
      };
      expect(await of('dynamic')).to.deep.equal([0, 2]);
      expect(await of('fixed')).to.deep.equal([1, 4 * MIB + 6]);
    },
  ],
  'BlockdevCreateOptionsVhdx.block-state-zero': [
    'marks blocks as zeroes, or as absent',
    async () => {
      const of = async (isZero: boolean) => {
        const image = await made({ 'block-state-zero': isZero });
        return Number(image.readBigUInt64LE(tableOf(image)));
      };
      expect(await of(true)).to.equal(2);
      expect(await of(false)).to.equal(0);
    },
  ],
};
