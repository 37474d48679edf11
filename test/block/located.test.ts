// Requests without a promise: where they go, what waits for them, and what they leave behind.

import { expect } from 'chai';
import { DirtyBitmap } from '../../src/block/bitmap.js';
import { createImage, createNode } from '../../src/block/create.js';
import { Device } from '../../src/block/device.js';
import { Graph } from '../../src/block/graph.js';
import type { BlockNode } from '../../src/block/node/node.js';
import { openNode } from '../../src/block/open.js';
import { type Located, PERM_ALL } from '../../src/block/types.js';
import { Random, type SimOperation } from '../../src/host/sim/index.js';
import { RangeLock } from '../../src/util/range-lock.js';
import { expectSame } from '../conformance/checks.js';
import { type Bench, linkTo, makeBench, pattern, used } from '../drivers/support.js';
import { buildChain, randomChain } from '../sim/images.js';
import { LocatedDisk } from '../sim/located-disk.js';
import { encodeSectors } from '../sim/model.js';
import { contentOf, lateBench, openRaw, openUsed, PASS_MS, Recorder, stateOf } from './support.js';

const SIZE = 1 << 20;
const CLUSTER = 65536;

function nowhere(): Located {
  return { file: null, offset: 0, guard: null };
}

/** A new qcow2 image at `path` whose first two clusters hold a pattern. */
async function openQcow2(bench: Bench, path = '/a.qcow2', options: { 'backing-file'?: string } = {}) {
  const below = options['backing-file'] === undefined ? {} : ({ 'backing-fmt': 'qcow2' } as const);
  await createImage(bench.graph, path, { driver: 'qcow2', size: SIZE, 'cluster-size': CLUSTER, ...options, ...below });
  return openNode(bench.graph, path, { format: 'qcow2', discard: 'unmap' });
}

async function device(bench: Bench, node: BlockNode) {
  const drive = new Device(node, { name: 'drive0', writable: true });
  return { drive, disk: new LocatedDisk(drive, bench.host) };
}

/** The same on a disk that answers late what `late` says, once that is switched on. */
async function late(...operations: SimOperation[]) {
  const on: SimOperation[] = [];
  const bench = lateBench(on);
  const node = await openQcow2(bench);
  await node.write(0, pattern(2 * CLUSTER));
  await node.flush();
  on.push(...operations);
  return { ...bench, node, ...(await device(bench, node)) };
}

