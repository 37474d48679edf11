// Compact beside each other change of the same image: of the driver, where both run, and of the library, which may refuse the second one. Whatever becomes of each, the
// disk and its snapshots read as they must, and nothing contradicts itself.

import { expect } from 'chai';
import { createImage } from '../../src/block/create.js';
import { Graph } from '../../src/block/graph.js';
import type { BlockNode } from '../../src/block/node/node.js';
import { openNode } from '../../src/block/open.js';
import { registerDrivers } from '../../src/drivers/index.js';
import { createSimHost, type SimHost } from '../../src/host/sim/index.js';
import { type Image, type Job, Workspace } from '../../src/index.js';
import { BlockError } from '../../src/util/errors.js';
import { addStoredBitmap, removeStoredBitmap } from '../../src/workspace/bitmap.js';
import { readClusters, verifyQcow2 } from './verify-qcow2.js';

const PATH = '/disk.qcow2';
const CLUSTER = 4096;
const COUNT = 48;
const SIZE = COUNT * CLUSTER;
const SEEDS = [1, 2];

/** By cluster: what the disk holds, and what the snapshot does. */
const DISK = Array.from({ length: COUNT }, (_, i) => (i % 3 === 0 ? 0 : 100 + i));
const KEPT = Array.from({ length: COUNT }, (_, i) => 1 + i);

/** An image with free places before most of what it holds, a snapshot and a bitmap. */
async function prepare(host: SimHost): Promise<void> {
  const graph = new Graph(host);
  await createImage(graph, PATH, { driver: 'qcow2', size: SIZE, 'cluster-size': CLUSTER });
  const node = await openNode(graph, PATH, { format: 'qcow2', readOnly: false, discard: 'unmap' });
  const fill = async (values: readonly number[]): Promise<void> => {
    for (const [i, value] of values.entries())
      if (value === 0) await node.writeZeroes(i * CLUSTER, CLUSTER, { mayUnmap: true });
      else await node.write(i * CLUSTER, new Uint8Array(CLUSTER).fill(value));
  };
  const snapshots = node.abilities.snapshots!;
  await fill(Array.from({ length: COUNT }, () => 255));
  const first = await snapshots.create({ name: 'first' });
  await fill(KEPT);
  await snapshots.create({ name: 'kept' });
  await fill(DISK);
  await snapshots.remove(first.id);
  await addStoredBitmap(node, 'bits', { granularity: 4096, persistent: true });
  await graph.closeAll();
}

const control = { work: <T>(_bytes: number, action: () => Promise<T>) => action(), expect: () => undefined };

/** What the disk reads as where the change was made; undefined: as before. */
interface Change {
  after?: readonly number[];
  /** Of the driver. */
  run(node: BlockNode): Promise<unknown>;
}

const kept = (node: BlockNode): string => node.abilities.snapshots!.list()[0].id;

async function amend(node: BlockNode): Promise<void> {
  const prepared = await node.abilities.amend!.prepare({ 'refcount-bits': 64 });
  await prepared.before(() => undefined);
  await prepared.after(() => undefined);
}

const CHANGES: Readonly<Record<string, Change>> = {
  'a new snapshot': { run: (node) => node.abilities.snapshots!.create({ name: 'new' }) },
  'a snapshot that is applied': { after: KEPT, run: (node) => node.abilities.snapshots!.apply(kept(node)) },
  'a snapshot that goes': { run: (node) => node.abilities.snapshots!.remove(kept(node)) },
  'a smaller size': { after: DISK.slice(0, 20), run: (node) => node.truncate(20 * CLUSTER) },
  'a larger size': { after: [...DISK, 0, 0, 0], run: (node) => node.truncate((COUNT + 3) * CLUSTER) },
  'other refcounts': { run: amend },
  'a new bitmap': { run: (node) => addStoredBitmap(node, 'more', { granularity: 512, persistent: true }) },
  'a bitmap that goes': { run: (node) => removeStoredBitmap(node, 'bits') },
  'another compact': { run: (node) => node.abilities.compact!({}, control) },
  'a dry run': { run: (node) => node.abilities.compact!({ dryRun: true }, control) },
  'a repair': { run: (node) => node.abilities.repair!('all', () => undefined) },
  "the machine's state": { run: (node) => node.abilities.snapshots!.writeVmState(0, new Uint8Array(9000).fill(7)) },
};

