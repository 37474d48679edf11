// Persistent bitmaps written by us and used by QEMU, and the other way round: the same bits, whoever stored them.

import { join } from 'node:path';
import { expect } from 'chai';
import { bitmapDigest } from '../../src/block/bitmap-digest.js';
import { Graph } from '../../src/block/graph.js';
import type { BlockNode } from '../../src/block/node/node.js';
import { openNode } from '../../src/block/open.js';
import { Random } from '../../src/host/sim/index.js';
import { addStoredBitmap, mergeBitmaps, removeStoredBitmap } from '../../src/workspace/bitmap.js';
import { used } from '../drivers/support.js';
import { requirePeer } from '../support/peers.js';
import { type Json, StorageDaemon } from '../support/qmp.js';
import { qemuCheck, qemuImg, SEED, useBench } from './support.js';

const ROUNDS = 6;

/** The digest of each bitmap, by name. */
type Digests = Record<string, string>;

describe('persistent bitmaps and QEMU', function () {
  this.timeout(120_000);
  const bench = useBench('bitmaps');
  let daemon: StorageDaemon;

  before(async function () {
    for (const peer of ['qemu-img', 'qemu-storage-daemon']) requirePeer(this, peer);
    daemon = await StorageDaemon.start(join(bench.folder, 'qmp'));
  });
  after(() => daemon?.quit());

  const theirs = (verb: string, data: Json) => daemon.execute(`block-dirty-bitmap-${verb}`, { node: 'a', ...data });

  /** Opens the image in the reference, and closes it again: which bitmaps it has then. */
  async function inReference(path: string, action: (names: string[]) => Promise<void>): Promise<Digests> {
    const file = { driver: 'file', filename: path };
    await daemon.execute('blockdev-add', { driver: 'qcow2', 'node-name': 'a', file });
    const bitmapsOf = async (): Promise<Json[]> => {
      const nodes = (await daemon.execute('query-named-block-nodes', { flat: true })) as Json[];
      return (nodes.find((node) => node['node-name'] === 'a')!['dirty-bitmaps'] as Json[] | undefined) ?? [];
    };
    await action((await bitmapsOf()).map(({ name }) => String(name)));
    const digests: Digests = {};
    for (const { name, inconsistent } of await bitmapsOf()) {
      if (inconsistent === true) digests[String(name)] = 'inconsistent';
      else digests[String(name)] = String(((await theirs2('a', String(name))) as Json)['sha256']);
    }
    await daemon.execute('blockdev-del', { 'node-name': 'a' });
    return digests;
  }
  const theirs2 = (node: string, name: string) => daemon.execute('x-debug-block-dirty-bitmap-sha256', { node, name });

  async function inOurs(path: string, action: (node: BlockNode) => Promise<void>): Promise<Digests> {
    const graph = new Graph(bench.host);
    const node = await used(openNode(graph, path, { format: 'qcow2', discard: 'unmap' }));
    try {
      await action(node);
      const named = [...node.bitmaps].map(([name, bitmap]) => [
        name,
        bitmap.inconsistent ? 'inconsistent' : bitmapDigest(bitmap),
      ]);
      return Object.fromEntries(named) as Digests;
    } finally {
      await graph.closeAll();
    }
  }

  function listed(path: string): string[] {
    const info = JSON.parse(qemuImg('info', '--output=json', path));
    const bitmaps = (info['format-specific'].data.bitmaps ?? []) as { name: string; flags: string[] }[];
    return bitmaps.filter(({ flags }) => !flags.includes('in-use')).map(({ name }) => name);
  }

  async function ourTurn(path: string, random: Random, before: Digests, made: (i: number) => string): Promise<Digests> {
    return inOurs(path, async (node) => {
      for (const [name, digest] of Object.entries(before)) {
        expect(bitmapDigest(node.bitmaps.get(name)!), `${name}, as QEMU stored it`).to.equal(digest);
      }
      expect(node.bitmaps.size).to.equal(Object.keys(before).length);
      for (let i = 0; i < 12; i++) {
        const names = [...node.bitmaps.keys()];
        const one = node.bitmaps.get(random.pick(names.length > 0 ? names : ['']));
        const kind = random.below(8);
        if (kind === 0 || one === undefined) {
          const granularity = 2 ** random.between(9, 18);
          await addStoredBitmap(node, made(i), { granularity, persistent: true, enabled: random.chance(0.8) });
        } else if (kind === 1 && names.length > 2) await removeStoredBitmap(node, String(one.name));
        else if (kind === 2 && random.chance(0.3)) one.clear();
        else if (kind === 3) mergeBitmaps(one, [node.bitmaps.get(random.pick(names))!]);
        else if (kind === 4) one[one.enabled ? 'disable' : 'enable']();
        else if (kind === 5) await node.flush();
        else {
          const offset = random.below(node.length / 512) * 512;
          const length = Math.min(node.length - offset, random.between(1, random.pick([20, 20_000])) * 512);
          if (random.chance(0.7)) await node.write(offset, new Uint8Array(Math.min(length, 1 << 20)).fill(i + 1));
          else await node.writeZeroes(offset, length);
        }
      }
      if (random.chance(0.3)) await node.truncate(Math.floor((node.length * random.between(5, 20)) / 10 / 512) * 512);
    });
  }

  async function theirTurn(path: string, random: Random, before: Digests, made: string): Promise<Digests> {
    return inReference(path, async (names) => {
      for (const [name, digest] of Object.entries(before)) {
        const found = ((await theirs2('a', name)) as Json)['sha256'];
        expect(found, `${name}, as we stored it`).to.equal(digest);
      }
      expect([...names].sort()).to.deep.equal(Object.keys(before).sort());
      await theirs('add', { name: made, persistent: true, granularity: 2 ** random.between(9, 18) });
      if (names.length > 0) await theirs('merge', { target: made, bitmaps: [random.pick(names)] });
      if (names.length > 3) await theirs('remove', { name: random.pick(names) });
    });
  }

  for (const clusterSize of [512, 4096, 65536]) {
    it(`change an image in turns, clusters of ${clusterSize} bytes (seed ${SEED})`, async () => {
      const random = new Random(SEED, clusterSize);
      const path = join(bench.folder, `turns-${clusterSize}.qcow2`);
      const base = join(bench.folder, 'base.raw');
      qemuImg('create', '-q', '-f', 'raw', base, '20M');
      const backing = random.chance(0.5) ? ['-b', base, '-F', 'raw'] : [];
      qemuImg('create', '-q', '-f', 'qcow2', '-o', `cluster_size=${clusterSize}`, ...backing, path, '24M');
      let digests: Digests = {};
      for (let round = 0; round < ROUNDS; round++) {
        digests = await ourTurn(path, random, digests, (i) => `ours-${round}-${i}`);
        expect(qemuCheck(path), `round ${round}`).to.have.property('status', 0);
        expect(listed(path).sort()).to.deep.equal(Object.keys(digests).sort());
        digests = await theirTurn(path, random, digests, `theirs-${round}`);
      }
    });
  }

  it('that were in use in QEMU are kept, and only removed', async () => {
    const path = join(bench.folder, 'killed.qcow2');
    qemuImg('create', '-q', '-f', 'qcow2', path, '1M');
    for (const name of ['a', 'b']) qemuImg('bitmap', '--add', path, name);
    const killed = await StorageDaemon.start(join(bench.folder, 'killed'));
    await killed.execute('blockdev-add', {
      driver: 'qcow2',
      'node-name': 'a',
      file: { driver: 'file', filename: path },
    });
    killed.signal('SIGKILL');
    await killed.end();
    const ours = await inOurs(path, async (node) => {
      await node.write(0, new Uint8Array(512).fill(1));
      await removeStoredBitmap(node, 'a');
      await addStoredBitmap(node, 'c', { persistent: true });
    });
    expect(ours['b']).to.equal('inconsistent');
    expect(await inReference(path, async () => {})).to.deep.equal(ours);
    expect(qemuCheck(path).status).to.equal(0);
  });
});
