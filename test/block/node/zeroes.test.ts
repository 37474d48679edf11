// Writes of zeroes, detected zeroes and discards: what the driver does, and what the base does in its place.

import { expect } from 'chai';
import { failureOf, makeBench, pattern } from '../../drivers/support.js';
import { openUsed, Recorder } from '../support.js';
import { patterned, SIZE, ZEROES } from './patterned.js';

describe('node: detect-zeroes', () => {
  for (const [mode, discard, kind, hole] of [
    ['off', 'unmap', 'write of 4096', false],
    ['on', 'unmap', 'zero', false],
    ['on', 'ignore', 'zero', false],
    ['unmap', 'unmap', 'zero', true],
  ] as const) {
    it(`${mode} with discard=${discard} makes a write of zeroes ${kind === 'zero' ? 'zeroes' : 'a write'}`, async () => {
      const { node, host } = await patterned({ detectZeroes: mode, discard });
      const recorder = new Recorder();
      node.addObserver(recorder);
      await node.write(0, ZEROES.subarray(0, 4096));
      expect(recorder.seen).to.deep.equal(['before 0+4096', `${kind} 0+4096`]);
      expect([host.count('punchHole') > 0, host.count('zeroRange') > 0]).to.deep.equal([hole, mode === 'on']);
      expect(host.readFile('/a')).to.deep.equal(pattern(SIZE).fill(0, 0, 4096));
    });
  }

  it('takes the extents of one write one by one, and leaves what is not all zeroes', async () => {
    const { node } = await patterned({ detectZeroes: 'on' });
    const recorder = new Recorder();
    node.addObserver(recorder);
    const extents = [
      { offset: 0, length: 512 },
      { offset: 1024, length: 512 },
    ];
    await node.writeExtents(extents, ZEROES.subarray(0, 1024));
    await node.writeExtents(extents, Uint8Array.from(ZEROES.subarray(0, 1024)).fill(1, 1023));
    expect(recorder.seen).to.deep.equal([
      'before 0+512',
      'zero 0+512',
      'before 1024+512',
      'zero 1024+512',
      'before 0+512 1024+512',
      'write of 1024 0+512 1024+512',
    ]);
  });

  it('unmap cannot be had without discard=unmap', async () => {
    const bench = makeBench();
    const opening = openUsed(bench, '/a', pattern(SIZE), { detectZeroes: 'unmap', discard: 'ignore' });
    expect((await failureOf(opening)).code).to.equal('invalid-argument');
  });
});

describe('node: discard', () => {
  it('goes through with unmap', async () => {
    const { node, host } = await patterned();
    await node.discard(4096, 4096);
    expect(host.count('discard')).to.equal(1);
  });

  it('does nothing with ignore, and nobody hears of it', async () => {
    const { node, host } = await patterned({ discard: 'ignore' });
    const recorder = new Recorder();
    node.addObserver(recorder);
    await node.discard(0, SIZE);
    expect(recorder.seen).to.deep.equal([]);
    expect(host.count('discard')).to.equal(0);
    expect(host.readFile('/a')).to.deep.equal(pattern(SIZE));
  });

  it('with ignore, zeroes that may be unmapped are, as with qemu-nbd: it is discards that are ignored', async () => {
    const { node, host } = await patterned({ discard: 'ignore' });
    await node.writeZeroes(0, 4096, { mayUnmap: true });
    expect([host.count('punchHole'), host.count('zeroRange')]).to.deep.equal([1, 0]);
  });
});

describe('node: writes of zeroes', () => {
  const features = ['punchHole', 'zeroRange'] as const;

  it('are written out where the disk cannot make them', async () => {
    const bench = makeBench({ unsupported: features });
    const node = await openUsed(bench, '/a', pattern(3 << 20));
    await node.writeZeroes(100, (2 << 20) + 5, { mayUnmap: true });
    expect(Buffer.compare(bench.host.readFile('/a'), pattern(3 << 20).fill(0, 100, (2 << 20) + 105))).to.equal(0);
  });

  it('are not where that is not wanted', async () => {
    const bench = makeBench({ unsupported: features });
    const node = await openUsed(bench, '/a', pattern(SIZE));
    expect((await failureOf(node.writeZeroes(0, SIZE, { noFallback: true }))).code).to.equal('unsupported');
    expect(bench.host.readFile('/a')).to.deep.equal(pattern(SIZE));
  });
});
