// What the runtime options of qcow2 do, but for its overlap checks.

import { expect } from 'chai';
import type { Bench } from '../../drivers/support.js';
import {
  another,
  createdQcow2,
  type Effects,
  opened,
  outcome,
  PATH,
  qcow2,
  refusedOpen,
  SIZE,
  withFile,
} from './kit.js';

const CLUSTER = 512;
/** One L2 table of so small clusters reaches that far. */
const L2_REACH = (CLUSTER / 8) * CLUSTER;

/** An image with all clusters written, of which the L2 tables are many. */
async function written(): Promise<Bench> {
  const bench = withFile();
  await createdQcow2(bench, { 'cluster-size': CLUSTER });
  const node = await opened(bench, qcow2());
  await node.write(0, new Uint8Array(SIZE).fill(7));
  await bench.graph.closeAll();
  return another(bench);
}

/** Reads of the disk that a walk over all L2 tables takes, the second time. */
async function readsAgain(own: object): Promise<number> {
  const bench = await written();
  const node = await opened(bench, qcow2(own));
  const walk = async (): Promise<number> => {
    const before = bench.host.count('read');
    for (let at = 0; at < SIZE; at += L2_REACH) await node.read(at, new Uint8Array(CLUSTER));
    return bench.host.count('read') - before;
  };
  await walk();
  return walk();
}

/** Reads of the disk that freeing clusters here and there takes. */
async function readsOfFreeing(own: object): Promise<number> {
  const bench = await written();
  const node = await opened(bench, qcow2({ discard: 'unmap', 'l2-cache-size': SIZE, ...own }));
  const before = bench.host.count('read');
  for (let round = 0; round < 3; round++) {
    for (let at = 0; at < SIZE; at += 4 * L2_REACH) {
      await node.discard(at + round * CLUSTER, CLUSTER);
      await node.flush();
    }
  }
  return bench.host.count('read') - before;
}

/** Holes in the file after a guest's discard, and after compressed clusters were written anew. */
async function holes(own: object): Promise<{ request: number; other: number }> {
  const bench = withFile();
  await createdQcow2(bench, { 'cluster-size': 4096 });
  const node = await opened(bench, qcow2({ discard: 'unmap', ...own }));
  const count = (): number => bench.host.count('punchHole') + bench.host.count('discard');
  await node.write(0, new Uint8Array(SIZE / 2).fill(1));
  await node.write(SIZE / 2, new Uint8Array(SIZE / 2).fill(1), { compressed: true });
  await node.flush();
  await node.discard(0, SIZE / 2);
  await node.flush();
  const request = count();
  await node.write(SIZE / 2, new Uint8Array(SIZE / 2).fill(2));
  await node.flush();
  return { request, other: count() - request };
}

