// Blocks that a copy has taken, and given back as what it copied was zeroes: they are no lost space, and no error, once the image is closed.

import { expect } from 'chai';
import { createImage } from '../../../src/block/create.js';
import { Graph } from '../../../src/block/graph.js';
import type { BlockNode } from '../../../src/block/node/node.js';
import { openNode } from '../../../src/block/open.js';
import type { MovePlace } from '../../../src/block/types.js';
import type { HostFile } from '../../../src/host/host.js';
import { type SimHost, SimPowerLoss } from '../../../src/host/sim/index.js';
import type { ImageOptions } from '../../../src/schema/options.js';
import { toBlockError } from '../../../src/util/errors.js';
import { repairImage } from '../../../src/workspace/check.js';
import { repeats } from '../../support/sample.js';
import { type Bench, linkTo, makeBench, readNode, used } from '../support.js';

const MIB = 1 << 20;
const STEP = 64 << 10;
/** Each so-many-th request is broken off. */
const STRIDE = repeats(4, 1);

async function copied(block: number, blockBytes: number, isZero: boolean, place: MovePlace | null): Promise<void> {
  expect(place, `a place for block ${block}`).to.not.equal(null);
  if (!isZero) {
    for (const { to, length } of place!.parts) {
      await (place!.target as HostFile).write(to, Buffer.alloc(length, block + 1));
    }
  }
  place!.done({ slices: [], map: new Uint8Array(blockBytes / STEP).fill(isZero ? 1 : 0), fault: null });
}

/** Copies as many blocks as `zero` has letters at once; those with a z turn out to be zeroes. */
async function copy(node: BlockNode, blockBytes: number, zero: string): Promise<void> {
  const places: (MovePlace | null)[] = [];
  for (let block = 0; block < zero.length; block++) {
    places.push(await node.prepareMove([{ offset: block * blockBytes, length: blockBytes }], STEP));
  }
  for (const [block, place] of places.entries()) await copied(block, blockBytes, zero[block] === 'z', place);
}

async function firstBytes(node: BlockNode, blockBytes: number, blocks: number): Promise<number[]> {
  const bytes: number[] = [];
  for (let block = 0; block < blocks; block++) {
    const whole = new Uint8Array(blockBytes);
    await readNode(node, block * blockBytes, whole);
    expect(new Set(whole).size).to.equal(1);
    bytes.push(whole[0]);
  }
  return bytes;
}

