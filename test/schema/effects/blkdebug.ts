// What the options of blkdebug do.

import { expect } from 'chai';
import type { BlockNode } from '../../../src/block/node/node.js';
import { openNode } from '../../../src/block/open.js';
import { validate } from '../../../src/schema/validate.js';
import { linkTo } from '../../drivers/support.js';
import { type Effects, file, opened, outcome, refusedOpen, withFile } from './kit.js';

const options = (own: object = {}) => ({ driver: 'blkdebug', image: file(), ...own });
const rule = (own: object) => options({ 'inject-error': [{ event: 'none', ...own }] });
const debug = (own: object) => opened(withFile(), own);
const read = (node: BlockNode, at = 0) => outcome(node.read(at, new Uint8Array(512)));

async function refuses(name: string, value: number, words: RegExp): Promise<void> {
  await refusedOpen(withFile(), options({ align: 512, [name]: value }), words);
}

/** The requests that `action` makes of the file. */
async function requests(own: object, action: (node: BlockNode) => Promise<unknown>): Promise<number> {
  const node = await debug(options({ discard: 'unmap', ...own }));
  const { node: below } = node.primary!;
  let count = 0;
  for (const name of ['write', 'writeZeroes', 'discard'] as const) {
    const plain = below[name].bind(below) as (...words: unknown[]) => Promise<void>;
    Object.assign(below, {
      [name]: (...words: unknown[]) => {
        count++;
        return plain(...words);
      },
    });
  }
  await action(node);
  return count;
}

const LIMIT = /Cannot meet constraints with/;

