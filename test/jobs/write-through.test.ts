// Copies whose writes are durable when they are answered (`-t writethrough`): behind each request for the target comes a flush of its file.

import { expect } from 'chai';
import { createImage } from '../../src/block/create.js';
import type { BlockNode } from '../../src/block/node/node.js';
import { openNode } from '../../src/block/open.js';
import { JobManager } from '../../src/jobs/manager.js';
import { startCommit } from '../../src/workspace/commit.js';
import { convertImage } from '../../src/workspace/convert.js';
import { openToRead } from '../../src/workspace/open.js';
import { rebaseImage } from '../../src/workspace/rebase.js';
import { type Bench, linkTo, makeBench } from '../drivers/support.js';

const MIB = 1 << 20;
/** Pieces of data that lie apart: more than there are workers. */
const PIECES = 6;
const APART = 2 * MIB;
/** Bytes of one in the overlay; in the base, one is a MiB: a whole chunk of a copy. */
const PIECE = 64 << 10;

/** Requests to one file, from `begin` on. */
interface Counts {
  writes: number;
  flushes: number;
}

async function benchWith(path: string): Promise<{ bench: Bench; counts: Counts }> {
  const counts: Counts = { writes: 0, flushes: 0 };
  const bench = makeBench({
    onRequest: (request) => {
      if (request.path !== path) return undefined;
      if (request.operation === 'flush') counts.flushes++;
      if (request.operation === 'write') counts.writes++;
      return undefined;
    },
  });
  await createImage(bench.graph, '/base.raw', { driver: 'raw', size: PIECES * APART });
  const over = { driver: 'qcow2', size: PIECES * APART, 'backing-file': '/base.raw', 'backing-fmt': 'raw' } as const;
  await createImage(bench.graph, '/top.qcow2', over);
  // In the base behind those of the top, too: that is what a rebase copies.
  await fill(bench, '/base.raw', 'raw', 1, MIB, MIB);
  await fill(bench, '/top.qcow2', 'qcow2', 2, 0, PIECE);
  return { bench, counts };
}

async function fill(
  { graph }: Bench,
  path: string,
  format: string,
  seed: number,
  from: number,
  length: number,
): Promise<void> {
  const node = await openNode(graph, path, { format });
  const link = linkTo(node);
  for (let i = 0; i < PIECES; i++) await link.write(from + i * APART, new Uint8Array(length).fill(seed + i));
  node.detach(link);
  await graph.release(node);
}

async function flushesOf(path: string, action: (bench: Bench) => Promise<void>): Promise<number> {
  const { bench, counts } = await benchWith(path);
  counts.flushes = 0;
  await action(bench);
  return counts.flushes;
}

describe('writes that are durable when they are answered', () => {
  const cases: [string, string, (fua: boolean) => (bench: Bench) => Promise<void>][] = [
    ['convert', '/new.raw', (fua) => (bench) => converted(bench, fua)],
    ['rebase', '/top.qcow2', (fua) => (bench) => rebased(bench, fua)],
    ['commit', '/base.raw', (fua) => (bench) => committed(bench, { fua, empty: true })],
    ['commit of a top that is kept', '/base.raw', (fua) => (bench) => committed(bench, { fua })],
  ];

  for (const [name, path, action] of cases) {
    it(`${name}: each has a flush behind it`, async () => {
      const plain = await flushesOf(path, action(false));
      const through = await flushesOf(path, action(true));
      // The plan of a copy joins pieces to chunks, and one flush is enough for requests that were answered together.
      expect(through - plain, 'more flushes').to.be.within(1, 2 * PIECES);
    });
  }

  it('is the same content', async () => {
    const { bench } = await benchWith('/new.raw');
    await converted(bench, true);
    for (let i = 0; i < PIECES; i++) {
      expect(bench.host.readFile('/new.raw', i * APART, PIECE)).to.deep.equal(new Uint8Array(PIECE).fill(2 + i));
    }
  });
});

async function converted({ graph }: Bench, fua: boolean): Promise<void> {
  const source = await openToRead(graph, '/top.qcow2', { format: 'qcow2' }, 'copy');
  const create = (size: number) => ({ driver: 'raw', size }) as const;
  await convertImage(graph, { source, target: '/new.raw', format: 'raw', create, fua, sparseSize: 4096 });
}

async function rebased({ graph }: Bench, fua: boolean): Promise<void> {
  const image: BlockNode = await openNode(graph, '/top.qcow2', { format: 'qcow2' });
  await rebaseImage({ image, to: null, backing: null, fua });
  await graph.release(image);
}

async function committed({ graph }: Bench, how: { fua: boolean; empty?: boolean }): Promise<void> {
  const top = await openNode(graph, '/top.qcow2', { format: 'qcow2' });
  const job = await startCommit({ graph, manager: new JobManager(graph.host.clock) }, top, how);
  if (!how.empty) {
    await new Promise<void>((resolve) => job.on('BLOCK_JOB_READY', () => resolve()));
    await job.complete();
  }
  await job.done;
}
