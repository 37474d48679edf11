// Seeded mutations of headers and tables, and cuts of the file: whatever an image holds, opening, reading, mapping, checking
// and writing it ends in bounded time and memory, with a result or with one clear error.

import { copyFileSync, readFileSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { Graph } from '../../src/block/graph.js';
import { mapEntries } from '../../src/block/map.js';
import type { BlockNode } from '../../src/block/node/node.js';
import { openNode } from '../../src/block/open.js';
import { BlockError } from '../../src/util/errors.js';
import { repairImage } from '../../src/workspace/check.js';
import { readNode } from '../drivers/support.js';
import { requirePeer } from '../support/peers.js';
import { seedsOf, spanOf, timeLimit } from '../support/sample.js';
import { seeded } from './chain-maker.js';
import { FIRST_SEED, qemuImg, useBench } from './support.js';

const SEEDS = seedsOf({ first: FIRST_SEED, fixed: 120, daily: 40, soak: 5000 });
const TIME_LIMIT_MS = 10_000;
/** Growth of the process, which holds what earlier tests left. */
const MEMORY_LIMIT_BYTES = 300 << 20;
const SAMPLE_BYTES = 4 << 20;

/** Options of `qemu-img convert -O qcow2`, one image each. */
const KINDS = [
  [],
  ['-o', 'compat=0.10,cluster_size=4k'],
  ['-o', 'cluster_size=512'],
  ['-o', 'cluster_size=2M,refcount_bits=64'],
  ['-c'],
  ['-c', '-o', 'compression_type=zstd,cluster_size=16k'],
  ['-o', 'refcount_bits=1,cluster_size=1k'],
  ['-o', 'extended_l2=on,cluster_size=16k'],
];

/** Offsets that are worth breaking: header fields, and the tables that they point to. */
function targets(image: Buffer): [number, number][] {
  const at = (offset: number) => Number(image.readBigUInt64BE(offset));
  const cluster = 2 ** image.readUInt32BE(20);
  const l1 = at(40);
  const refcountTable = at(48);
  const found: [number, number][] = [
    [0, 112],
    [104, 512],
    [l1, l1 + 8 * image.readUInt32BE(36)],
    [refcountTable, refcountTable + 64],
  ];
  const l2 = Number(image.readBigUInt64BE(l1) & 0x00fffffffffffe00n);
  if (l2 > 0) found.push([l2, l2 + cluster]);
  const block = at(refcountTable);
  if (block > 0) found.push([block, block + Math.min(cluster, 512)]);
  return found.map(([start, end]) => [start, Math.min(end, image.length)]);
}

function mutate(image: Buffer, random: (below: number) => number): void {
  const places = targets(image);
  for (let count = 1 + random(4); count > 0; count--) {
    const [start, end] = places[random(places.length)];
    if (end - start < 8) continue;
    const at = start + random(end - start);
    switch (random(5)) {
      case 0:
        image[at] ^= 1 << random(8);
        break;
      case 1:
        image.fill(0xff, at, Math.min(at + 8, image.length));
        break;
      case 2:
        image.fill(0, at & ~7, Math.min((at & ~7) + 8, image.length));
        break;
      case 3:
        if ((at & ~7) + 8 <= image.length) image.writeBigUInt64BE(BigInt(random(2 ** 31)) * 512n, at & ~7);
        break;
      default:
        image[at] = random(256);
    }
  }
}

/** Everything that a user may do with an image; sizes that a mutation made huge are only sampled. */
async function exercise(graph: Graph, path: string): Promise<void> {
  const use = async (action: (node: BlockNode) => Promise<void>, readOnly: boolean) => {
    const node = await openNode(graph, path, { format: 'qcow2', readOnly, discard: 'unmap' });
    await tolerate(() => action(node));
    await graph.release(node);
  };
  await tolerate(() => use((node) => sample(node), true));
  await tolerate(() =>
    use(async (node) => {
      let entries = 0;
      for await (const _ of mapEntries(node, 0, node.length)) if (++entries > 20_000) break;
    }, true),
  );
  await tolerate(() => use(async (node) => void (await node.abilities.check?.(() => {})), true));
  await tolerate(() =>
    use(async (node) => {
      const data = Buffer.alloc(10_000, 0x5a);
      await tolerate(() => node.write(Math.max(0, Math.min(node.length, 70_000) - data.length), data));
      await tolerate(() => node.writeZeroes(0, Math.min(node.length, 4096)));
      await tolerate(() => node.discard(0, Math.min(node.length, 1 << 20)));
      await node.flush();
    }, false),
  );
  await tolerate(async () => {
    const { result } = await repairImage(graph, path, 'all', { format: 'qcow2' }, () => {});
    const { checkErrors, corruptions, leaks } = result.after;
    expect([checkErrors, corruptions, leaks], 'after a repair').to.deep.equal([0, 0, 0]);
  });
}

async function sample(node: BlockNode): Promise<void> {
  const buffer = Buffer.alloc(Math.min(node.length, SAMPLE_BYTES));
  await tolerate(() => readNode(node, 0, buffer));
  await tolerate(() => readNode(node, node.length - buffer.length, buffer));
}

/** A `BlockError` is a fair answer to a broken image; our own mistake is not. */
async function tolerate(action: () => Promise<void>): Promise<void> {
  try {
    await action();
  } catch (error) {
    if (!(error instanceof BlockError) || error.code === 'internal') throw error;
    expect(error.message).to.match(/\S/);
    expect(error.message.length).to.be.below(2000);
  }
}

describe('broken images', function () {
  this.timeout(timeLimit(600_000));
  const bench = useBench('mutations');

  before(function () {
    requirePeer(this, 'qemu-img');
  });

  it(`end with one clear error, in bounded time and memory (${spanOf(SEEDS)})`, async () => {
    const source = join(bench.folder, 'source.raw');
    const random = seeded(FIRST_SEED);
    const content = Buffer.alloc(3 << 20);
    for (let at = 0; at < content.length; at += 4096) {
      if (random(3) > 0) content.fill(1 + random(255), at, at + 2000 + random(2000));
    }
    writeFileSync(source, content);
    const images = KINDS.map((words, kind) => {
      const path = join(bench.folder, `kind${kind}.qcow2`);
      qemuImg('convert', '-f', 'raw', '-O', 'qcow2', ...words, source, path);
      return path;
    });
    const path = join(bench.folder, 'mutated.qcow2');
    const residentBefore = process.memoryUsage().rss;
    for (const seed of SEEDS) {
      const choose = seeded(seed);
      copyFileSync(images[choose(images.length)], path);
      if (choose(5) === 0) {
        truncateSync(path, choose(statSync(path).size));
      } else {
        const image = readFileSync(path);
        mutate(image, choose);
        writeFileSync(path, image);
      }
      const graph = new Graph(bench.host);
      const before = performance.now();
      try {
        await exercise(graph, path);
      } catch (error) {
        throw new Error(`seed ${seed}: ${(error as Error).stack}`);
      } finally {
        await graph.closeAll().catch((error) => expect(error).to.be.instanceOf(BlockError));
      }
      expect(performance.now() - before, `seed ${seed}: time`).to.be.below(TIME_LIMIT_MS);
      const growth = process.memoryUsage().rss - residentBefore;
      expect(growth, `seed ${seed}: memory`).to.be.below(MEMORY_LIMIT_BYTES);
    }
  });
});
