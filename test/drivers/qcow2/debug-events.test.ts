// The events that qcow2 raises for a blkdebug node below it: each is raised where its algorithm comes to it, and an image whose request failed there
// is one that opens, with at worst leaked clusters.

import { expect } from 'chai';
import { createNode } from '../../../src/block/create.js';
import { Graph } from '../../../src/block/graph.js';
import type { BlockNode } from '../../../src/block/node/node.js';
import { openNode } from '../../../src/block/open.js';
import type { BlkdebugEvent, BlockdevOptions } from '../../../src/schema/generated/types.js';
import { BlockError } from '../../../src/util/errors.js';
import { type Bench, makeBench, pattern, used } from '../support.js';

const CLUSTER = 512;
const SIZE = 64 * 1024;
const EVENTS: readonly BlkdebugEvent[] = [
  'cluster_alloc',
  'cluster_alloc_bytes',
  'cluster_alloc_space',
  'cluster_free',
  'cow_read',
  'cow_write',
  'empty_image_prepare',
  'flush_to_disk',
  'flush_to_os',
  'l1_grow_activate_table',
  'l1_grow_alloc_table',
  'l1_grow_write_table',
  'l1_shrink_free_l2_clusters',
  'l1_shrink_write_table',
  'l1_update',
  'l2_alloc_write',
  'l2_load',
  'l2_update',
  'l2_update_compressed',
  'read_aio',
  'read_backing_aio',
  'read_compressed',
  'refblock_alloc',
  'refblock_alloc_hookup',
  'refblock_alloc_switch_table',
  'refblock_alloc_write',
  'refblock_alloc_write_blocks',
  'refblock_alloc_write_table',
  'refblock_load',
  'refblock_update',
  'refblock_update_part',
  'reftable_grow',
  'reftable_load',
  'write_aio',
  'write_compressed',
];

/** Of a block of one sector, none is written in part. */
const clusterFor = (event: BlkdebugEvent) => (event === 'refblock_update_part' ? 4096 : CLUSTER);

async function makeImages(bench: Bench, clusterSize: number): Promise<void> {
  bench.host.writeFile('/base', pattern(SIZE / 2));
  const file = { driver: 'file', filename: '/image' } as const;
  await createNode(bench.graph, { ...file, size: 0 });
  const shape = { driver: 'qcow2', file, size: SIZE, 'cluster-size': clusterSize, 'refcount-bits': 64 } as const;
  await createNode(bench.graph, { ...shape, 'backing-file': '/base', 'backing-fmt': 'raw' });
}

/** `cache`: of so few tables that they are read again and again. */
const options = (own: object): BlockdevOptions =>
  ({
    driver: 'qcow2',
    discard: 'unmap',
    'l2-cache-size': 2 * CLUSTER,
    'refcount-cache-size': 4 * CLUSTER,
    file: {
      driver: 'blkdebug',
      'node-name': 'debug',
      discard: 'unmap',
      image: { driver: 'file', filename: '/image' },
      ...own,
    },
  }) as never;

/** All that an image goes through; what fails is left out. */
const stepsWith = (large: number): readonly ((node: BlockNode) => Promise<unknown>)[] => [
  (node) => node.read(100, new Uint8Array(5000)),
  (node) => node.write(1000, pattern(3000, 2)),
  (node) => node.flush(),
  (node) => node.write(16 * CLUSTER, pattern(4 * CLUSTER, 3).fill(7), { compressed: true }),
  (node) => node.read(16 * CLUSTER, new Uint8Array(4 * CLUSTER)),
  (node) => node.write(40 * CLUSTER, pattern(24 * CLUSTER, 4)),
  (node) => node.flush(),
  (node) => node.write(40 * CLUSTER + 9, pattern(9, 5)),
  (node) => node.discard(40 * CLUSTER, 10 * CLUSTER),
  (node) => node.flush(),
  (node) => node.read(0, new Uint8Array(SIZE)),
  (node) => node.truncate(SIZE * 64),
  (node) => node.write(SIZE * 2, pattern(large, 6)),
  (node) => node.flush(),
  (node) => node.truncate(SIZE),
  (node) => node.makeEmpty(),
  (node) => node.flush(),
];

/** `backing: null` is needed for space that is filled with zeroes. */
const ALONE: ReturnType<typeof stepsWith> = [
  (node) => node.truncate(SIZE * 2, { preallocation: 'full' }),
  (node) => node.flush(),
];

async function run(bench: Bench, event: BlkdebugEvent, seen: Set<BlkdebugEvent>): Promise<number> {
  const own = { 'inject-error': [{ event, once: true }] };
  // More clusters than the first refcount table counts.
  const steps = stepsWith(SIZE * (/^ref(table|block_alloc)/.test(event) ? 40 : 2));
  let failures = 0;
  const attempt = async <T>(action: Promise<T>): Promise<T | null> => {
    try {
      return await action;
    } catch (error) {
      if (!(error instanceof BlockError) || error.code === 'internal') throw error;
      failures++;
      return null;
    }
  };
  for (const [more, list] of [
    [{}, steps],
    [{ backing: null }, ALONE],
  ] as const) {
    const graph = new Graph(bench.host);
    const node = await attempt(used(openNode(graph, { ...options(own), ...more } as BlockdevOptions)));
    if (node !== null) {
      watch(graph.find('debug'), seen);
      for (const step of list) await attempt(step(node));
    }
    await attempt(graph.closeAll());
  }
  return failures;
}

/** What is raised from now on. */
function watch({ debugEvents }: BlockNode, seen: Set<BlkdebugEvent>): void {
  const raise = debugEvents!.raise.bind(debugEvents);
  debugEvents!.raise = (event) => {
    seen.add(event);
    return raise(event);
  };
}

async function corruptions(bench: Bench): Promise<number> {
  const graph = new Graph(bench.host);
  const node = await openNode(graph, options({}), { readOnly: true });
  const result = await node.abilities.check!(() => {});
  await graph.closeAll();
  return result.corruptions + result.checkErrors;
}

describe('qcow2: events for blkdebug', () => {
  for (const event of EVENTS) {
    it(`${event}: a request that fails there costs no more than itself`, async () => {
      const bench = makeBench();
      await makeImages(bench, clusterFor(event));
      const seen = new Set<BlkdebugEvent>();
      const failures = await run(bench, event, seen);
      expect(await corruptions(bench), 'corruptions').to.equal(0);
      // What a failed discard costs is nothing, as what a smaller disk does not give back.
      if (event === 'cluster_free' || event === 'l1_shrink_free_l2_clusters') expect([...seen]).to.include(event);
      else expect(failures, 'nothing failed').to.be.above(0);
    });
  }
});
