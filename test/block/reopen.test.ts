// Nodes are reopened with other options, several at once: all of them or none.

import { expect } from 'chai';
import { createImage } from '../../src/block/create.js';
import { Device } from '../../src/block/device.js';
import type { BlockNode } from '../../src/block/node/node.js';
import { openNode } from '../../src/block/open.js';
import { reopenNodes } from '../../src/block/reopen.js';
import { PERM_ALL, Perm } from '../../src/block/types.js';
import type { FaultRule } from '../../src/host/sim/faults.js';
import type { BlockdevOptions } from '../../src/schema/generated/types.js';
import { type Bench, failureOf, makeBench, pattern } from '../drivers/support.js';
import { nobody } from './support.js';

const SIZE = 1 << 20;
/** Where the header has its autoclear features: the last byte of the field is the lowest one. */
const AUTOCLEAR = 95;

type Options<D extends BlockdevOptions['driver']> = Extract<BlockdevOptions, { driver: D }>;
const file = (name: string, more: object = {}): Options<'file'> => ({
  driver: 'file',
  'node-name': `${name}-file`,
  filename: `/${name}`,
  ...more,
});
const qcow2 = (name: string, more: object = {}): Options<'qcow2'> => ({
  driver: 'qcow2',
  'node-name': name,
  file: `${name}-file`,
  ...more,
});

/** Two images whose files are nodes of their own, `a` over `base`, which is read-only. */
async function images(more: object = {}): Promise<Bench> {
  const bench = makeBench();
  const { graph } = bench;
  await createImage(graph, '/base', { driver: 'qcow2', size: SIZE });
  await createImage(graph, '/other', { driver: 'qcow2', size: SIZE });
  await createImage(graph, '/a', { driver: 'qcow2', size: SIZE, 'backing-file': '/base', 'backing-fmt': 'qcow2' });
  for (const options of [
    file('base', { 'read-only': true }),
    qcow2('base', { 'read-only': true, backing: null }),
    file('other', more),
    qcow2('other', { backing: null, ...more }),
    file('a', more),
    qcow2('a', { backing: 'base', ...more }),
  ]) {
    (await openNode(graph, options)).attach(nobody, 'monitor', 0, PERM_ALL);
  }
  return bench;
}

/** Bytes of `path` that somebody has locked. */
async function lockedBytes({ host }: Bench, path: string): Promise<number[]> {
  const probe = await host.open(path, { writable: true });
  const bytes = Array.from({ length: 110 }, (_, index) => 100 + index);
  const locked = bytes.filter((byte) => probe.lockConflicts('exclusive', byte, 1));
  await probe.close();
  return locked;
}

/** All that a reopening can change. */
async function stateOf(bench: Bench): Promise<unknown> {
  const nodes = [...bench.graph.nodes.values()].map((node) => ({
    name: node.nodeName,
    readOnly: node.readOnly,
    cache: node.cache,
    discard: node.discardMode,
    zeroes: node.detectZeroes,
    writable: node.hostFile()?.writable,
    direct: node.hostFile()?.direct,
    links: [...node.children.values()].map(({ name, node: child, perm, shared }) => [
      name,
      child.nodeName,
      perm,
      shared,
      child.parents.size,
    ]),
  }));
  const files = await Promise.all(
    ['/a', '/base', '/other'].map(async (path) => [
      await lockedBytes(bench, path),
      Buffer.from(bench.host.readFile(path)).toString('base64'),
    ]),
  );
  return { nodes, files };
}

/** Reopens, which must fail, and checks that everything is as it was. */
async function refused(bench: Bench, options: BlockdevOptions[], rules: FaultRule[] = []): Promise<string> {
  const before = await stateOf(bench);
  bench.host.setFaults({ rules });
  const { message } = await failureOf(reopenNodes(bench.graph, options));
  bench.host.setFaults({});
  expect(await stateOf(bench)).to.deep.equal(before);
  return message;
}

const node = ({ graph }: Bench, name: string): BlockNode => graph.find(name);

