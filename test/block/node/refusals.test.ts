// What a node refuses: requests out of bounds, wrong buffers and extents, changes of read-only nodes, anything once it is closed.

import { expect } from 'chai';
import { needFormat } from '../../../src/block/node/format.js';
import type { BlockNode } from '../../../src/block/node/node.js';
import { PERM_ALL } from '../../../src/block/types.js';
import { failureOf, pattern } from '../../drivers/support.js';
import { nobody } from '../support.js';
import { patterned, SIZE } from './patterned.js';

describe('node: requests that are refused', () => {
  const calls: [string, (node: BlockNode, offset: number, length: number) => Promise<unknown>][] = [
    ['read', (node, offset, length) => node.read(offset, new Uint8Array(length))],
    ['readExtents', (node, offset, length) => node.readExtents([{ offset, length }], new Uint8Array(length))],
    ['write', (node, offset, length) => node.write(offset, new Uint8Array(length).fill(1))],
    ['writeZeroes', (node, offset, length) => node.writeZeroes(offset, length)],
    ['discard', (node, offset, length) => node.discard(offset, length)],
    ['blockStatus', (node, offset, length) => node.blockStatus(offset, length)],
  ];
  const ranges: [number, number][] = [
    [-1, 1],
    [-512, 512],
    [SIZE, 1],
    [SIZE - 1, 2],
    [0, SIZE + 1],
    [Number.MAX_SAFE_INTEGER, 512],
    [0.5, 512],
    [Number.NaN, 512],
    [Number.POSITIVE_INFINITY, 512],
  ];
  for (const [name, call] of calls) {
    for (const [offset, length] of ranges) {
      it(`${name} at ${offset} of ${length} bytes is out of bounds`, async () => {
        const { node, host } = await patterned();
        const error = await failureOf(call(node, offset, length));
        expect(error).to.include({ code: 'out-of-bounds', path: '/a' });
        expect(host.readFile('/a')).to.deep.equal(pattern(SIZE));
      });
    }
  }

  for (const length of [-1, 0.5, Number.NaN, Number.POSITIVE_INFINITY]) {
    for (const name of ['writeZeroes', 'discard', 'blockStatus'] as const) {
      it(`${name} of ${length} bytes is out of bounds`, async () => {
        const { node } = await patterned();
        expect((await failureOf(node[name](0, length))).code).to.equal('out-of-bounds');
      });
    }
  }

  it('block status of nothing is out of bounds', async () => {
    const { node } = await patterned();
    expect((await failureOf(node.blockStatus(0, 0))).code).to.equal('out-of-bounds');
  });

  const lists: [string, [number, number][], number, string][] = [
    [
      'overlap',
      [
        [0, 1024],
        [512, 512],
      ],
      1536,
      'out-of-bounds',
    ],
    [
      'descend',
      [
        [1024, 512],
        [0, 512],
      ],
      1024,
      'out-of-bounds',
    ],
    [
      'hold more than the buffer',
      [
        [0, 512],
        [1024, 512],
      ],
      1023,
      'invalid-argument',
    ],
    [
      'hold less than the buffer',
      [
        [0, 512],
        [1024, 512],
      ],
      1025,
      'invalid-argument',
    ],
    [
      'leave the node',
      [
        [0, 512],
        [SIZE, 512],
      ],
      1024,
      'out-of-bounds',
    ],
    [
      'are fractions',
      [
        [0, 0.5],
        [1, 0.5],
      ],
      1,
      'out-of-bounds',
    ],
    [
      'have a negative length',
      [
        [0, 512],
        [1024, -512],
      ],
      0,
      'out-of-bounds',
    ],
  ];
  for (const [what, list, bytes, code] of lists) {
    it(`extents that ${what}`, async () => {
      const { node, host } = await patterned();
      const extents = list.map(([offset, length]) => ({ offset, length }));
      const buffer = new Uint8Array(bytes);
      expect((await failureOf(node.readExtents(extents, buffer))).code).to.equal(code);
      expect((await failureOf(node.writeExtents(extents, buffer))).code).to.equal(code);
      expect(host.readFile('/a')).to.deep.equal(pattern(SIZE));
    });
  }

  const changes: [string, (node: BlockNode) => Promise<unknown>][] = [
    ['write', (node) => node.write(0, new Uint8Array(512))],
    ['write of nothing', (node) => node.write(0, new Uint8Array(0))],
    ['writeExtents', (node) => node.writeExtents([], new Uint8Array(0))],
    ['writeZeroes', (node) => node.writeZeroes(0, 512)],
    ['discard', (node) => node.discard(0, 512)],
    ['truncate', (node) => node.truncate(512)],
    ['changeBackingFile', (node) => needFormat(node).changeBackingFile(null, null)],
    ['makeEmpty', (node) => node.makeEmpty()],
  ];
  for (const [name, change] of changes) {
    it(`${name} on a read-only node`, async () => {
      const { node, host } = await patterned({ readOnly: true });
      expect(await failureOf(change(node))).to.include({ code: 'read-only', path: '/a' });
      expect(host.readFile('/a')).to.deep.equal(pattern(SIZE));
    });
  }

  const afterwards: typeof changes = [
    ...changes,
    ['read', (node) => node.read(0, new Uint8Array(512))],
    ['readExtents of nothing', (node) => node.readExtents([], new Uint8Array(0))],
    ['blockStatus', (node) => node.blockStatus(0, 512)],
    ['flush', (node) => node.flush()],
    ['attach', async (node) => node.attach(nobody, 'root', 0, PERM_ALL)],
  ];
  for (const [name, call] of afterwards) {
    it(`${name} on a closed node`, async () => {
      const { node } = await patterned();
      await node.close();
      expect(await failureOf(call(node))).to.include({ code: 'closed', path: '/a' });
    });
  }

  it('what the driver does not have', async () => {
    const { node } = await patterned();
    expect(await failureOf(needFormat(node).changeBackingFile('/b', 'raw'))).to.include({
      code: 'unsupported',
      path: '/a',
    });
    expect((await failureOf(node.makeEmpty())).code).to.equal('unsupported');
    expect((await failureOf(node.write(0, new Uint8Array(512), { compressed: true }))).code).to.equal('unsupported');
  });

  for (const [size, code] of [
    [-1, 'invalid-argument'],
    [0.5, 'invalid-argument'],
    [Number.NaN, 'invalid-argument'],
    [2 ** 53, 'limit'],
  ] as const) {
    it(`truncate to ${size}`, async () => {
      const { node } = await patterned();
      expect((await failureOf(node.truncate(size))).code).to.equal(code);
      expect(node.length).to.equal(SIZE);
    });
  }
});
