// Compressed clusters of qcow: where they lie, what becomes of them when they are written to, and what refuses them.

import { inflateRawSync } from 'node:zlib';
import { expect } from 'chai';
import { describe, it } from 'mocha';
import type { BlockNode } from '../../../src/block/node/node.js';
import { type Bench, failureOf, pattern, readNode } from '../support.js';
import { be64, CLUSTER, entryOf, IMAGE, makeQcow, numberAt, openQcow, patch } from './support.js';

const compressed = { compressed: true } as const;
/** Of an entry: the offset, and behind it the length. */
const OFFSET_BITS = 63n - 12n;

function placeOf(bench: Bench, index: number): { isPacked: boolean; offset: number; length: number } {
  const entry = numberAt(bench, entryOf(bench, index));
  return {
    isPacked: entry >> 63n === 1n,
    offset: Number(entry & (2n ** OFFSET_BITS - 1n)),
    length: Number((entry & (2n ** 63n - 1n)) >> OFFSET_BITS),
  };
}

/** Noise, which does not get smaller. */
function noise(length: number): Buffer {
  const bytes = Buffer.alloc(length);
  for (let i = 0, state = 12345; i < length; i++) {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0;
    bytes[i] = state >>> 16;
  }
  return bytes;
}

async function contentOf(node: BlockNode): Promise<Buffer> {
  const content = Buffer.alloc(node.length);
  await readNode(node, 0, content);
  return content;
}

describe('compressed clusters of qcow', () => {
  it('are raw deflate of whole clusters, the last one of the disk among them; what gets no smaller lies there as it is', async () => {
    const bench = await makeQcow(4);
    const node = await openQcow(bench);
    const content = Buffer.alloc(node.length);
    content.fill(7, 0, CLUSTER);
    noise(CLUSTER).copy(content, CLUSTER);
    content.set(pattern(CLUSTER), 2 * CLUSTER);
    content.fill(9, 4 * CLUSTER);
    await node.write(0, content.subarray(0, 3 * CLUSTER), compressed);
    await node.write(4 * CLUSTER, content.subarray(4 * CLUSTER), compressed);
    await bench.graph.closeAll();
    const file = Buffer.from(bench.host.readFile(IMAGE));
    for (const index of [0, 2, 4]) {
      const { isPacked, offset, length } = placeOf(bench, index);
      expect([isPacked, offset % 512], `cluster ${index}`).to.deep.equal([true, 0]);
      const found = inflateRawSync(file.subarray(offset, offset + length));
      expect(found.length).to.equal(CLUSTER);
      const wanted = Buffer.alloc(CLUSTER);
      content.copy(wanted, 0, index * CLUSTER);
      expect(found.equals(wanted), `cluster ${index}`).to.equal(true);
    }
    expect(placeOf(bench, 1)).to.include({ isPacked: false });
    expect((await contentOf(await openQcow(bench))).equals(content)).to.equal(true);
    await bench.graph.closeAll();
  });

  it('get a place of their own when something else is written to a part of them; the data before stays as it was', async () => {
    const bench = await makeQcow(4);
    const node = await openQcow(bench);
    await node.write(0, new Uint8Array(2 * CLUSTER).fill(5), compressed);
    await node.flush();
    const before = placeOf(bench, 0);
    const data = Buffer.from(bench.host.readFile(IMAGE, before.offset, before.length));
    await node.write(100, Uint8Array.of(6));
    await node.writeZeroes(CLUSTER + 512, 512);
    await bench.graph.closeAll();
    expect([placeOf(bench, 0).isPacked, placeOf(bench, 1).isPacked]).to.deep.equal([false, false]);
    expect(Buffer.from(bench.host.readFile(IMAGE, before.offset, before.length)).equals(data)).to.equal(true);
    const wanted = Buffer.alloc(node.length);
    wanted.fill(5, 0, 2 * CLUSTER);
    wanted[100] = 6;
    wanted.fill(0, CLUSTER + 512, CLUSTER + 1024);
    expect((await contentOf(await openQcow(bench))).equals(wanted)).to.equal(true);
    await bench.graph.closeAll();
  });

  it('are corrupt where their data lies beyond the file, is none, or is too short; nothing else is', async () => {
    const bench = await makeQcow(4);
    const node = await openQcow(bench);
    await node.write(0, new Uint8Array(3 * CLUSTER).fill(5), compressed);
    await bench.graph.closeAll();
    const packed = (offset: number, length: number): Buffer =>
      be64((1n << 63n) | (BigInt(length) << OFFSET_BITS) | BigInt(offset));
    for (const [offset, length] of [
      [2 ** 40, 100],
      [0, 100],
      [0, 0],
      [placeOf(bench, 0).offset, 3],
    ]) {
      patch(bench, entryOf(bench, 1), packed(offset, length));
      const opened = await openQcow(bench);
      const error = await failureOf(opened.read(CLUSTER, new Uint8Array(CLUSTER)));
      expect(error.code, `${length} at ${offset}`).to.be.oneOf(['corrupt-image', 'invalid-image']);
      const beside = new Uint8Array(CLUSTER);
      await opened.read(2 * CLUSTER, beside);
      expect(beside.every((byte) => byte === 5)).to.equal(true);
      await bench.graph.closeAll();
    }
  });

  it('are refused by an encrypted image, in whose clusters nothing is told apart', async () => {
    const bench = await makeQcow(4, { encrypt: { format: 'qcow', 'key-secret': 's' } });
    const node = await openQcow(bench, { encrypt: { format: 'aes', 'key-secret': 's' } });
    const error = await failureOf(node.write(0, new Uint8Array(CLUSTER), compressed));
    const reason = 'Compression and encryption not supported at the same time';
    expect([error.code, error.reason]).to.deep.equal(['unsupported', reason]);
    await node.write(0, Buffer.alloc(CLUSTER, 'plain text'));
    await bench.graph.closeAll();
    expect(Buffer.from(bench.host.readFile(IMAGE)).includes('plain')).to.equal(false);
  });
});