describe('reopening by options', () => {
  it('turns a file to reads past the page cache and back, and the locks and the content stay', async () => {
    const bench = await images();
    const device = new Device(node(bench, 'a'), { name: 'd', writable: true });
    await device.write(0, pattern(4096));
    const locked = await lockedBytes(bench, '/a');
    for (const direct of [true, false]) {
      await reopenNodes(bench.graph, [file('a', { cache: { direct } })]);
      expect([node(bench, 'a-file').hostFile()!.direct, node(bench, 'a-file').cache.direct]).to.deep.equal([
        direct,
        direct,
      ]);
      expect(await lockedBytes(bench, '/a')).to.deep.equal(locked);
    }
    const found = new Uint8Array(4096);
    await device.read(0, found);
    expect(found).to.deep.equal(pattern(4096));
  });

  it('stops to flush, and flushes again', async () => {
    const bench = makeBench();
    bench.host.writeFile('/raw', pattern(4096));
    const device = new Device(await openNode(bench.graph, file('raw')), { name: 'd', writable: true });
    const flushes = async (): Promise<number> => {
      const before = bench.host.count('flush');
      await device.write(0, pattern(512));
      await device.flush();
      return bench.host.count('flush') - before;
    };
    await reopenNodes(bench.graph, [file('raw', { cache: { 'no-flush': true } })]);
    expect(await flushes()).to.equal(0);
    await reopenNodes(bench.graph, [file('raw')]);
    expect(await flushes()).to.equal(1);
  });

  it('turns on what becomes of zeroes and discards, and left out they are as by default', async () => {
    const bench = await images();
    const options = qcow2('other', { backing: null, discard: 'unmap', 'detect-zeroes': 'unmap' });
    await reopenNodes(bench.graph, [options]);
    const device = new Device(node(bench, 'other'), { name: 'd', writable: true });
    await device.write(0, new Uint8Array(65536));
    expect((await node(bench, 'other').blockStatus(0, 65536)).data).to.equal(false);
    await reopenNodes(bench.graph, [qcow2('other', { backing: null })]);
    expect([node(bench, 'other').discardMode, node(bench, 'other').detectZeroes]).to.deep.equal(['ignore', 'off']);
    await device.write(0, new Uint8Array(65536));
    expect((await node(bench, 'other').blockStatus(0, 65536)).data).to.equal(true);
  });

  it('gives discarded clusters of qcow2 back to the file, or keeps them', async () => {
    const bench = await images();
    const device = new Device(node(bench, 'other'), { name: 'd', writable: true });
    const discards = async (): Promise<number> => {
      await device.write(0, pattern(65536));
      await device.flush();
      const before = bench.host.count('punchHole') + bench.host.count('discard');
      await device.discard(0, 65536);
      await device.flush();
      return bench.host.count('punchHole') + bench.host.count('discard') - before;
    };
    const unmap = { backing: null, discard: 'unmap' };
    await reopenNodes(bench.graph, [file('other', { discard: 'unmap' }), qcow2('other', unmap)]);
    expect(await discards()).to.equal(1);
    await reopenNodes(bench.graph, [qcow2('other', { ...unmap, 'pass-discard-request': false })]);
    expect(await discards()).to.equal(0);
  });

  it('checks writes of qcow2 against other metadata, and takes other sizes of caches, while a guest writes', async () => {
    const bench = await images();
    const device = new Device(node(bench, 'other'), { name: 'd', writable: true });
    for (const more of [{ 'overlap-check': 'none' }, { 'overlap-check': 'cached' }, { 'cache-size': 131072 }, {}]) {
      const writing = device.write(0, pattern(SIZE));
      await reopenNodes(bench.graph, [qcow2('other', { backing: null, ...more })]);
      await writing;
      await device.write(65536, pattern(65536, 2));
    }
    await device.close();
    const found = new Uint8Array(65536);
    const reader = new Device(node(bench, 'other'), { name: 'r', writable: false });
    await reader.read(65536, found);
    expect(found).to.deep.equal(pattern(65536, 2));
    const { corruptions, leaks } = await node(bench, 'other').abilities.check!(() => {});
    expect([corruptions, leaks]).to.deep.equal([0, 0]);
  });

  it('puts another backing node below, or none, and its content is read', async () => {
    const bench = await images();
    const writer = new Device(node(bench, 'other'), { name: 'w', writable: true });
    await writer.write(0, pattern(4096, 3));
    await writer.close();
    const device = new Device(node(bench, 'a'), { name: 'd', writable: true });
    const read = async (): Promise<Uint8Array> => {
      const found = new Uint8Array(4096);
      await device.read(0, found);
      return found;
    };
    expect(await read()).to.deep.equal(new Uint8Array(4096));
    await reopenNodes(bench.graph, [qcow2('a', { backing: 'other' })]);
    expect(await read()).to.deep.equal(pattern(4096, 3));
    await reopenNodes(bench.graph, [qcow2('a', { backing: null })]);
    expect(await read()).to.deep.equal(new Uint8Array(4096));
    expect(bench.graph.nodes.has('other')).to.equal(true);
  });

  it('closes a backing node that nobody uses any more', async () => {
    const bench = makeBench();
    await createImage(bench.graph, '/base', { driver: 'qcow2', size: SIZE });
    await createImage(bench.graph, '/a', {
      driver: 'qcow2',
      size: SIZE,
      'backing-file': '/base',
      'backing-fmt': 'qcow2',
    });
    const options: BlockdevOptions = { driver: 'qcow2', 'node-name': 'a', file: file('a') };
    await openNode(bench.graph, options);
    expect(bench.graph.nodes.size).to.equal(4);
    await reopenNodes(bench.graph, [{ ...options, backing: null }]);
    expect([...bench.graph.nodes.keys()].sort()).to.deep.equal(['a', 'a-file']);
  });

  it('turns the file of an image that becomes read-only where it was opened within its options', async () => {
    const bench = makeBench();
    await createImage(bench.graph, '/a', { driver: 'qcow2', size: SIZE });
    const options: BlockdevOptions = { driver: 'qcow2', 'node-name': 'a', file: file('a') };
    const image = await openNode(bench.graph, options);
    await reopenNodes(bench.graph, [{ ...options, 'read-only': true }]);
    expect([image.readOnly, node(bench, 'a-file').readOnly]).to.deep.equal([true, true]);
    await reopenNodes(bench.graph, [options]);
    expect([image.readOnly, node(bench, 'a-file').readOnly]).to.deep.equal([false, false]);
  });

  it('leaves a file read-only that cannot be written to, with auto-read-only', async () => {
    const bench = await images({ 'read-only': true });
    bench.host.setFaults({ rules: [{ operations: ['open'], errno: 'EACCES', times: 1 }] });
    await reopenNodes(bench.graph, [file('a', { 'auto-read-only': true })]);
    expect([node(bench, 'a-file').readOnly, node(bench, 'a-file').hostFile()!.writable]).to.deep.equal([true, false]);
  });

  it('goes by what the reopening before it left', async () => {
    const bench = await images();
    const [options, locked] = [file('a', { cache: { direct: true } }), file('a', { locking: 'off' })];
    const first = reopenNodes(bench.graph, [options]);
    const second = reopenNodes(bench.graph, [file('a')]);
    await Promise.all([first, second]);
    expect(node(bench, 'a-file').hostFile()!.direct).to.equal(false);
    expect(await refused(bench, [locked])).to.equal("Cannot change the option 'locking'");
  });
});