describe('located requests: content', () => {
  for (let seed = 1; seed <= 30; seed++) {
    it(`reads and writes what is there (seed ${seed})`, async () => {
      const random = new Random(seed, 40);
      const chain = randomChain(random);
      let value = 0;
      const host = await buildChain(chain, random, () => ++value);
      const graph = new Graph(host);
      const node = await openNode(graph, chain.options);
      const { disk } = await device({ host, graph, warnings: [] }, node);
      const expected = encodeSectors(chain.contents[chain.contents.length - 1]);
      const range = () => {
        const offset = random.below(node.length);
        return { offset, length: random.between(1, Math.min(node.length - offset, random.pick([512, 5000, 40000]))) };
      };
      // Loads tables, as many as there is room for.
      expectSame(await contentOf(node), expected, 'at first');
      for (let i = 0; i < 60; i++) {
        const { offset, length } = range();
        if (random.chance(0.3)) {
          const data = pattern(length, i);
          await disk.write(offset, data);
          expected.set(data, offset);
        }
        const buffer = new Uint8Array(length);
        await disk.read(offset, buffer);
        expectSame(buffer, expected.subarray(offset, offset + length), `${offset}+${length}`);
      }
      expectSame(await contentOf(node), expected, 'at the end');
      await disk.flush();
      const { corruptions } = (await node.abilities.check?.(() => {})) ?? { corruptions: 0 };
      expect(corruptions).to.equal(0);
      await graph.closeAll();
      const reopened = await openNode(new Graph(host), chain.options);
      expectSame(await contentOf(reopened), expected, 'opened again');
    });
  }

  it('go through an image within an image, with a guard of each', async () => {
    const bench = makeBench();
    await createImage(bench.graph, '/outer', { driver: 'qcow2', size: 4 * SIZE });
    const outer = await openNode(bench.graph, '/outer', { format: 'qcow2', discard: 'unmap' });
    outer.attach({ userName: 'test' }, 'monitor', 0, PERM_ALL);
    await createNode(bench.graph, { driver: 'qcow2', file: outer.nodeName, size: SIZE });
    const inner = await openNode(bench.graph, { driver: 'qcow2', file: outer.nodeName });
    const { drive, disk } = await device(bench, inner);
    await drive.write(0, pattern(2 * CLUSTER));
    await contentOf(inner);
    const data = pattern(4096, 9);
    await disk.write(512, data);
    const buffer = new Uint8Array(CLUSTER);
    await disk.read(0, buffer);
    const expected = pattern(2 * CLUSTER).subarray(0, CLUSTER);
    expected.set(data, 512);
    expectSame(buffer, expected, 'what is written goes to the same place');
    expect(disk.located).to.equal(2);
    await disk.flush();
    for (const node of [inner, outer]) expect((await node.abilities.check!(() => {})).corruptions).to.equal(0);
    await drive.close();
    await bench.graph.closeAll();
  });

  it('go to the backing file where the overlay has nothing', async () => {
    const bench = makeBench();
    const base = await openQcow2(bench);
    await base.write(0, pattern(CLUSTER));
    await bench.graph.closeAll();
    bench.graph = new Graph(bench.host);
    const top = await openQcow2(bench, '/top.qcow2', { 'backing-file': '/a.qcow2' });
    const { drive, disk } = await device(bench, top);
    await contentOf(top);
    const buffer = new Uint8Array(4096);
    await disk.read(512, buffer);
    expectSame(buffer, pattern(CLUSTER).subarray(512, 512 + 4096), 'from the base');
    expect(disk.located).to.equal(1);
    // What would have to be copied, and what comes from two layers, is not for the short way.
    expect(drive.beginWrite(512, 4096, nowhere())).to.equal(false);
    expect(drive.beginRead(CLUSTER - 512, 1024, nowhere())).to.equal(false);
  });

  it('answer zeroes from the tables: unallocated, behind the end of the backing file, and with the zero flag', async () => {
    const bench = makeBench();
    const base = await openQcow2(bench);
    await base.write(0, pattern(CLUSTER));
    await bench.graph.closeAll();
    bench.graph = new Graph(bench.host);
    await createImage(bench.graph, '/top.qcow2', {
      driver: 'qcow2',
      size: 2 * SIZE,
      'backing-file': '/a.qcow2',
      'backing-fmt': 'qcow2',
    });
    const top = await openNode(bench.graph, '/top.qcow2', { format: 'qcow2', discard: 'unmap' });
    const { drive, disk } = await device(bench, top);
    await drive.write(CLUSTER, pattern(CLUSTER));
    await drive.writeZeroes(0, 2 * CLUSTER, { mayUnmap: false });
    await contentOf(top);
    const place = nowhere();
    for (const [what, offset, length] of [
      ['the zero flag', 512, 4096],
      ['the zero flag, with and without a cluster', CLUSTER - 512, 1024],
      ['neither layer has it', 4 * CLUSTER, 4096],
      ['behind the end of the backing file', SIZE, 2 * CLUSTER],
    ] as const) {
      place.file = bench.host as never;
      expect(drive.beginRead(offset, length, place), what).to.equal(true);
      expect(place, what).to.deep.equal({ file: null, offset: 0, guard: null });
      drive.ended(false, offset, length, null, false);
      for (const buffer of [new Uint8Array(length).fill(7), bench.host.memory.allocate(length)]) {
        buffer.fill(7);
        await drive.read(offset, buffer);
        expectSame(buffer, new Uint8Array(length), what);
        buffer.fill(7);
        await disk.read(offset, buffer);
        expectSame(buffer, new Uint8Array(length), what);
      }
    }
    const map = new Uint8Array(2);
    await top.read(0, new Uint8Array(8192).fill(7), { granule: 4096, map });
    expect([...map], 'a scan finds the zeroes').to.deep.equal([1, 1]);
    expect(drive.beginRead(SIZE - 512, 1024, place), 'over the end of the backing file').to.equal(false);
    expect(drive.beginRead(2 * CLUSTER - 512, 1024, place), 'zero flag, then unallocated').to.equal(false);
    await drive.close();
    await bench.graph.closeAll();
  });

  it('hand on the error of the file, and are counted as failed', async () => {
    const { drive, disk, host } = await late();
    host.setFaults({ rules: [{ operations: ['read', 'write'] }] });
    for (const request of [disk.read(0, new Uint8Array(512)), disk.write(0, new Uint8Array(512))]) {
      const error = await request.then(
        () => null,
        (reason) => reason,
      );
      expect(error).to.include({ code: 'io', length: 512, errno: 'EIO' });
    }
    expect(disk.located).to.equal(2);
    expect(drive.stats).to.include({ failedOperations: 2, readOperations: 0, writeOperations: 0 });
    host.setFaults({});
    await disk.write(0, new Uint8Array(512));
    expect(drive.stats).to.include({ writeOperations: 1, writeBytes: 512 });
  });

  it('go nowhere, also from a node above, as long as each is to be counted', async () => {
    const bench = makeBench();
    const node = await openQcow2(bench);
    const filter = await openNode(bench.graph, { driver: 'copy-on-read', file: node.nodeName });
    const link = linkTo(filter);
    await link.write(0, pattern(CLUSTER));
    expect(link.locate(0, 512, false, nowhere()), 'at first').to.equal(true);
    link.sent();
    link.answered(false, 0, 512, null);
    node.countsAll++;
    expect(link.locate(0, 512, false, nowhere()), 'while each is counted').to.equal(false);
    node.countsAll--;
  });
});