export const qcow2Effects: Effects = {
  'BlockdevOptionsQcow2.lazy-refcounts': [
    'is refused of version 2, and leaves no dirty image of version 3',
    async () => {
      for (const version of ['v2', 'v3'] as const) {
        const bench = withFile();
        await createdQcow2(bench, { version });
        const options = qcow2({ 'lazy-refcounts': true });
        if (version === 'v2') await refusedOpen(bench, options, /Lazy refcounts require/);
        else {
          const node = await opened(bench, options);
          await node.write(0, new Uint8Array(512));
          expect(bench.host.readFile(PATH, 79, 1)[0]).to.equal(0);
        }
      }
    },
  ],
  'BlockdevOptionsQcow2.file': [
    'is where the image lies',
    async () => {
      const bench = withFile();
      await createdQcow2(bench);
      expect((await opened(bench, qcow2())).children.get('file')!.node.filename).to.equal(PATH);
    },
  ],
  'BlockdevOptionsQcow2.backing': [
    'takes the place of what the header names',
    async () => {
      const bench = withFile();
      await createdQcow2(bench, { 'backing-file': '/gone', 'backing-fmt': 'raw' });
      expect(await outcome(opened(bench, qcow2()))).to.match(/Could not open backing file/);
      const own = another(bench);
      expect((await opened(own, qcow2({ backing: null }))).children.has('backing')).to.equal(false);
      await own.graph.closeAll();
      const node = await opened(another(bench), qcow2({ backing: { driver: 'raw', file: { driver: 'null-co' } } }));
      expect(node.children.get('backing')!.node.children.get('file')!.node.driver).to.equal('null-co');
    },
  ],
  'BlockdevOptionsQcow2.pass-discard-request': [
    'gives what guests discard back to the file, or not',
    async () => {
      expect((await holes({ 'pass-discard-request': true })).request).to.be.greaterThan(0);
      expect((await holes({ 'pass-discard-request': false })).request).to.equal(0);
    },
  ],
  'BlockdevOptionsQcow2.pass-discard-other': [
    'gives other freed clusters back to the file, or not',
    async () => {
      expect((await holes({ 'pass-discard-other': true })).other).to.be.greaterThan(0);
      expect((await holes({ 'pass-discard-other': false })).other).to.equal(0);
    },
  ],
  'BlockdevOptionsQcow2.pass-discard-snapshot': [
    'gives what only a deleted snapshot had back to the file, or not',
    async () => {
      const punched = async (pass: boolean): Promise<number> => {
        const bench = await written();
        const node = await opened(bench, qcow2({ 'pass-discard-snapshot': pass }));
        const { id } = await node.abilities.snapshots!.create({ name: 'old' });
        await node.write(0, new Uint8Array(SIZE).fill(2));
        await node.flush();
        const count = (): number => bench.host.count('punchHole') + bench.host.count('discard');
        const before = count();
        await node.abilities.snapshots!.remove(id);
        await node.flush();
        return count() - before;
      };
      expect(await punched(true)).to.be.greaterThan(0);
      expect(await punched(false)).to.equal(0);
    },
  ],
  'BlockdevOptionsQcow2.data-file': [
    'is where the content lies',
    async () => {
      const bench = withFile();
      bench.host.writeFile('/data', new Uint8Array(0));
      await createdQcow2(bench, { 'data-file': { driver: 'file', filename: '/data' } });
      const node = await opened(bench, qcow2({ 'data-file': { driver: 'file', filename: '/data' } }));
      await node.write(512, new Uint8Array(512).fill(3));
      expect(bench.host.readFile('/data', 512, 1)[0]).to.equal(3);
    },
  ],
  'BlockdevOptionsQcow2.discard-no-unref': [
    'keeps the place of what is discarded, or not',
    async () => {
      const kept = async (keep: boolean): Promise<boolean> => {
        const bench = await written();
        const node = await opened(bench, qcow2({ discard: 'unmap', 'discard-no-unref': keep }));
        await node.discard(0, CLUSTER);
        await node.flush();
        return (await node.blockStatus(0, CLUSTER)).offset > 0;
      };
      expect(await kept(true)).to.equal(true);
      expect(await kept(false)).to.equal(false);
    },
  ],
  'BlockdevOptionsQcow2.cache-size': [
    'is how much of all tables is kept',
    async () =>
      expect(await readsAgain({ 'cache-size': 8 * CLUSTER })).to.be.greaterThan(
        await readsAgain({ 'cache-size': SIZE }),
      ),
  ],
  'BlockdevOptionsQcow2.l2-cache-size': [
    'is how much of the L2 tables is kept',
    async () =>
      expect(await readsAgain({ 'l2-cache-size': CLUSTER })).to.be.greaterThan(
        await readsAgain({ 'l2-cache-size': SIZE }),
      ),
  ],
  'BlockdevOptionsQcow2.refcount-cache-size': [
    'is how much of the refcounts is kept',
    async () => {
      const [little, much] = [CLUSTER, SIZE].map((size) => readsOfFreeing({ 'refcount-cache-size': size }));
      expect(await little).to.be.greaterThan(await much);
    },
  ],
  'BlockdevOptionsQcow2.l2-cache-entry-size': [
    'is refused by name',
    async () => {
      const bench = await written();
      await refusedOpen(
        bench,
        qcow2({ 'l2-cache-entry-size': 4096 }),
        /l2-cache-entry-size other than the cluster size/,
      );
    },
  ],
  'BlockdevOptionsQcow2.cache-clean-interval': [
    'is refused by name',
    async () => {
      const bench = await written();
      await refusedOpen(
        bench,
        qcow2({ 'cache-clean-interval': 600 }),
        /cache-clean-interval other than 0 is not supported/,
      );
    },
  ],
};
