// What the options of raw and null-co do.

import { expect } from 'chai';
import { makeBench } from '../../drivers/support.js';
import { type Effects, file, opened, refusedOpen, SIZE, withFile } from './kit.js';

const nullDisk = (own: object = {}) => opened(makeBench(), { driver: 'null-co', ...own });
const raw = (own: object = {}) => opened(withFile(), { driver: 'raw', file: file(), ...own });

async function msOfRead(own: object): Promise<number> {
  const bench = makeBench();
  const node = await opened(bench, { driver: 'null-co', ...own });
  const start = bench.host.clock.now();
  await node.read(0, new Uint8Array(512));
  return bench.host.clock.now() - start;
}

export const small: Effects = {
  'BlockdevOptionsNull.size': [
    'is the length of the disk, in whole sectors as with qemu-img',
    async () => {
      expect((await nullDisk({ size: 1024 })).length).to.equal(1024);
      expect((await nullDisk({ size: 513 })).length).to.equal(1024);
      await refusedOpen(makeBench(), { driver: 'null-co', size: 2 ** 53 - 1 }, /Image sizes beyond/);
    },
  ],
  'BlockdevOptionsNull.latency-ns': [
    'is how long a request takes',
    async () => {
      expect(await msOfRead({})).to.equal(0);
      expect(await msOfRead({ 'latency-ns': 3_000_000 })).to.equal(3);
    },
  ],
  'BlockdevOptionsNull.read-zeroes': [
    'says that the disk reads as zeroes',
    async () => {
      expect((await (await nullDisk({ 'read-zeroes': true })).blockStatus(0, 512)).zero).to.equal(true);
      expect((await (await nullDisk({ 'read-zeroes': false })).blockStatus(0, 512)).zero).to.equal(false);
    },
  ],
  'BlockdevOptionsRaw.file': [
    'is what is read',
    async () => expect((await raw()).children.get('file')!.node.driver).to.equal('file'),
  ],
  'BlockdevOptionsRaw.offset': [
    'is where the disk begins',
    async () => {
      expect((await raw({ offset: 512 })).length).to.equal(SIZE - 512);
      await refusedOpen(withFile(), { driver: 'raw', file: file(), offset: 2 * SIZE }, /cannot be greater than/);
    },
  ],
  'BlockdevOptionsRaw.size': [
    'is how long the disk is',
    async () => {
      expect((await raw({ size: 512 })).length).to.equal(512);
      await refusedOpen(withFile(), { driver: 'raw', file: file(), size: 2 * SIZE }, /has to be smaller or equal/);
    },
  ],
};