describe('located requests: who refuses them', () => {
  const refusals: Record<string, (drive: Device, node: BlockNode) => unknown> = {
    'a dirty bitmap that cannot take the mark': (_, node) =>
      node.bitmaps.set('b', new DirtyBitmap({ name: 'b', size: node.length, granularity: CLUSTER, memoryLimit: 0 })),
    'an observer that has something to do first': (_, node) => node.addObserver(new Recorder()),
    'such an observer beside one that has not': (_, node) => {
      node.addObserver(new Recorder());
      node.addObserver({ written: () => {} });
    },
    'a job that fills in': (_, node) => {
      node.serialiser = new RangeLock();
    },
    'a search for zeroes': (_, node) => {
      node.detectZeroes = 'on';
    },
  };
  for (const [what, set] of Object.entries(refusals)) {
    it(`writes: ${what}`, async () => {
      const { drive, node, disk } = await late();
      expect(drive.beginWrite(0, 512, nowhere())).to.equal(true);
      await set(drive, node);
      expect(drive.beginWrite(0, 512, nowhere())).to.equal(false);
      await disk.read(0, new Uint8Array(512));
      expect(disk.located, 'reads go on').to.equal(1);
    });
  }

  const everything: Record<string, (drive: Device, node: BlockNode) => unknown> = {
    'a throttle': (drive) => drive.setThrottle({ admit: () => undefined }),
    'a drained section': (drive) => drive.drainBegin(),
    'a device that closes': (drive) => drive.close(),
    'a node that closes': (_, node) => node.close(),
  };
  for (const [what, set] of Object.entries(everything)) {
    it(`reads and writes: ${what}`, async () => {
      const { drive, node } = await late();
      await set(drive, node);
      expect(drive.beginRead(0, 512, nowhere())).to.equal(false);
      expect(drive.beginWrite(0, 512, nowhere())).to.equal(false);
    });
  }

  for (const [offset, length] of [
    [SIZE, 1],
    [SIZE - 512, 513],
    [-512, 512],
    [0.5, 512],
    [0, 0],
    [0, -1],
    [Number.NaN, 512],
    [0, Number.NaN],
    [2 ** 53, 512],
  ]) {
    it(`${length} bytes at ${offset}`, async () => {
      const { drive } = await late();
      expect(drive.beginRead(offset, length, nowhere())).to.equal(false);
      expect(drive.beginWrite(offset, length, nowhere())).to.equal(false);
    });
  }

  it('writes: a read-only node, a read-only device', async () => {
    const bench = makeBench();
    const node = await openUsed(bench, '/a', pattern(SIZE), { readOnly: true });
    expect(node.locate(0, 512, true, nowhere())).to.equal(false);
    expect(node.locate(0, 512, false, nowhere())).to.equal(true);
    const other = await openRaw(bench, '/b', pattern(SIZE));
    const drive = new Device(other, { name: 'drive0', writable: false });
    expect(drive.beginWrite(0, 512, nowhere())).to.equal(false);
  });

  it('writes: the first sector of an image that was guessed to be raw', async () => {
    const bench = makeBench();
    bench.host.writeFile('/a', new Uint8Array(SIZE));
    const node = await used(openNode(bench.graph, '/a'));
    expect(node.driver).to.equal('raw');
    expect(node.locate(256, 512, true, nowhere())).to.equal(false);
    expect(node.locate(512, 512, true, nowhere())).to.equal(true);
  });

  it('writes: behind the end of a file whose last sector is not whole', async () => {
    const bench = makeBench();
    const node = await openUsed(bench, '/a', pattern(1000));
    expect(node.locate(512, 512, true, nowhere())).to.equal(false);
    expect(node.locate(512, 512, false, nowhere())).to.equal(true);
  });

  it('writes: clusters that a metadata structure lies in', async () => {
    const { node, host } = await late();
    const entry = host.readFile('/a.qcow2');
    const l1 = new DataView(entry.buffer, entry.byteOffset).getBigUint64(40);
    const l2 = Number(new DataView(entry.buffer, entry.byteOffset).getBigUint64(Number(l1)) & 0xffffffffffff00n);
    await node.close();
    // The first guest cluster is said to lie where the L2 table does.
    const view = new DataView(new ArrayBuffer(8));
    view.setBigUint64(0, BigInt(l2) | (1n << 63n));
    const image = host.readFile('/a.qcow2');
    image.set(new Uint8Array(view.buffer), l2);
    host.writeFile('/a.qcow2', image);
    const broken = await openNode(new Graph(host), '/a.qcow2', { format: 'qcow2' });
    await broken.read(CLUSTER, new Uint8Array(512));
    expect(broken.locate(0, 512, true, nowhere())).to.equal(false);
    expect(broken.locate(CLUSTER, 512, true, nowhere())).to.equal(true);
  });
});

