// The place of a refcount structure that a repair makes anew.

import { expect } from 'chai';
import { repairImage } from '../../../src/workspace/check.js';
import { failureOf } from '../support.js';
import { createAt, type Fixture, findings, makeFixture, openAt, PATH } from './bench.js';

const CLUSTER = 512;
/** Behind the end of any file here. */
const NOWHERE = 2n ** 40n;

/** An image of `size` bytes with data in its first `used` ones, whose first refcount block is not to be found. */
async function withoutRefcounts(
  size: number,
  used: number,
  refcountBits: number,
): Promise<Fixture & { image: Buffer }> {
  const fixture = makeFixture();
  await createAt(fixture, { size, 'cluster-size': CLUSTER, 'refcount-bits': refcountBits });
  const node = await openAt(fixture);
  await node.write(0, new Uint8Array(used).fill(1));
  await fixture.graph.closeAll();
  const image = Buffer.from(fixture.host.readFile(PATH));
  image.writeBigUInt64BE(NOWHERE, Number(image.readBigUInt64BE(48)));
  return { ...fixture, image };
}

describe('qcow2: a refcount structure that is made anew', () => {
  it('has a place though a larger one would need fewer blocks', async () => {
    const { image, ...fixture } = await withoutRefcounts(1 << 20, CLUSTER, 64);
    // Compressed data behind the end of the file, in the second block: an image that is not closed properly keeps the entry.
    const [l1, end] = [Number(image.readBigUInt64BE(40)), 127];
    const l2 = Number(image.readBigUInt64BE(l1) & 0xfffffffffffe00n);
    image.writeBigUInt64BE((1n << 62n) | BigInt((end + 3) * CLUSTER), l2 + 8);
    image.writeBigUInt64BE(1n, 72);
    fixture.host.writeFile(PATH, Buffer.concat([image, Buffer.alloc(end * CLUSTER - image.length)]));
    expect(await findings(await openAt(fixture))).to.deep.equal([]);
  });

  it('lies behind what is in use, where the file cannot grow', async () => {
    const { image, host, graph } = await withoutRefcounts(8 << 20, 1 << 20, 16);
    const size = image.length + (64 << 10);
    const beside = Buffer.alloc(size, 0xee);
    image.copy(beside);
    host.writeFile(PATH, Buffer.concat([beside, Buffer.alloc(CLUSTER, 0xee)]));
    const file = { driver: 'file' as const, filename: PATH };
    const options = { driver: 'qcow2' as const, file: { driver: 'raw' as const, offset: 0, size, file } };
    const { result } = await repairImage(graph, options, 'all', {}, () => undefined);
    expect(result.after).to.include({ corruptions: 0, leaks: 0, checkErrors: 0 });
    expect(
      host
        .readFile(PATH)
        .subarray(size)
        .every((byte) => byte === 0xee),
    ).to.equal(true);
  });

  it('is refused where there is no room for it', async () => {
    const { image, host, graph } = await withoutRefcounts(8 << 20, 1 << 20, 16);
    host.writeFile(PATH, image);
    const file = { driver: 'file' as const, filename: PATH };
    const options = { driver: 'qcow2' as const, file: { driver: 'raw' as const, offset: 0, size: image.length, file } };
    expect((await failureOf(repairImage(graph, options, 'all', {}, () => undefined))).code).to.equal('no-space');
  });
});
