// Another program resizes the file of an image after it was opened, and before the node has its lock: what is opened has the new size. An image that was opened
// without a lock is refused to whoever wants one later.

import { expect } from 'chai';
import { createImage } from '../../src/block/create.js';
import { Graph } from '../../src/block/graph.js';
import { openNode } from '../../src/block/open.js';
import { PERM_ALL, Perm } from '../../src/block/types.js';
import { registerDrivers } from '../../src/drivers/index.js';
import { ImageLocks } from '../../src/drivers/protocols/file/locks.js';
import { createSimHost, type SimHost } from '../../src/host/sim/index.js';
import type { ImageOptions } from '../../src/schema/options.js';
import { BlockError } from '../../src/util/errors.js';
import { openToRead } from '../../src/workspace/open.js';
import { failureOf, linkTo } from './support.js';

const PATH = '/image';
const HEADER = '/header';
const KIB = 1024;
const file = { driver: 'file', filename: PATH } as const;
const luks = { driver: 'luks', 'key-secret': 's' } as const;

/** How each is opened, and made with 64 KiB. */
const KINDS: Record<string, { open: ImageOptions; make: object }> = {
  raw: { open: { driver: 'raw', file }, make: { driver: 'raw' } },
  luks: { open: { ...luks, file }, make: { ...luks, 'iter-time': 1 } },
  'luks with a detached header': {
    open: { ...luks, file, header: { driver: 'file', filename: HEADER } },
    make: { ...luks, 'iter-time': 1, header: { driver: 'file', filename: HEADER } },
  },
};

async function graphOn(host: SimHost): Promise<Graph> {
  registerDrivers();
  const graph = new Graph(host);
  await graph.objects.add({ 'qom-type': 'secret', id: 's', data: 'password' });
  return graph;
}

/** As another program does it, with its lock; false where somebody else has the image. */
async function grow(host: SimHost, by: number): Promise<boolean> {
  const opened = await host.open(PATH, { writable: true });
  try {
    new ImageLocks(opened).set(Perm.WRITE | Perm.RESIZE, PERM_ALL & ~(Perm.CONSISTENT_READ | Perm.WRITE_UNCHANGED));
    await opened.truncate((await opened.size()) + by);
    return true;
  } catch (error) {
    if (error instanceof BlockError && error.code === 'locked') return false;
    throw error;
  } finally {
    await opened.close();
  }
}

describe('an image whose file is resized while it is opened', () => {
  for (const [name, { open, make }] of Object.entries(KINDS)) {
    it(`${name}: has the size that is there once the lock is held`, async () => {
      const made = createSimHost();
      await createImage(await graphOn(made), PATH, { size: 64 * KIB, ...make } as never);
      let changed = 0;
      for (let steps = 0; steps < 300; steps += name === 'raw' ? 5 : 20) {
        const host = made.fork();
        const graph = await graphOn(host);
        const opening = openToRead(graph, open, {}, 'copy').catch((error: unknown) => error);
        for (let step = 0; step < steps; step++) await null;
        const isChanged = await grow(host, 4 * KIB);
        const node = await opening;
        if (node instanceof BlockError) expect(node.code, `after ${steps} steps`).to.equal('locked');
        else {
          if (isChanged) changed++;
          const { length } = node as Awaited<ReturnType<typeof openToRead>>;
          expect(length, `after ${steps} steps`).to.equal((isChanged ? 68 : 64) * KIB);
        }
        await graph.closeAll();
      }
      expect(changed).to.be.above(0);
    });
  }

  it('is refused to a user who comes later, where nobody kept others from it', async () => {
    const host = createSimHost();
    host.writeFile(PATH, new Uint8Array(64 * KIB));
    const node = await openNode(await graphOn(host), KINDS.raw.open);
    expect(await grow(host, 512)).to.equal(true);
    const alone = async () => node.attach({ userName: 'test' }, 'root', Perm.CONSISTENT_READ, 0);
    const refused = await failureOf(alone());
    expect([refused.code, refused.message]).to.deep.equal([
      'locked',
      `${PATH}: The image was changed by another program while it was being opened`,
    ]);
    expect(await grow(host, 512), 'the lock is given back').to.equal(true);
    linkTo(node, Perm.CONSISTENT_READ);
    await node.graph.closeAll();
  });
});
