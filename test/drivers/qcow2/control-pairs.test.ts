// Two operations that change an image as a whole, begun at the same time: both are done one after the other, or one is refused, and nothing is lost.

import { expect } from 'chai';
import { createNamedSnapshot, deleteInternalSnapshot } from '../../../src/block/snapshot-changes.js';
import type { Qcow2Node } from '../../../src/drivers/formats/qcow2/driver.js';
import { BlockError } from '../../../src/util/errors.js';
import { amendImage } from '../../../src/workspace/amend.js';
import { addStoredBitmap, removeStoredBitmap } from '../../../src/workspace/bitmap.js';
import { again, contentOf, type Fixture, findings, fresh } from './bench.js';

const SIZE = 1 << 18;

const OPERATIONS: Readonly<Record<string, (node: Qcow2Node) => Promise<unknown>>> = {
  'refcounts of 1 bit': (node) => amendImage(node, { 'refcount-bits': 1 }),
  'refcounts of 64 bits': (node) => amendImage(node, { 'refcount-bits': 64 }),
  'version 2': (node) => amendImage(node, { version: 'v2' }),
  'lazy refcounts': (node) => amendImage(node, { 'lazy-refcounts': true }),
  'a larger disk': (node) => amendImage(node, { size: SIZE * 2 }),
  'a new snapshot': (node) => createNamedSnapshot(node, 'new'),
  'a snapshot less': (node) => deleteInternalSnapshot(node, '1'),
  'a new bitmap': (node) => addStoredBitmap(node, 'new', { persistent: true, granularity: 4096 }),
  'a bitmap less': (node) => removeStoredBitmap(node, 'old'),
  'a repair': (node) => node.abilities.repair!('all', () => undefined),
  'a flush': (node) => node.flush(),
};
const NAMES = Object.keys(OPERATIONS);
/** How long the second one waits after the first: in turns of the event loop's queue. */
const STEPS = [0, 40];

/** An image with data in its first eighth, and with what the operations remove. */
async function prepared(operations: readonly string[]): Promise<Fixture & { node: Qcow2Node }> {
  const fixture = await fresh({ size: SIZE, 'cluster-size': 512 });
  const { node } = fixture;
  await node.write(0, new Uint8Array(SIZE / 8).fill(1));
  if (operations.includes('a snapshot less')) await createNamedSnapshot(node, 'old');
  if (operations.includes('a bitmap less')) {
    await addStoredBitmap(node, 'old', { persistent: true, granularity: 4096 });
  }
  await node.flush();
  return fixture;
}

async function settled(run: Promise<unknown>): Promise<BlockError | null> {
  try {
    await run;
    return null;
  } catch (error) {
    if (error instanceof BlockError && error.code !== 'internal' && error.code !== 'corrupt-image') return error;
    throw error;
  }
}

describe('qcow2: two changes of one image at once', () => {
  it('are done, each by itself', async () => {
    for (const [name, operation] of Object.entries(OPERATIONS)) {
      const { node, graph } = await prepared([name]);
      expect((await settled(operation(node)))?.message, name).to.equal(undefined);
      await graph.closeAll();
    }
  });

  for (const first of NAMES) {
    it(`${first}, and another`, async () => {
      for (const second of NAMES) {
        for (const steps of STEPS) {
          const context = `${first}, and after ${steps} steps ${second}`;
          const fixture = await prepared([first, second]);
          const { node } = fixture;
          const begun = settled(OPERATIONS[first](node));
          for (let step = 0; step < steps; step++) await null;
          await Promise.all([begun, settled(OPERATIONS[second](node))]);
          await node.write(SIZE / 16, new Uint8Array(SIZE / 8).fill(2));
          await node.flush();
          const reopened = await again(fixture);
          expect(await findings(reopened), context).to.deep.equal([]);
          const content = (await contentOf(reopened)).subarray(0, SIZE / 4);
          const expected = Buffer.alloc(SIZE / 4);
          expected.fill(1, 0, SIZE / 16).fill(2, SIZE / 16, (3 * SIZE) / 16);
          expect(Buffer.compare(content, expected), context).to.equal(0);
          await fixture.graph.closeAll();
        }
      }
    });
  }

  it('know, when it is their turn, whether a snapshot has another size than the disk', async () => {
    const { node, graph } = await fresh({ size: SIZE, 'cluster-size': 512 });
    const { id: small } = await createNamedSnapshot(node, 'small');
    await node.truncate(2 * SIZE);
    const { id: large } = await createNamedSnapshot(node, 'large');
    const said: string[] = [];
    const resizing = (id: string) => () => {
      said.push(`${id} begins`);
      return () => said.push(`${id} ends`);
    };
    const snapshots = node.abilities.snapshots!;
    // The second one has the disk's size when it is asked for, and no more when it is done.
    await Promise.all([small, large].map((id) => snapshots.apply(id, resizing(id))));
    expect(said).to.deep.equal(['1 begins', '1 ends', '2 begins', '2 ends']);
    expect(node.length).to.equal(2 * SIZE);
    await snapshots.apply(large, resizing('same size'));
    expect(said).to.have.length(4);
    await graph.closeAll();
  });
});