describe('located requests: what waits for them', () => {
  it('a drained section', async () => {
    const { drive, disk, node, graph, host } = await late('read', 'write');
    for (const begin of [() => disk.read(0, new Uint8Array(512)), () => disk.write(512, new Uint8Array(512))]) {
      const request = begin();
      expect([disk.located > 0, node.inFlight]).to.deep.equal([true, 1]);
      const section = graph.drained([node.children.get('file')!.node], async () => node.inFlight);
      expect(await stateOf(section)).to.equal('pending');
      expect(drive.beginRead(0, 512, nowhere()), 'nothing new meanwhile').to.equal(false);
      await host.advance(PASS_MS);
      expect(await section).to.equal(0);
      await request;
    }
    expect(disk.located).to.equal(2);
  });

  it('idle, also without a device', async () => {
    const { node, host } = await late();
    const place = nowhere();
    expect(node.locate(0, 512, false, place)).to.equal(true);
    node.sent();
    const idle = node.idle();
    await host.advance(PASS_MS);
    expect(await stateOf(idle)).to.equal('pending');
    node.answered(false, 0, 512, place.guard);
    expect(await stateOf(idle)).to.equal('resolved');
  });

  it('the close of the device, and of the node', async () => {
    const { drive, disk, graph, host } = await late('read');
    const reading = disk.read(0, new Uint8Array(512));
    const closing = drive.close();
    const all = graph.closeAll();
    expect([await stateOf(closing), await stateOf(all)]).to.deep.equal(['pending', 'pending']);
    await host.advance(PASS_MS);
    await Promise.all([reading, closing, all]);
    expect(disk.located).to.equal(1);
  });

  it('nobody, once they are given up', async () => {
    const { drive, node } = await late();
    const place = nowhere();
    expect(drive.beginWrite(0, 512, place)).to.equal(true);
    drive.givenUp(true, place.guard);
    expect(node.inFlight).to.equal(0);
    await drive.close();
    expect(drive.stats).to.include({ writeOperations: 0, failedOperations: 0 });
  });

  for (const write of [false, true]) {
    it(`a cluster that a ${write ? 'write' : 'read'} goes to, before it is used for something else`, async () => {
      const { node, host } = await late();
      const place = nowhere();
      expect(node.locate(0, CLUSTER, write, place)).to.equal(true);
      node.sent();
      const hostOffset = place.offset;
      await node.discard(0, CLUSTER);
      const flushing = node.flush();
      // Whatever is allocated now must not lie there.
      for (let at = 2 * CLUSTER; at < SIZE; at += CLUSTER) await node.write(at, new Uint8Array(CLUSTER).fill(9));
      const there = host.readFile('/a.qcow2', hostOffset, CLUSTER);
      expectSame(there, pattern(CLUSTER), 'the old content');
      node.answered(write, 0, CLUSTER, place.guard);
      await flushing;
      await node.flush();
      expect((await node.abilities.check!(() => {})).corruptions).to.equal(0);
      await node.close();
      const reopened = await openNode(new Graph(host), '/a.qcow2', { format: 'qcow2', readOnly: true });
      expect(await reopened.abilities.check!(() => {})).to.include({ corruptions: 0, leaks: 0 });
    });
  }
});

