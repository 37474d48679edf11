// A node's requests over real drivers on a simulated disk: what the base supplies, what is durable, and what is under way.

import { expect } from 'chai';
import type { BlockNode } from '../../../src/block/node/node.js';
import { RangeLock } from '../../../src/util/range-lock.js';
import { failureOf, makeBench, pattern } from '../../drivers/support.js';
import { lateBench, openUsed, PASS_MS, Recorder, stateOf } from '../support.js';
import { patterned, SIZE } from './patterned.js';

describe('node: requests', () => {
  it('of nothing succeed and change nothing', async () => {
    const { node, host } = await patterned({ detectZeroes: 'on' });
    const recorder = new Recorder();
    node.addObserver(recorder);
    node.serialiser = new RangeLock();
    for (const offset of [0, 7, SIZE]) {
      await node.read(offset, new Uint8Array(0));
      await node.write(offset, new Uint8Array(0));
      await node.writeZeroes(offset, 0);
      await node.discard(offset, 0);
    }
    await node.readExtents([], new Uint8Array(0));
    await node.writeExtents([], new Uint8Array(0));
    expect(recorder.seen).to.deep.equal([]);
    expect(host.readFile('/a')).to.deep.equal(pattern(SIZE));
  });

  it('of several extents read and write back to back', async () => {
    const { node, host } = await patterned();
    const extents = [
      { offset: 10, length: 5 },
      { offset: 15, length: 1 },
      { offset: 4000, length: 200 },
    ];
    const buffer = new Uint8Array(206);
    await node.readExtents(extents, buffer);
    const expected = pattern(SIZE);
    expect(buffer).to.deep.equal(Uint8Array.of(...expected.subarray(10, 16), ...expected.subarray(4000, 4200)));
    await node.writeExtents(extents, buffer.fill(9));
    expect(host.readFile('/a')).to.deep.equal(expected.fill(9, 10, 16).fill(9, 4000, 4200));
  });

  it('of several extents answer only when all parts are over, also where one fails', async () => {
    const bench = makeBench({
      manualClock: true,
      onRequest: (request) => {
        if (request.operation !== 'write') return undefined;
        return request.offset === 0 ? { errno: 'EIO' } : { delayMs: 100 };
      },
    });
    const node = await openUsed(bench, '/a', pattern(SIZE));
    const file = node.children.get('file')!.node;
    const extents = [
      { offset: 0, length: 512 },
      { offset: 1024, length: 512 },
    ];
    const writing = file.writeExtents(extents, new Uint8Array(1024).fill(1));
    expect(await stateOf(writing)).to.equal('pending');
    await bench.host.advance(PASS_MS);
    expect(await failureOf(writing)).to.include({ code: 'io', offset: 0, path: '/a' });
  });

  it('that must be durable are, when they are answered', async () => {
    const { node, host } = await patterned();
    await node.write(0, Uint8Array.of(1, 2, 3), { fua: true });
    expect(host.durableFile('/a').subarray(0, 3)).to.deep.equal(Uint8Array.of(1, 2, 3));
    await node.writeZeroes(0, 3, { fua: true });
    expect(host.durableFile('/a').subarray(0, 3)).to.deep.equal(new Uint8Array(3));
    await node.write(0, Uint8Array.of(1, 2, 3));
    expect(host.durableFile('/a').subarray(0, 3)).to.deep.equal(new Uint8Array(3));
  });

  it('that must be durable fail where the flush fails', async () => {
    const { node, host } = await patterned();
    host.setFaults({ rules: [{ operations: ['flush'] }] });
    expect((await failureOf(node.write(0, Uint8Array.of(1), { fua: true }))).code).to.equal('io');
    expect((await failureOf(node.write(0, new Uint8Array(0), { fua: true }))).code).to.equal('io');
  });

  it('pass an error of the disk on, with place and path', async () => {
    const { node, host } = await patterned();
    host.setFaults({ rules: [{ operations: ['write'], errno: 'ENOSPC' }, { operations: ['read'] }] });
    expect(await failureOf(node.write(512, new Uint8Array(512).fill(1)))).to.include({
      code: 'no-space',
      path: '/a',
      offset: 512,
      length: 512,
      errno: 'ENOSPC',
    });
    expect(await failureOf(node.read(1024, new Uint8Array(512)))).to.include({ code: 'io', path: '/a', offset: 1024 });
    expect(node.inFlight).to.equal(0);
  });

  it('scan for zeroes what they read, in whatever way', async () => {
    const { node } = await patterned();
    await node.writeZeroes(512, 512);
    for (const extents of [
      [{ offset: 0, length: 2048 }],
      [
        { offset: 0, length: 1024 },
        { offset: 1024, length: 1024 },
      ],
    ]) {
      const map = new Uint8Array(4).fill(7);
      await node.readExtents(extents, new Uint8Array(2048), { granule: 512, map });
      expect([...map]).to.deep.equal([0, 1, 0, 0]);
    }
  });
});

describe('node: requests in flight', () => {
  for (const [what, operation, start] of [
    ['write', 'write', (node: BlockNode) => node.write(0, Uint8Array.of(1))],
    ['flush', 'flush', (node: BlockNode) => node.flush()],
    ['truncate', 'truncate', (node: BlockNode) => node.truncate(512)],
    ['block status', 'seek', (node: BlockNode) => node.blockStatus(0, 512)],
    [
      'read of several extents',
      'read',
      (node: BlockNode) =>
        node.readExtents(
          [
            { offset: 0, length: 1 },
            { offset: 9, length: 1 },
          ],
          new Uint8Array(2),
        ),
    ],
  ] as const) {
    it(`idle waits for a ${what}`, async () => {
      const bench = lateBench([operation]);
      const node = await openUsed(bench, '/a', pattern(SIZE));
      const request = start(node);
      expect(node.inFlight).to.equal(1);
      const idle = node.idle();
      expect(await stateOf(idle)).to.equal('pending');
      await bench.host.advance(PASS_MS);
      await Promise.all([request, idle]);
      expect(node.inFlight).to.equal(0);
    });
  }

  it('idle does not wait for what others send to a node below', async () => {
    const bench = lateBench(['write']);
    const node = await openUsed(bench, '/a', pattern(SIZE));
    const foreign = node.children.get('file')!.node.write(0, Uint8Array.of(1));
    expect(await stateOf(node.idle())).to.equal('resolved');
    await bench.host.advance(PASS_MS);
    await foreign;
  });

  it('idle comes back where there is nothing', async () => {
    const { node } = await patterned();
    await node.idle();
  });
});