describe('reopening of several nodes, one of which is refused', () => {
  const twoOfThem = [file('a'), qcow2('a', { backing: 'base', 'detect-zeroes': 'on' })];

  it('leaves all as they were where an option cannot change', async () => {
    const bench = await images();
    const moved = qcow2('a', { backing: null, cache: { direct: true } });
    expect(await refused(bench, [moved, file('other', { locking: 'off' })])).to.equal(
      "Cannot change the option 'locking'",
    );
    const sizes = qcow2('other', { backing: null, 'cache-size': 1, 'l2-cache-size': 2 });
    expect(await refused(bench, [moved, sizes])).to.contain('l2-cache-size may not exceed cache-size');
  });

  it('leaves all as they were where a node has a writer', async () => {
    const bench = await images();
    new Device(node(bench, 'other'), { name: 'd', writable: true });
    const message = await refused(bench, [
      qcow2('a', { backing: null, 'read-only': true }),
      file('a', { 'read-only': true, cache: { direct: true } }),
      qcow2('other', { backing: null, 'read-only': true }),
    ]);
    expect(message).to.equal("Read-only block node 'other' cannot support read-write users");
  });

  it('leaves all as they were where a new backing node has a writer', async () => {
    const bench = await images();
    new Device(node(bench, 'a'), { name: 'guest', writable: true });
    new Device(node(bench, 'other'), { name: 'd', writable: true });
    const options = [file('a', { cache: { direct: true } }), qcow2('a', { backing: 'other' })];
    expect(await refused(bench, options)).to.contain("Permission conflict on node 'other'");
  });

  it('leaves all as they were where a node would lie below itself', async () => {
    const bench = await images();
    // Each by itself would do.
    const options = [qcow2('a', { backing: 'other' }), qcow2('other', { backing: 'a' })];
    expect(await refused(bench, options)).to.equal("Making 'a' a backing child of 'other' would create a cycle");
  });

  it('leaves all as they were where a file cannot be opened', async () => {
    const bench = await images({ 'read-only': true });
    const rules = [{ operations: ['open'] as const, path: '/other', errno: 'EACCES' }];
    await refused(bench, [...twoOfThem, file('other', { cache: { direct: true }, 'read-only': true })], rules);
  });

  it('leaves all as they were where a flush fails', async () => {
    const bench = await images();
    const device = new Device(node(bench, 'other'), { name: 'd', writable: true });
    await device.write(0, pattern(512));
    const options = [qcow2('a', { backing: null }), file('a', { cache: { direct: true } }), file('other')];
    await refused(bench, options, [{ operations: ['flush'], path: '/other', errno: 'EIO' }]);
  });

  it('leaves all as they were where another process has the image', async () => {
    const bench = await images({ 'read-only': true });
    const other = await bench.host.open('/a', { writable: true });
    // It does not let others write.
    other.lock('shared', 201, 1);
    const others = [
      file('other', { cache: { direct: true }, 'read-only': true }),
      qcow2('other', { backing: 'base', 'read-only': true }),
    ];
    const message = await refused(bench, [...others, ...twoOfThem]);
    expect(message).to.contain('Failed to get "write" lock');
    await other.close();
    await reopenNodes(bench.graph, twoOfThem);
    expect([node(bench, 'a').readOnly, node(bench, 'a-file').readOnly]).to.deep.equal([false, false]);
  });

  it('leaves all as they were where the header of an image cannot be written', async () => {
    const bench = await images({ 'read-only': true });
    await bench.graph.closeAll();
    bench.host.patchFile('/a', AUTOCLEAR - 1, Uint8Array.of(0x80));
    const { graph } = bench;
    for (const name of ['base', 'other', 'a']) {
      await openNode(graph, file(name, { 'read-only': true }));
      const backing = name === 'a' ? 'base' : null;
      (await openNode(graph, qcow2(name, { 'read-only': true, backing }))).attach(nobody, 'monitor', 0, PERM_ALL);
    }
    const options = [...twoOfThem, qcow2('other', { 'read-only': true, backing: 'base', 'detect-zeroes': 'on' })];
    await refused(bench, options, [{ operations: ['write'], path: '/a', errno: 'EIO' }]);
    await reopenNodes(graph, options);
    expect(bench.host.readFile('/a')[AUTOCLEAR - 1]).to.equal(0);
    expect(node(bench, 'a').readOnly).to.equal(false);
  });

  it('protects the tables of snapshots as before where another overlap check was reverted', async () => {
    const { graph, host } = makeBench();
    const CLUSTER = 4096;
    for (const path of ['/a', '/other'])
      await createImage(graph, path, { driver: 'qcow2', size: SIZE, 'cluster-size': CLUSTER });
    const made = await openNode(graph, '/a', { format: 'qcow2' });
    await made.write(0, new Uint8Array(2 * CLUSTER).fill(1));
    await made.abilities.snapshots!.create({ name: 'kept' });
    await made.write(0, new Uint8Array(CLUSTER).fill(2));
    await graph.closeAll();
    // The disk's second cluster is said to lie where the snapshot's L2 table is.
    const image = Buffer.from(host.readFile('/a'));
    const pointer = (at: number): number => Number(image.readBigUInt64BE(at) & 0x00ff_ffff_ffff_fe00n);
    const table = pointer(pointer(pointer(64)));
    image.writeBigUInt64BE(BigInt(table) | (1n << 63n), pointer(pointer(40)) + 8);
    host.writeFile('/a', image);
    host.patchFile('/other', AUTOCLEAR - 1, new Uint8Array([1]));

    const a = { driver: 'qcow2', 'node-name': 'a', file: 'a-file', 'overlap-check': 'all' } as const;
    for (const options of [file('a'), a, file('other', { 'read-only': true }), qcow2('other', { 'read-only': true })])
      (await openNode(graph, options)).attach(nobody, 'monitor', 0, PERM_ALL);
    host.setFaults({ rules: [{ operations: ['write'], path: '/other', errno: 'EIO' }] });
    const options = [{ ...a, 'overlap-check': 'constant' } as const, file('other'), qcow2('other')];
    expect((await failureOf(reopenNodes(graph, options))).code).to.equal('io');
    host.setFaults({});

    const node = graph.find('a')!;
    const writer = node.attach(nobody, 'monitor', Perm.WRITE, PERM_ALL);
    const error = await failureOf(writer.write(CLUSTER, new Uint8Array(CLUSTER).fill(3)));
    expect(error.message).to.contain('inactive L2 table');
    await graph.closeAll().catch(() => undefined);
  });

  it('leaves all as they were where the new descriptor cannot be locked', async () => {
    const bench = await images({ 'read-only': true });
    const { host } = bench;
    const before = await lockedBytes(bench, '/a');
    const open = host.open.bind(host);
    // Where the new descriptors cannot be locked, the old ones have got new locks already.
    host.open = async (path, options) => {
      const opened = await open(path, options);
      if (path === '/a' && options.writable) {
        opened.lock = () => false;
        host.open = open;
      }
      return opened;
    };
    const { message } = await failureOf(reopenNodes(bench.graph, twoOfThem));
    expect(message).to.contain('Failed to lock byte 100');
    expect(await lockedBytes(bench, '/a')).to.deep.equal(before);
    await reopenNodes(bench.graph, twoOfThem);
    expect(await lockedBytes(bench, '/a')).to.deep.equal([100, 101, 103, 201, 203]);
  });

  it('closes each descriptor that is not in use any more', async () => {
    const bench = await images({ 'read-only': true });
    const { host } = bench;
    const open = host.open.bind(host);
    const closed: boolean[] = [];
    host.open = async (path, options) => {
      const opened = await open(path, options);
      const index = closed.push(false) - 1;
      const close = opened.close.bind(opened);
      opened.close = () => {
        closed[index] = true;
        return close();
      };
      return opened;
    };
    const other = await open('/a', { writable: true });
    other.lock('shared', 201, 1);
    await failureOf(reopenNodes(bench.graph, twoOfThem));
    expect(closed).to.deep.equal([true]);
    await other.close();
    await reopenNodes(bench.graph, twoOfThem);
    await reopenNodes(bench.graph, [file('a', { cache: { direct: true } })]);
    expect(closed).to.deep.equal([true, true, false]);
  });

  it('leaves all as they were where one of them is closed meanwhile', async () => {
    const bench = await images({ 'read-only': true });
    const alone = await openNode(bench.graph, {
      driver: 'file',
      'node-name': 'alone',
      filename: '/other',
      'read-only': true,
    });
    const options = { driver: 'file', 'node-name': 'alone', filename: '/other' } as const;
    const reopening = failureOf(reopenNodes(bench.graph, [file('a', { cache: { direct: true } }), options]));
    await Promise.resolve();
    await bench.graph.release(alone);
    expect((await reopening).code).to.equal('closed');
    expect(node(bench, 'a-file').hostFile()!.direct).to.equal(false);
    expect(await failureOf(alone.hostFile()!.size())).to.include({ code: 'closed' });
  });

  it('takes no writer of a node that becomes writable before its header is written', async () => {
    const bench = await images({ 'read-only': true });
    const image = node(bench, 'a');
    const seen: unknown[] = [];
    const prepare = image.prepareReopen.bind(image);
    image.prepareReopen = async (change) => {
      const prepared = (await prepare(change))!;
      const complete = async (): Promise<void> => {
        const attached = Promise.resolve().then(() => image.attach(nobody, 'root', Perm.WRITE, PERM_ALL));
        seen.push((await failureOf(attached)).code);
        await prepared.complete?.();
      };
      return { ...prepared, complete };
    };
    await reopenNodes(bench.graph, twoOfThem);
    expect(seen).to.deep.equal(['read-only']);
    image.detach(image.attach(nobody, 'root', Perm.WRITE, PERM_ALL));
  });
});
