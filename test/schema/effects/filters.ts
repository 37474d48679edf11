// What the options of throttle, copy-on-read and preallocate do.

import { expect } from 'chai';
import { createImage } from '../../../src/block/create.js';
import type { BlockNode } from '../../../src/block/node/node.js';
import { openNode } from '../../../src/block/open.js';
import { validate } from '../../../src/schema/validate.js';
import { type Bench, used } from '../../drivers/support.js';
import { type Effects, file, opened, PATH, refusedOpen, SIZE, withFile } from './kit.js';

/** How long it takes until two writes of 64 KiB are answered. */
async function msOfWrites(bench: Bench, node: BlockNode): Promise<number> {
  const start = bench.host.clock.now();
  for (let i = 0; i < 2; i++) await node.write(0, new Uint8Array(65536));
  return bench.host.clock.now() - start;
}

async function withGroup(): Promise<Bench> {
  const bench = withFile();
  await bench.graph.objects.add('throttle-group,id=g,limits.bps-write=65536');
  return bench;
}

const throttle = (own: object = {}) => ({ driver: 'throttle', 'throttle-group': 'g', file: file(), ...own });
const preallocate = (own: object = {}) => ({ driver: 'preallocate', file: file(), ...own });

/** Bytes of the file when a filter over it has grown by 1 KiB. */
async function grown(own: object): Promise<number> {
  const bench = withFile();
  const node = await opened(bench, preallocate(own));
  await node.truncate(SIZE + 1024);
  return bench.host.readFile(PATH).length;
}

/** A layer of nothing over `file`, read through the filter: what of it the layer holds then. */
async function copied(own: object): Promise<boolean> {
  const bench = withFile();
  bench.host.writeFile('/top', new Uint8Array(0));
  await createImage(bench.graph, '/top', { driver: 'qcow2', size: SIZE, 'backing-file': PATH, 'backing-fmt': 'raw' });
  const open = (options: object) => openNode(bench.graph, validate('BlockdevOptions', options));
  await open({ driver: 'raw', 'node-name': 'base', file: file(), 'read-only': true });
  const top = await open({
    driver: 'qcow2',
    'node-name': 'top',
    backing: 'base',
    file: { driver: 'file', filename: '/top' },
  });
  const filter = await used(open({ driver: 'copy-on-read', file: 'top', ...own }));
  await filter.read(0, new Uint8Array(512));
  return (await top.blockStatus(0, 512)).allocated;
}

export const filters: Effects = {
  'BlockdevOptionsThrottle.throttle-group': [
    'is where the limits are',
    async () => {
      const bench = await withGroup();
      expect(await msOfWrites(bench, await opened(bench, throttle()))).to.be.closeTo(900, 100);
      await refusedOpen(
        await withGroup(),
        throttle({ 'throttle-group': 'none' }),
        /Throttle group 'none' does not exist/,
      );
    },
  ],
  'BlockdevOptionsThrottle.file': [
    'is what is read',
    async () =>
      expect((await opened(await withGroup(), throttle())).children.get('file')!.node.driver).to.equal('file'),
  ],
  'BlockdevOptionsCor.file': ['gets what is read from below', async () => expect(await copied({})).to.equal(true)],
  'BlockdevOptionsCor.bottom': [
    'is the lowest layer whose content is copied',
    async () => {
      expect(await copied({ bottom: 'base' })).to.equal(true);
      expect(await copied({ bottom: 'top' })).to.equal(false);
    },
  ],
  'BlockdevOptionsPreallocate.file': [
    'is what grows',
    async () => expect(await grown({ 'prealloc-size': 0, 'prealloc-align': 512 })).to.equal(SIZE + 1024),
  ],
  'BlockdevOptionsPreallocate.prealloc-size': [
    'is how much is allocated ahead',
    async () => {
      expect(await grown({ 'prealloc-size': 1 << 20, 'prealloc-align': 512 })).to.equal(2 * SIZE + 1024);
      await refusedOpen(withFile(), preallocate({ 'prealloc-size': -1 }), /expects a non-negative number/);
    },
  ],
  'BlockdevOptionsPreallocate.prealloc-align': [
    'is what the end is rounded up to',
    async () => {
      expect(await grown({ 'prealloc-size': 0, 'prealloc-align': 65536 })).to.equal(SIZE + 65536);
      await refusedOpen(withFile(), preallocate({ 'prealloc-align': 1000 }), /is not aligned to 512/);
    },
  ],
};