export const blkdebug: Effects = {
  'BlockdevOptionsBlkdebug.image': [
    'is what is read',
    async () => expect(await read(await debug(options()))).to.equal(''),
  ],
  'BlockdevOptionsBlkdebug.config': [
    'names a file with rules',
    async () => {
      const bench = withFile();
      bench.host.writeFile('/rules', new TextEncoder().encode('[inject-error]\nevent = "none"\n'));
      expect(await read(await opened(bench, options({ config: '/rules' })))).to.match(/error/);
      await refusedOpen(withFile(), options({ config: '/none' }), /Could not read blkdebug config file/);
    },
  ],
  'BlockdevOptionsBlkdebug.align': [
    'is the block that requests are made of',
    async () => {
      expect((await debug(options({ align: 4096 }))).requestAlignment).to.equal(4096);
      await refusedOpen(withFile(), options({ align: 3 }), LIMIT);
    },
  ],
  'BlockdevOptionsBlkdebug.max-transfer': [
    'is how much a request has at most',
    async () => {
      expect(await requests({ 'max-transfer': 4096 }, (node) => node.write(0, new Uint8Array(16384)))).to.equal(4);
      await refuses('max-transfer', 1000, LIMIT);
    },
  ],
  'BlockdevOptionsBlkdebug.opt-write-zero': [
    'is the unit of writes of zeroes',
    async () => {
      expect(await requests({ 'opt-write-zero': 4096 }, (node) => node.writeZeroes(512, 8192))).to.equal(3);
      await refuses('opt-write-zero', 1000, LIMIT);
    },
  ],
  'BlockdevOptionsBlkdebug.max-write-zero': [
    'is how much one of them has at most',
    async () => {
      expect(await requests({ 'max-write-zero': 4096 }, (node) => node.writeZeroes(0, 16384))).to.equal(4);
      await refuses('max-write-zero', 1000, LIMIT);
    },
  ],
  'BlockdevOptionsBlkdebug.opt-discard': [
    'is the unit of discards',
    async () => {
      expect(await requests({ 'opt-discard': 4096 }, (node) => node.discard(512, 4096))).to.equal(0);
      await refuses('opt-discard', 1000, LIMIT);
    },
  ],
  'BlockdevOptionsBlkdebug.max-discard': [
    'is how much one of them has at most',
    async () => {
      expect(await requests({ 'max-discard': 4096 }, (node) => node.discard(0, 16384))).to.equal(4);
      await refuses('max-discard', 1000, LIMIT);
    },
  ],
  'BlockdevOptionsBlkdebug.inject-error': [
    'makes requests fail',
    async () => expect(await read(await debug(rule({})))).to.match(/error/),
  ],
  'BlockdevOptionsBlkdebug.set-state': [
    'changes the state that rules ask for',
    async () => {
      const states = {
        'set-state': [
          { event: 'none', new_state: 2 },
          { event: 'pwritev', new_state: 3 },
        ],
      };
      const own = { 'inject-error': [{ event: 'pwritev', state: 2 }], ...states };
      const node = await debug(options(own));
      expect(await outcome(node.write(0, new Uint8Array(512)))).to.match(/error/);
    },
  ],
  'BlockdevOptionsBlkdebug.take-child-perms': [
    'takes permissions without need',
    async () => {
      const bench = withFile();
      const open = (own: object) => openNode(bench.graph, validate('BlockdevOptions', own));
      const image = await open(file({ 'node-name': 'f' }));
      await open(options({ image: 'f', 'take-child-perms': ['write'] }));
      const use = { perm: 0, shared: 1 };
      expect(() => image.attach({ userName: 'x' }, 'root', use.perm, use.shared)).to.throw("'write' are both required");
    },
  ],
  'BlockdevOptionsBlkdebug.unshare-child-perms': [
    'leaves others no such permission',
    async () => {
      const bench = withFile();
      const open = (own: object) => openNode(bench.graph, validate('BlockdevOptions', own));
      const image = await open(file({ 'node-name': 'f' }));
      await open(options({ image: 'f', 'unshare-child-perms': ['resize'] }));
      expect(() => linkTo(image)).to.throw("'resize' are both required");
    },
  ],
  'BlkdebugInjectErrorOptions.event': [
    'is when it takes effect',
    async () => {
      const node = await debug(options({ 'inject-error': [{ event: 'pwritev_done' }] }));
      expect(await outcome(node.write(0, new Uint8Array(512)))).to.equal('');
      expect(await read(node)).to.match(/error/);
    },
  ],
  'BlkdebugInjectErrorOptions.state': [
    'is the state that it needs',
    async () => {
      expect(await read(await debug(rule({ state: 1 })))).to.match(/error/);
      expect(await read(await debug(rule({ state: 2 })))).to.equal('');
    },
  ],
  'BlkdebugInjectErrorOptions.iotype': [
    'is the kind of requests that fail',
    async () => expect(await read(await debug(rule({ iotype: 'write' })))).to.equal(''),
  ],
  'BlkdebugInjectErrorOptions.errno': [
    'is the error',
    async () => expect(await read(await debug(rule({ errno: 28 })))).to.match(/no space left/),
  ],
  'BlkdebugInjectErrorOptions.sector': [
    'is where requests fail',
    async () => {
      const node = await debug(rule({ sector: 1 }));
      expect([await read(node), (await read(node, 512)) === '']).to.deep.equal(['', false]);
    },
  ],
  'BlkdebugInjectErrorOptions.once': [
    'lets one request fail',
    async () => {
      const node = await debug(rule({ once: true }));
      expect([(await read(node)) === '', await read(node)]).to.deep.equal([false, '']);
    },
  ],
  'BlkdebugInjectErrorOptions.immediately': [
    'lets nothing run before the failure',
    async () => {
      for (const immediately of [true, false]) {
        const bench = withFile();
        const node = await opened(bench, rule({ immediately }));
        let ended = false;
        bench.host.clock.timer(0, () => {
          ended = true;
        });
        const failed = node.read(0, new Uint8Array(512)).catch(() => ended);
        expect(await failed).to.equal(!immediately);
      }
    },
  ],
  'BlkdebugSetStateOptions.event': [
    'is when the state changes',
    async () => {
      const own = { 'set-state': [{ event: 'none', new_state: 2 }], 'inject-error': [{ event: 'pwritev', state: 1 }] };
      expect(await outcome((await debug(options(own))).write(0, new Uint8Array(1)))).to.equal('');
    },
  ],
  'BlkdebugSetStateOptions.state': [
    'is the state that it needs',
    async () => {
      const own = {
        'set-state': [{ event: 'none', state: 7, new_state: 2 }],
        'inject-error': [{ event: 'pwritev', state: 1 }],
      };
      expect(await outcome((await debug(options(own))).write(0, new Uint8Array(1)))).to.match(/error/);
    },
  ],
  'BlkdebugSetStateOptions.new_state': [
    'is the state from then on',
    async () => {
      const own = { 'set-state': [{ event: 'none', new_state: 5 }], 'inject-error': [{ event: 'pwritev', state: 5 }] };
      expect(await outcome((await debug(options(own))).write(0, new Uint8Array(1)))).to.match(/error/);
    },
  ],
};
