// What the options of quorum, blkverify and blklogwrites do.

import { expect } from 'chai';
import type { BlockNode } from '../../../src/block/node/node.js';
import { type Bench, makeBench } from '../../drivers/support.js';
import { type Effects, opened, outcome, refusedOpen, SIZE } from './kit.js';

const at = (name: string) => ({ driver: 'file', filename: `/${name}` });

/** `a` is all ones, `b` all twos, `c` is another copy of `a`. */
function disks(): Bench {
  const bench = makeBench();
  for (const [name, byte] of [
    ['a', 1],
    ['b', 2],
    ['c', 1],
  ] as const) {
    bench.host.writeFile(`/${name}`, new Uint8Array(SIZE).fill(byte));
  }
  bench.host.writeFile('/log', new Uint8Array(0));
  return bench;
}

const quorum = (own: object = {}) => ({
  driver: 'quorum',
  children: ['a', 'b', 'c'].map(at),
  'vote-threshold': 2,
  ...own,
});
const verify = (own: object = {}) => ({ driver: 'blkverify', test: at('a'), raw: at('c'), ...own });
const logging = (own: object = {}) => ({ driver: 'blklogwrites', file: at('a'), log: at('log'), ...own });

async function read(node: BlockNode): Promise<string> {
  const bytes = new Uint8Array(1);
  const failed = await outcome(node.read(0, bytes));
  return failed === '' ? String(bytes[0]) : failed;
}

export const quorumEffects: Effects = {
  'BlockdevOptionsQuorum.children': [
    'are what is read',
    async () => {
      expect(await read(await opened(disks(), quorum()))).to.equal('1');
      await refusedOpen(disks(), quorum({ children: [] }), /must be 1 or more/);
    },
  ],
  'BlockdevOptionsQuorum.vote-threshold': [
    'is how many must agree',
    async () => {
      expect(await read(await opened(disks(), quorum({ 'vote-threshold': 3 })))).to.match(/fewer than 3 children/);
      await refusedOpen(disks(), quorum({ 'vote-threshold': 4 }), /threshold may not exceed children count/);
    },
  ],
  'BlockdevOptionsQuorum.blkverify': [
    'fails a read of what differs',
    async () => {
      const own = { children: [at('a'), at('b')], blkverify: true };
      expect(await read(await opened(disks(), quorum(own)))).to.match(/contents mismatch/);
      await refusedOpen(disks(), quorum({ blkverify: true }), /exactly two files/);
    },
  ],
  'BlockdevOptionsQuorum.rewrite-corrupted': [
    'writes it to a child that was outvoted',
    async () => {
      const bench = disks();
      await read(await opened(bench, quorum({ 'rewrite-corrupted': true })));
      expect(bench.host.readFile('/b')[0]).to.equal(1);
    },
  ],
  'BlockdevOptionsQuorum.read-pattern': [
    'reads one child only',
    async () => {
      const own = { children: [at('b'), at('a')], 'read-pattern': 'fifo' };
      expect(await read(await opened(disks(), quorum(own)))).to.equal('2');
    },
  ],
  'BlockdevOptionsBlkverify.test': [
    'is what is read',
    async () => expect(await read(await opened(disks(), verify()))).to.equal('1'),
  ],
  'BlockdevOptionsBlkverify.raw': [
    'is what it is compared with',
    async () => expect(await read(await opened(disks(), verify({ raw: at('b') })))).to.match(/contents mismatch/),
  ],
  'BlockdevOptionsBlklogwrites.file': [
    'is what is read and written',
    async () => expect(await read(await opened(disks(), logging()))).to.equal('1'),
  ],
  'BlockdevOptionsBlklogwrites.log': [
    'has what was written',
    async () => {
      const bench = disks();
      await (await opened(bench, logging())).write(0, new Uint8Array(512).fill(9));
      expect(bench.host.readFile('/log')[1024]).to.equal(9);
    },
  ],
  'BlockdevOptionsBlklogwrites.log-sector-size': [
    'is the unit of the log, and of requests',
    async () => {
      expect((await opened(disks(), logging({ 'log-sector-size': 4096 }))).requestAlignment).to.equal(4096);
      await refusedOpen(disks(), logging({ 'log-sector-size': 100 }), /Invalid log sector size 100/);
      await refusedOpen(disks(), logging({ 'log-sector-size': 16 }), /Invalid log sector size 16/);
    },
  ],
  'BlockdevOptionsBlklogwrites.log-append': [
    'goes on with the log that is there',
    () => refusedOpen(disks(), logging({ 'log-append': true }), /header is missing/),
  ],
  'BlockdevOptionsBlklogwrites.log-super-update-interval': [
    'is when the header is written',
    async () => {
      const bench = disks();
      const node = await opened(bench, logging({ 'log-super-update-interval': 1 }));
      await node.write(0, new Uint8Array(512));
      expect(bench.host.readFile('/log')[16]).to.equal(1);
      await refusedOpen(disks(), logging({ 'log-super-update-interval': 0 }), /interval 0/);
    },
  ],
};
