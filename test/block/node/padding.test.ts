// A driver that takes whole blocks only: the base makes them of any request, and keeps writes that share a block apart.

import { expect } from 'chai';
import type { Graph } from '../../../src/block/graph.js';
import { ProtocolNode } from '../../../src/block/node/protocol.js';
import type { BlockStatus, ZeroFlags } from '../../../src/block/types.js';
import { Random } from '../../../src/host/sim/index.js';
import { failureOf, linkTo, makeBench, pattern } from '../../drivers/support.js';

const UNIT = 4096;
const BLOCKS = 64;
const SIZE = BLOCKS * UNIT;

/** Blocks in memory; every request takes a few turns, so that those that go on at once meet. */
class BlockStore extends ProtocolNode {
  override readonly driver = 'blocks';
  override readonly filename = '/blocks';
  readonly bytes = Buffer.from(pattern(SIZE));
  readonly requests: string[] = [];

  constructor(graph: Graph) {
    super(graph, { nodeName: 'blocks', readOnly: false, discard: 'unmap' });
    this.length = SIZE;
    this.requestAlignment = UNIT;
    graph.add(this);
  }

  protected override async doRead(offset: number, buffer: Uint8Array): Promise<void> {
    await this.#begin('read', offset, buffer.length);
    buffer.set(this.bytes.subarray(offset, offset + buffer.length));
  }

  protected override async doWrite(offset: number, buffer: Uint8Array): Promise<void> {
    await this.#begin('write', offset, buffer.length);
    this.bytes.set(buffer, offset);
  }

  protected override async doWriteZeroes(offset: number, length: number, _flags: ZeroFlags): Promise<void> {
    await this.#begin('zero', offset, length);
    this.bytes.fill(0, offset, offset + length);
  }

  protected override async doDiscard(offset: number, length: number): Promise<void> {
    await this.#begin('discard', offset, length);
    this.bytes.fill(0, offset, offset + length);
  }

  protected override async doBlockStatus(_offset: number, length: number): Promise<BlockStatus> {
    return { length, allocated: true, data: true, zero: false, compressed: false, offset: -1, node: null };
  }

  async #begin(what: string, offset: number, length: number): Promise<void> {
    expect([offset % UNIT, length % UNIT, length > 0], `${what} ${offset}+${length}`).to.deep.equal([0, 0, true]);
    this.requests.push(`${what} ${offset / UNIT}+${length / UNIT}`);
    for (let turn = 0; turn < 3; turn++) await Promise.resolve();
  }
}

function store() {
  const { graph } = makeBench();
  const node = new BlockStore(graph);
  linkTo(node);
  return node;
}

describe('padding', () => {
  it('lets whole blocks through as they are', async () => {
    const node = store();
    const buffer = new Uint8Array(2 * UNIT);
    await node.read(UNIT, buffer);
    await node.write(3 * UNIT, buffer);
    await node.writeZeroes(0, UNIT);
    await node.discard(5 * UNIT, UNIT);
    expect(node.requests).to.deep.equal(['read 1+2', 'write 3+2', 'zero 0+1', 'discard 5+1']);
  });

  it('reads the blocks at both ends, changes them and writes them back', async () => {
    const node = store();
    await node.write(UNIT + 1, new Uint8Array(UNIT).fill(7));
    expect(node.requests).to.deep.equal(['read 1+1', 'read 2+1', 'write 1+2']);
    const expected = Buffer.from(pattern(SIZE)).fill(7, UNIT + 1, 2 * UNIT + 1);
    expect(node.bytes.equals(expected)).to.equal(true);
  });

  it('reads one block once where both ends are in it', async () => {
    const node = store();
    await node.write(UNIT + 1, Uint8Array.of(7));
    expect(node.requests).to.deep.equal(['read 1+1', 'write 1+1']);
  });

  it('discards no part of a block', async () => {
    const node = store();
    await node.discard(1, 3 * UNIT);
    await node.discard(5 * UNIT + 1, 10);
    expect(node.requests).to.deep.equal(['discard 1+2']);
  });

  it('refuses fast zeroes of a part of a block', async () => {
    const error = await failureOf(store().writeZeroes(1, UNIT, { noFallback: true }));
    expect(error).to.include({ code: 'unsupported', message: '/blocks: fast zeroes need whole blocks of 4096 bytes' });
  });

  for (let seed = 1; seed <= 20; seed++) {
    it(`keeps requests side by side apart (seed ${seed})`, async () => {
      const node = store();
      const random = new Random(seed, 1);
      const model = Buffer.from(node.bytes);
      for (let round = 0; round < 20; round++) {
        // Disjoint ranges, so that the order does not matter; neighbours share blocks.
        const changes: Promise<void>[] = [];
        for (let at = random.below(UNIT); at < SIZE; ) {
          const length = Math.min(SIZE - at, random.between(1, random.pick([100, 3 * UNIT, 20 * UNIT])));
          if (random.chance(0.3)) {
            model.fill(0, at, at + length);
            changes.push(node.writeZeroes(at, length));
          } else {
            const data = pattern(length, at);
            model.set(data, at);
            changes.push(node.write(at, data));
          }
          at += length;
        }
        await Promise.all(changes);
        const offset = random.below(SIZE);
        const buffer = Buffer.alloc(random.between(1, SIZE - offset));
        await node.read(offset, buffer);
        expect(buffer.equals(model.subarray(offset, offset + buffer.length))).to.equal(true);
      }
      expect(node.bytes.equals(model)).to.equal(true);
    });
  }
});