function expectContent(host: SimHost, path: string, allowed: readonly (readonly number[])[], what: string): void {
  const file = host.readFile(path);
  const report = verifyQcow2(file);
  expect(report.errors, what).to.deep.equal([]);
  const read = (clusters: Parameters<typeof readClusters>[2]): number[] => {
    const bytes = readClusters(file, report, clusters, new Uint8Array(0));
    return Array.from({ length: bytes.length / CLUSTER }, (_, i) => {
      const part = bytes.subarray(i * CLUSTER, (i + 1) * CLUSTER);
      return part.every((byte) => byte === part[0]) ? part[0] : -1;
    });
  };
  expect(allowed.map(String), what).to.include(String(read(report)));
  for (const one of report.snapshots) {
    if (one.name === 'kept') expect(read(one), what).to.deep.equal(KEPT);
  }
}

/** Codes of what was refused; anything else that goes wrong is thrown. */
function refused(results: readonly PromiseSettledResult<unknown>[]): (string | null)[] {
  return results.map((one) => {
    if (one.status === 'fulfilled') return null;
    const { reason } = one;
    if (reason instanceof BlockError && ['busy', 'permission'].includes(reason.code)) return reason.code;
    throw reason;
  });
}

describe('compact beside another change of the image', function () {
  this.timeout(60_000);
  let prepared: SimHost;

  before(async () => {
    registerDrivers();
    prepared = createSimHost({ seed: 1 });
    await prepared.run(prepare(prepared));
  });

  for (const [name, change] of Object.entries(CHANGES)) {
    it(`of the driver: ${name}`, async () => {
      for (const seed of SEEDS) {
        const host = prepared.fork({ seed });
        const graph = new Graph(host);
        const outcome: (string | null)[] = [];
        await host.run(async () => {
          const node = await openNode(graph, PATH, { format: 'qcow2', readOnly: false, discard: 'unmap' });
          const compact = (): Promise<unknown> => node.abilities.compact!({}, control);
          const both = seed % 2 === 0 ? [change.run(node), compact()] : [compact(), change.run(node)];
          outcome.push(...refused(await Promise.allSettled(both)));
          // Whichever was refused, another run does the rest.
          await compact();
          await graph.closeAll();
        });
        const said = `${name}, seed ${seed}: ${outcome.join(' ')}`;
        expect(outcome, said).to.include(null);
        const isMade = outcome[seed % 2 === 0 ? 0 : 1] === null;
        expectContent(host, PATH, [isMade && change.after !== undefined ? change.after : DISK], said);
        expect(verifyQcow2(host.readFile(PATH)).leaks, said).to.equal(0);
      }
    });
  }

  type Start = (workspace: Workspace, image: Image) => Promise<unknown>;
  const done = async (job: Promise<Job>): Promise<void> => (await job).done;
  const STARTS: Readonly<Record<string, Start>> = {
    'a new snapshot': (_, image) => image.createSnapshot('new'),
    'a snapshot that is applied': (_, image) => image.applySnapshot({ name: 'kept' }),
    'a snapshot that goes': (_, image) => image.deleteSnapshot({ name: 'kept' }),
    'another size': (_, image) => image.resize(SIZE + 3 * CLUSTER),
    'other refcounts': (_, image) => image.amend({ 'refcount-bits': 64 }),
    'another compact': (workspace, image) => done(workspace.compact(image)),
    'an overlay': (workspace, image) => workspace.snapshot(image, '/overlay.qcow2'),
    'a stream': (workspace, image) => done(workspace.stream(image)),
    'a backup': (workspace, image) => done(workspace.backup(image, '/copy.qcow2', { create: {} })),
    'a mirror': async (workspace, image) => {
      const job = await workspace.mirror(image, '/copy.qcow2', { create: {} });
      await job.ready();
      await job.complete();
      await job.done;
    },
  };
  const AFTER = [DISK, KEPT, [...DISK, 0, 0, 0]];

  for (const [name, start] of Object.entries(STARTS)) {
    it(`of the library: ${name}`, async () => {
      for (const seed of SEEDS) {
        const host = prepared.fork({ seed });
        const outcome: (string | null)[] = [];
        await host.run(async () => {
          const workspace = new Workspace(host);
          const image = await workspace.open(PATH);
          const compact = (): Promise<unknown> => done(workspace.compact(image));
          const both = seed % 2 === 0 ? [start(workspace, image), compact()] : [compact(), start(workspace, image)];
          outcome.push(...refused(await Promise.allSettled(both)));
          await image.close();
          await workspace.close();
        });
        const said = `${name}, seed ${seed}: ${outcome.join(' ')}`;
        expect(outcome, said).to.include(null);
        for (const path of [PATH, '/copy.qcow2']) if (host.exists(path)) expectContent(host, path, AFTER, said);
      }
    });
  }
});