for (const [driver, blockBytes] of [
  ['vdi', MIB],
  ['qed', STEP],
  // Of this format, lost space is what lies behind the last cluster.
  ['parallels', MIB],
] as const) {
  describe(`blocks of a ${driver} image that a copy gave back`, () => {
    const open = (bench: Bench): Promise<BlockNode> => used(openNode(bench.graph, '/a', { format: driver }));
    const make = async (): Promise<Bench> => {
      const bench = makeBench();
      await createImage(bench.graph, '/a', { driver, size: 8 * blockBytes });
      return bench;
    };
    const found = async (bench: Bench): Promise<{ errors: number; leaks: number; bytes: number[]; length: number }> => {
      const node = await openNode(bench.graph, '/a', { format: driver, readOnly: true });
      const { corruptions, leaks } = await node.abilities.check!(() => undefined);
      const bytes = await firstBytes(node, blockBytes, 8);
      await bench.graph.closeAll();
      return { errors: corruptions, leaks, bytes, length: bench.host.readFile('/a').length };
    };
    const lengthWith = async (blocks: number): Promise<number> => {
      const bench = await make();
      const node = await open(bench);
      for (let block = 0; block < blocks; block++)
        await node.write(block * blockBytes, new Uint8Array(blockBytes).fill(1));
      await bench.graph.closeAll();
      return bench.host.readFile('/a').length;
    };

    for (const zero of driver === 'parallels'
      ? ['....zzzz', '.zzzzzzz']
      : ['z.z..z.z', 'zzz....z', '....zzzz', '.zzzzzz.', 'zzzzzzz.']) {
      it(`are filled when the image is closed (${zero})`, async () => {
        const bench = await make();
        await copy(await open(bench), blockBytes, zero);
        await bench.graph.closeAll();
        const bytes = [...zero].map((letter, block) => (letter === 'z' ? 0 : block + 1));
        const length = await lengthWith(bytes.filter((byte) => byte !== 0).length);
        expect(await found(bench)).to.deep.equal({ errors: 0, leaks: 0, bytes, length });
      });
    }

    describe('may be broken off while they are filled', () => {
      const zero = driver === 'parallels' ? '.z.zz.zz' : 'z.z..z.z';
      const content = [...zero].map((letter, block) => (letter === 'z' ? 0 : block + 1));

      /** Copies, flushes, and closes the image; `start` is called before that, with the number of requests so far. */
      const closed = async (host: SimHost, start: (requests: number) => void): Promise<void> => {
        const graph = new Graph(host);
        const node = await used(openNode(graph, '/a', { format: driver }));
        await copy(node, blockBytes, zero);
        await node.flush();
        start(host.requests);
        await graph.closeAll();
      };
      /** What was flushed is there, before a repair and after it; then nothing is wrong. */
      const expectWhole = async (host: SimHost, what: string): Promise<void> => {
        const bench: Bench = { host, graph: new Graph(host), warnings: [] };
        const left = await found(bench);
        expect(left.bytes, what).to.deep.equal(content);
        const options = { driver, file: { driver: 'file', filename: '/a' } } as ImageOptions;
        const { result } = await repairImage(bench.graph, options, 'all', {}, () => undefined);
        expect([result.after.corruptions, result.after.leaks], what).to.deep.equal([0, 0]);
        expect(await found(bench), what).to.deep.include({ errors: 0, leaks: 0, bytes: content });
      };

      it('by a loss of power, at every request', async () => {
        const { host: made } = await make();
        let losses = 0;
        for (let n = 1; ; n += STRIDE) {
          const host = made.fork({ seed: n * 7 });
          const end = await host
            .run(closed(host, (requests) => host.setFaults({ powerLossAt: requests + n })))
            .catch((error: unknown) => error);
          if (end === undefined) break;
          expect(end, `request ${n}`).to.be.instanceOf(SimPowerLoss);
          losses++;
          const after = host.crash({ eager: true });
          await after.run(expectWhole(after, `power loss at request ${n}`));
        }
        expect(losses).to.be.greaterThan(1);
      });

      for (const errno of ['EIO', 'ENOSPC']) {
        it(`by ${errno}, at every call`, async () => {
          const { host: made } = await make();
          for (let n = 1, hit = true; hit; n += STRIDE) {
            hit = false;
            let seen = Number.NEGATIVE_INFINITY;
            const host = made.fork({
              onRequest: ({ operation }) => {
                if (errno === 'ENOSPC' && !['write', 'truncate', 'allocate'].includes(operation)) return undefined;
                if (++seen !== n) return undefined;
                hit = true;
                return { errno };
              },
            });
            const start = (): void => {
              seen = 0;
            };
            const error = await host.run(closed(host, start)).then(() => null, toBlockError);
            if (error !== null) expect(error.code, `${errno} at call ${n}`).to.be.oneOf(['io', 'no-space']);
            const after = host.fork({ eager: true });
            await after.run(expectWhole(after, `${errno} at call ${n}`));
          }
        });
      }
    });

    it('stay where they are while the image is read-only, where a located read may still go to a block, and are filled when it is closed', async () => {
      const bench = await make();
      const node = await openNode(bench.graph, '/a', { format: driver });
      const writer = linkTo(node);
      await copy(node, blockBytes, 'z.z.z...');
      node.detach(writer);
      const place = async () => (await node.blockStatus(7 * blockBytes, blockBytes)).offset;
      const before = await place();
      await node.reopen(true);
      expect(await place()).to.equal(before);
      await node.reopen(false);
      linkTo(node);
      await node.write(0, new Uint8Array(blockBytes).fill(9));
      expect(await firstBytes(node, blockBytes, 8)).to.deep.equal([9, 2, 0, 4, 0, 6, 7, 8]);
      await bench.graph.closeAll();
      const { errors, leaks, bytes } = await found(bench);
      expect({ errors, leaks, bytes }).to.deep.equal({ errors: 0, leaks: 0, bytes: [9, 2, 0, 4, 0, 6, 7, 8] });
    });
  });
}

for (const [driver, blockBytes, options] of [
  ['vmdk', STEP, {}],
  ['qcow', STEP, {}],
  ['vpc', 2 * MIB, { 'force-size': true }],
  ['vhdx', MIB, { 'block-size': MIB }],
] as const) {
  it(`blocks of a ${driver} image that a copy gave back take no space once the image is closed`, async () => {
    const zero = 'z.z..z.z';
    const allocated = async (fill: (node: BlockNode) => Promise<void>): Promise<number> => {
      const bench = makeBench();
      await createImage(bench.graph, '/a', { driver, size: 8 * blockBytes, ...options } as never);
      await fill(await used(openNode(bench.graph, '/a', { format: driver })));
      await bench.graph.closeAll();
      const node = await openNode(bench.graph, '/a', { format: driver, readOnly: true });
      const bytes = [...zero].map((letter, block) => (letter === 'z' ? 0 : block + 1));
      expect(await firstBytes(node, blockBytes, 8)).to.deep.equal(bytes);
      await bench.graph.closeAll();
      return (await bench.host.stat('/a')).allocated;
    };
    const plain = await allocated(async (node) => {
      for (const [block, letter] of [...zero].entries()) {
        if (letter === 'z') continue;
        await node.write(block * blockBytes, new Uint8Array(blockBytes).fill(block + 1));
      }
    });
    const copied = await allocated((node) => copy(node, blockBytes, zero));
    expect(copied - plain).to.be.lessThan(blockBytes);
  });
}
