// Transactions: what a failure leaves is what was there, bit for bit; what succeeds is of one moment.

import { expect } from 'chai';
import { createImage } from '../../src/block/create.js';
import { Device, rootOf } from '../../src/block/device.js';
import { bitmapOf } from '../../src/block/find-bitmap.js';
import type { BlockNode } from '../../src/block/node/node.js';
import { openNode } from '../../src/block/open.js';
import { backupJob } from '../../src/jobs/backup.js';
import { JobManager } from '../../src/jobs/manager.js';
import { beginJobs } from '../../src/jobs/start.js';
import { JobTransaction } from '../../src/jobs/transaction.js';
import { BlockError } from '../../src/util/errors.js';
import {
  addingBitmap,
  changingBitmap,
  mergingBitmaps,
  puttingOverlay,
  removingBitmap,
  startingJobs,
  takingSnapshot,
} from '../../src/workspace/actions.js';
import { addBitmap } from '../../src/workspace/bitmap.js';
import { type Action, type Prepared, runTransaction } from '../../src/workspace/transaction.js';
import { contentOf } from '../block/support.js';
import { type Bench, failureOf, makeBench, pattern } from '../drivers/support.js';

const SIZE = 1 << 20;

interface World {
  bench: Bench;
  node: BlockNode;
  drive: Device;
}

async function makeWorld(): Promise<World> {
  const bench = makeBench();
  await createImage(bench.graph, '/top.qcow2', { driver: 'qcow2', size: SIZE });
  const node = await openNode(bench.graph, '/top.qcow2', { nodeName: 'top' });
  const drive = new Device(node, { name: 'disk', writable: true });
  await drive.write(0, pattern(SIZE));
  return { bench, node, drive };
}

const of = (node: BlockNode, prepare: () => Prepared | Promise<Prepared>): Action => ({ nodes: [node], prepare });
const failing = (node: BlockNode): Action =>
  of(node, () => {
    throw new BlockError('cancelled', 'this one fails');
  });

/** Bits and states of all bitmaps. */
function statesOf({ bitmaps }: BlockNode): unknown[] {
  return [...bitmaps].map(([name, bitmap]) => {
    const runs: object[] = [];
    for (let run = bitmap.nextDirtyRun(0); run !== undefined; run = bitmap.nextDirtyRun(run.offset + run.length))
      runs.push(run);
    return { name, runs, recording: bitmap.recording, busy: bitmap.busy, granularity: bitmap.granularity };
  });
}

async function expectFailure({ bench }: World, ...actions: Action[]): Promise<void> {
  expect(await failureOf(runTransaction(bench.graph, actions))).to.include({ reason: 'this one fails' });
}

describe('a transaction that fails', () => {
  let world: World;

  beforeEach(async () => {
    world = await makeWorld();
    const { node, drive } = world;
    addBitmap(node, 'on', { granularity: 512 });
    addBitmap(node, 'off', { granularity: 4096, enabled: false });
    await drive.write(3000, pattern(5000));
    bitmapOf(node, 'off').set(65536, 4096);
  });

  afterEach(() => world.bench.graph.closeAll());

  it('leaves every bit and every state of the bitmaps', async () => {
    const { node, drive } = world;
    const before = statesOf(node);
    const bitmap = (name: string) => bitmapOf(node, name);
    await expectFailure(
      world,
      of(node, () => addingBitmap(node, 'new', {})),
      of(node, () => mergingBitmaps(bitmap('off'), [bitmap('on')])),
      of(node, () => changingBitmap(bitmap('on'), (one) => one.clear())),
      of(node, () => changingBitmap(bitmap('on'), (one) => one.disable())),
      of(node, () => changingBitmap(bitmap('off'), (one) => one.enable())),
      of(node, () => changingBitmap(bitmap('off'), (one) => one.clear())),
      of(node, () => removingBitmap(node, 'on')),
      failing(node),
    );
    expect(statesOf(node)).to.deep.equal(before);
    await drive.write(SIZE - 512, pattern(512));
    expect(bitmap('on').get(SIZE - 512)).to.equal(true);
    expect(bitmap('off').get(SIZE - 512)).to.equal(false);
  });

  it('puts nodes back, closes the overlays, and removes the files that it made', async () => {
    const { bench, node, drive } = world;
    await createImage(bench.graph, '/over.qcow2', { driver: 'qcow2', size: SIZE });
    const overlay = await openNode(bench.graph, '/over.qcow2', { nodeName: 'over', backing: false });
    const before = await contentOf(node);
    const names = [...bench.graph.nodes.keys()];
    await expectFailure(
      world,
      of(node, () => puttingOverlay(bench.graph, { node, overlay })),
      of(node, () =>
        takingSnapshot(bench.graph, {
          node: overlay,
          'snapshot-file': '/second.qcow2',
          'snapshot-node-name': 'second',
        }),
      ),
      failing(node),
    );
    expect(rootOf(drive).node).to.equal(node);
    expect(node.readOnly).to.equal(false);
    expect([...bench.graph.nodes.keys()]).to.deep.equal(names);
    expect(await failureOf(bench.host.stat('/second.qcow2'))).to.include({ code: 'not-found' });
    expect(await contentOf(node)).to.deep.equal(before);
    await drive.write(0, pattern(4096));
  });

  it('leaves no job, and no node blocked', async () => {
    const { bench, node } = world;
    await createImage(bench.graph, '/target.qcow2', { driver: 'qcow2', size: SIZE });
    await openNode(bench.graph, '/target.qcow2', { nodeName: 'target' });
    const manager = new JobManager(bench.host.clock);
    const env = { graph: bench.graph, manager };
    const seen: string[] = [];
    manager.events.onAny(({ data }) => 'status' in data && seen.push(data.status));
    const args = { 'job-id': 'j', device: 'top', target: 'target', sync: 'full' as const, bitmap: 'on' };
    const words = { ...args, 'bitmap-mode': 'always' as const };
    const before = statesOf(node);
    const starting = of(node, async () =>
      startingJobs(await beginJobs(env, backupJob, [words], new JobTransaction('individual'))),
    );
    await expectFailure(world, starting, failing(node));
    expect(manager.list()).to.deep.equal([]);
    expect(seen).to.deep.equal(['created', 'aborting', 'concluded', 'null']);
    expect(statesOf(node)).to.deep.equal(before);
    await runTransaction(bench.graph, [starting]);
    await manager.get('j').done;
  });
});

describe('a transaction', () => {
  it('is of one moment: nobody writes between its actions', async () => {
    const world = await makeWorld();
    const { bench, node, drive } = world;
    const order: string[] = [];
    let writing: Promise<void> | undefined;
    await runTransaction(bench.graph, [
      of(node, () => {
        const prepared = addingBitmap(node, 'm', { granularity: 512 });
        writing = drive.write(0, pattern(512)).then(() => void order.push('written'));
        return prepared;
      }),
      of(node, async () => {
        await bench.graph.host.stat('/top.qcow2');
        return { commit: () => order.push('committed') };
      }),
    ]);
    await writing;
    expect(order).to.deep.equal(['committed', 'written']);
    expect(bitmapOf(node, 'm').dirtyBytes).to.equal(512);
    await bench.graph.closeAll();
  });
});
