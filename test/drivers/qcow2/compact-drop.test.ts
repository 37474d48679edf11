// What compact drops, beside requests that it cannot count, and over a backing file that ends before the disk.

import { expect } from 'chai';
import type { Located } from '../../../src/block/types.js';
import type { Qcow2Node } from '../../../src/drivers/formats/qcow2/driver.js';
import { contentOf, createAt, findings, fresh, makeFixture, openAt } from './bench.js';

const CLUSTER = 4096;
const control = { work: <T>(_bytes: number, action: () => Promise<T>) => action(), expect: () => undefined };
const compact = (node: Qcow2Node, options = {}) => node.abilities.compact!(options, control);

describe('qcow2: what compact drops', () => {
  it('is not what a write under way changes that a node above has sent past this one', async () => {
    const { host, node } = await fresh({ size: 16 * CLUSTER, 'cluster-size': CLUSTER });
    await node.write(0, new Uint8Array(8 * CLUSTER));
    await node.flush();
    const data = host.memory.allocate(512).fill(7);
    const place: Located = { file: null, offset: 0, guard: null };
    let looked = false;
    const work = async <T>(bytes: number, action: () => Promise<T>): Promise<T> => {
      const isDrop = looked && bytes === 0 && place.file === null;
      looked ||= bytes > 0;
      if (!isDrop) return action();
      expect(node.locate(CLUSTER, 512, true, place)).to.equal(true);
      const done = action();
      for (let turn = 0; turn < 5000; turn++) await null;
      await place.file!.write(place.offset, data);
      place.guard!.release();
      return done;
    };
    const { dropped } = await node.abilities.compact!({}, { work, expect: () => undefined });
    expect(dropped).to.equal(7 * CLUSTER);
    const content = await contentOf(node);
    expect(Buffer.compare(content.subarray(CLUSTER, CLUSTER + 512), data)).to.equal(0);
    expect(await findings(node)).to.deep.equal([]);
  });

  it('keeps zeroes behind the end of the backing file: that may become longer', async () => {
    const fixture = makeFixture();
    fixture.host.writeFile('/base.raw', new Uint8Array(CLUSTER).fill(3));
    const backing = { 'backing-file': 'base.raw', 'backing-fmt': 'raw' as const };
    await createAt(fixture, { size: 4 * CLUSTER, 'cluster-size': CLUSTER, ...backing });
    const node = await openAt(fixture);
    await node.write(0, new Uint8Array(CLUSTER).fill(3));
    await node.write(CLUSTER, new Uint8Array(CLUSTER));
    expect((await compact(node, { dedupeBacking: true })).dropped).to.equal(2 * CLUSTER);
    const below = await node.blockStatus(0, CLUSTER);
    const behind = await node.blockStatus(CLUSTER, CLUSTER);
    expect([below.allocated, behind.allocated, behind.zero]).to.deep.equal([false, true, true]);
  });
});