describe('located requests: what they leave behind', () => {
  it('a write that was answered is durable after the next flush, also where one was under way', async () => {
    const { disk, node, host } = await late('write');
    await node.flush();
    const data = new Uint8Array(512).fill(7);
    const writing = disk.write(0, data);
    await disk.flush();
    expectSame(durable(), pattern(512), 'not answered, so not durable yet');
    await host.advance(PASS_MS);
    await writing;
    await disk.flush();
    expectSame(durable(), data, 'durable');
    expect(disk.located).to.equal(1);

    function durable(): Uint8Array {
      const place = nowhere();
      node.locate(0, 512, false, place);
      place.guard!.release();
      return host.durableFile('/a.qcow2').subarray(place.offset, place.offset + 512);
    }
  });

  it('marks in a bitmap that was added while they were under way', async () => {
    const { disk, node, host } = await late('write');
    const writing = disk.write(4096, new Uint8Array(512));
    const bitmap = new DirtyBitmap({ name: 'b', size: node.length, granularity: 4096 });
    node.bitmaps.set('b', bitmap);
    await host.advance(PASS_MS);
    await writing;
    expect(disk.located).to.equal(1);
    expect([bitmap.dirtyBytes, bitmap.get(4096)]).to.deep.equal([4096, true]);
  });
});

describe('located writes: who watches them', () => {
  function bitmapOf(node: BlockNode): DirtyBitmap {
    const bitmap = new DirtyBitmap({ name: 'b', size: node.length, granularity: 4096 });
    node.bitmaps.set('b', bitmap);
    return bitmap;
  }

  it('a dirty bitmap is marked before the write, and once more after it', async () => {
    const { disk, node, host } = await late('write');
    const bitmap = bitmapOf(node);
    const writing = disk.write(4096, new Uint8Array(512));
    expect([bitmap.dirtyBytes, bitmap.get(4096)], 'under way').to.deep.equal([4096, true]);
    bitmap.clear();
    await host.advance(PASS_MS);
    await writing;
    expect(disk.located).to.equal(1);
    expect([bitmap.dirtyBytes, bitmap.get(4096)], 'answered').to.deep.equal([4096, true]);
  });

  it('an observer learns of each when it has ended, and not before', async () => {
    const { disk, node, host } = await late('write');
    const seen: string[] = [];
    node.addObserver({ written: (offset, length) => seen.push(`${offset}+${length}`) });
    const writing = disk.write(512, new Uint8Array(1024));
    expect(seen).to.deep.equal([]);
    await host.advance(PASS_MS);
    await writing;
    expect(seen).to.deep.equal(['512+1024']);
    expect(disk.located).to.equal(1);
  });

  it('an observer that is taken away learns of those that began before', async () => {
    const { disk, node, host } = await late('write');
    const seen: string[] = [];
    const observer = { written: (offset: number) => seen.push(`${offset}`) };
    node.addObserver(observer);
    const writing = disk.write(512, new Uint8Array(1024));
    node.removeObserver(observer);
    node.addObserver({ written: () => seen.push('later') });
    await host.advance(PASS_MS);
    await writing;
    expect(seen).to.deep.equal(['512']);
  });

  it('nodes below the device watch, too, also a write that fails', async () => {
    const { host, graph } = makeBench();
    await host.writeFile('/a', new Uint8Array(SIZE));
    const node = await openNode(graph, '/a', { format: 'raw' });
    const filter = await openNode(graph, { driver: 'copy-on-read', file: node.nodeName });
    const bitmap = bitmapOf(node);
    const seen: number[] = [];
    node.addObserver({ written: (offset) => seen.push(offset) });
    const drive = new Device(filter, { name: 'drive0', writable: true });
    const disk = new LocatedDisk(drive, host);
    await disk.write(8192, pattern(512));
    host.setFaults({ rules: [{ operations: ['write'] }] });
    const error = await disk.write(16384, pattern(512)).catch((failure: { code: string }) => failure.code);
    expect([error, seen, disk.located]).to.deep.equal(['io', [8192, 16384], 2]);
    expect([bitmap.get(8192), bitmap.get(16384), bitmap.dirtyBytes]).to.deep.equal([true, true, 8192]);
    await drive.close();
  });

  it('all that is watched is told once, the place below is free again, and the guard serves the next write', async () => {
    const { drive, node } = await late();
    const seen: number[] = [];
    for (let i = 0; i < 3; i++) {
      const into = nowhere();
      const written = (offset: number) => seen.push(offset);
      node.addObserver({ written });
      expect(drive.beginWrite(512 * i, 512, into)).to.equal(true);
      if (i === 1) drive.givenUp(true, into.guard);
      else drive.ended(true, 512 * i, 512, into.guard, false);
    }
    expect(seen).to.deep.equal([0, 512, 512, 1024, 1024, 1024]);
    await node.discard(0, 2 * CLUSTER);
    expect(node.inFlight).to.equal(0);
  });
});
