// Another program changes the image after its header was read, and before the node has its lock: what is opened is the image as that program left it.

import { expect } from 'chai';
import { Graph } from '../../../src/block/graph.js';
import { PERM_ALL, Perm } from '../../../src/block/types.js';
import { ImageLocks } from '../../../src/drivers/protocols/file/locks.js';
import type { SimHost } from '../../../src/host/sim/index.js';
import { BlockError } from '../../../src/util/errors.js';
import { contentOf, createAt, makeFixture, openAt, PATH } from './bench.js';

const MIB = 1 << 20;

/** An image of this size that is full of `byte`. */
async function imageOf(size: number, byte: number): Promise<Buffer> {
  const fixture = makeFixture();
  await createAt(fixture, { size, 'cluster-size': 4096 });
  const node = await openAt(fixture);
  await node.write(0, new Uint8Array(size).fill(byte));
  await fixture.graph.closeAll();
  return Buffer.from(fixture.host.readFile(PATH));
}

/** As another program does it, with its lock; false where somebody else has the image. */
async function replaceContent(host: SimHost, image: Buffer): Promise<boolean> {
  const file = await host.open(PATH, { writable: true });
  try {
    new ImageLocks(file).set(Perm.WRITE | Perm.RESIZE, PERM_ALL & ~(Perm.CONSISTENT_READ | Perm.WRITE_UNCHANGED));
    await file.truncate(image.length);
    await file.write(0, image);
    return true;
  } catch (error) {
    if (error instanceof BlockError && error.code === 'locked') return false;
    throw error;
  } finally {
    await file.close();
  }
}

describe('qcow2: an image that is changed while it is opened', () => {
  for (const [name, readOnly] of [
    ['to be written', false],
    ['to be read', true],
  ] as const) {
    it(`is the one that is there once the lock is held, ${name}`, async () => {
      const [small, large] = [await imageOf(MIB, 1), await imageOf(2 * MIB, 2)];
      let changed = 0;
      for (let steps = 0; steps < 600; steps += 7) {
        const { host } = makeFixture();
        host.writeFile(PATH, small);
        const graph = new Graph(host);
        const opening = openAt({ host, graph }, { readOnly }).catch((error: unknown) => error);
        for (let step = 0; step < steps; step++) await null;
        const isChanged = await replaceContent(host, large);
        const node = await opening;
        if (node instanceof BlockError) expect(node.code, `after ${steps} steps`).to.equal('locked');
        else {
          if (isChanged) changed++;
          const image = node as Awaited<ReturnType<typeof openAt>>;
          const [size, byte] = isChanged ? [2 * MIB, 2] : [MIB, 1];
          expect(image.length, `after ${steps} steps`).to.equal(size);
          const content = await contentOf(image);
          expect(
            content.every((one) => one === byte),
            `after ${steps} steps`,
          ).to.equal(true);
        }
        await graph.closeAll();
      }
      expect(changed).to.be.above(0);
    });
  }
});
