// Persistent bitmaps that are written: when they are stored, when they are marked as in use, and what happens where that fails.

import { expect } from 'chai';
import type { DirtyBitmap } from '../../../src/block/bitmap.js';
import { Graph } from '../../../src/block/graph.js';
import type { Qcow2Node } from '../../../src/drivers/formats/qcow2/driver.js';
import type { SimHost } from '../../../src/host/sim/index.js';
import { addBitmap, addStoredBitmap, mergeBitmaps, removeStoredBitmap } from '../../../src/workspace/bitmap.js';
import { bitsOf } from '../../sim/bitmap-model.js';
import type { VerifiedBitmap } from '../../sim/verify-bitmaps.js';
import { verifyQcow2 } from '../../sim/verify-qcow2.js';
import { failureOf } from '../support.js';
import { again, type CreateOptions, type Fixture, findings, fresh, openAt, PATH } from './bench.js';

const SIZE = 1 << 20;
const PIECE = 4096;
const data = new Uint8Array(PIECE).fill(7);

/** The bitmaps in the file, as an independent reader finds them; nothing in it may contradict itself. */
function onDisk(bytes: Uint8Array): Map<string, VerifiedBitmap> {
  const { errors, bitmaps } = verifyQcow2(bytes);
  expect(errors.join('; ')).to.equal('');
  return new Map(bitmaps.map((bitmap) => [bitmap.name, bitmap]));
}

/** What is in the file after power loss, where nothing reaches the disk but what was flushed. */
const afterCrash = (host: SimHost) => onDisk(host.durableFile(PATH));
const dirty = ({ bits }: VerifiedBitmap): number => bits.reduce((sum, bit) => sum + bit, 0);

function add(node: Qcow2Node, name: string, more: { granularity?: number; enabled?: boolean } = {}) {
  return addStoredBitmap(node, name, { granularity: PIECE, persistent: true, ...more });
}

async function withBitmap(
  options: Partial<CreateOptions> = {},
): Promise<Fixture & { node: Qcow2Node; bitmap: DirtyBitmap }> {
  const fixture = await fresh({ size: SIZE, 'cluster-size': 512, ...options });
  return { ...fixture, bitmap: await add(fixture.node, 'b') };
}

describe('qcow2: persistent bitmaps are stored', () => {
  it('when they are added: they survive a power loss', async () => {
    const { host } = await withBitmap();
    expect(afterCrash(host).get('b')).to.include({ inUse: false, auto: true, granularity: PIECE });
  });

  it('at a flush, and are marked before a write makes them wrong', async () => {
    const { host, node } = await withBitmap();
    await node.write(0, data);
    expect(afterCrash(host).get('b')!.inUse).to.equal(true);
    await node.flush();
    const [first, ...others] = afterCrash(host).get('b')!.bits;
    expect([first, Math.max(...others)]).to.deep.equal([1, 0]);
    await node.writeZeroes(8 * PIECE, PIECE);
    expect(afterCrash(host).get('b')!.inUse, 'after another write').to.equal(true);
  });

  it('and stay right where a write goes to what is dirty already', async () => {
    const { host, node } = await withBitmap();
    await node.write(0, data);
    await node.flush();
    const before = host.readFile(PATH);
    await node.write(512, data.subarray(0, 512));
    expect(dirty(afterCrash(host).get('b')!)).to.equal(1);
    expect(onDisk(host.readFile(PATH))).to.deep.equal(onDisk(before));
  });

  it('with the size of the disk, or that size does not change', async () => {
    const { node, bitmap } = await withBitmap();
    const snapshots = node.abilities.snapshots!;
    const { id } = await snapshots.create({ name: 'smaller' });
    await node.truncate(2 * SIZE);
    bitmap.inconsistent = true;
    expect((await failureOf(snapshots.apply(id))).code).to.equal('bad-state');
    expect(node.length).to.equal(2 * SIZE);
  });

  it('only before or after a change of snapshots, which writes other refcount blocks', async () => {
    for (let steps = 0; steps < 400; steps += 20) {
      const { host, graph, node } = await fresh({ size: SIZE, 'cluster-size': 512 });
      await node.write(0, new Uint8Array(SIZE / 4).fill(1));
      await node.flush();
      const made = node.abilities.snapshots!.create({ name: 'snapshot' });
      for (let step = 0; step < steps; step++) await null;
      await Promise.all([made, add(node, 'a'), add(node, 'b')]);
      await node.write(0, new Uint8Array(SIZE / 4).fill(2));
      await graph.closeAll();
      expect([...onDisk(host.readFile(PATH)).keys()], `begun after ${steps} steps`).to.have.members(['a', 'b']);
    }
  });

  it('with what follows from being disabled, cleared and merged', async () => {
    const { host, node, bitmap } = await withBitmap();
    const other = await add(node, 'other', { enabled: false, granularity: 512 });
    await node.write(0, data);
    mergeBitmaps(other, [bitmap]);
    bitmap.clear();
    bitmap.disable();
    await node.write(PIECE, data);
    expect(afterCrash(host).get('b')!.inUse, 'disabled, and written to').to.equal(true);
    await node.flush();
    const stored = afterCrash(host);
    expect(stored.get('b')).to.include({ inUse: false, auto: false });
    expect([dirty(stored.get('b')!), dirty(stored.get('other')!)]).to.deep.equal([0, 8]);
  });

  it('at close and before the image becomes read-only, and nothing leaks', async () => {
    const { host, graph, node, bitmap } = await withBitmap();
    await node.write(0, data);
    await node.reopen(true);
    expect(onDisk(host.readFile(PATH)).get('b')!.inUse).to.equal(false);
    for (const change of [() => bitmap.clear(), () => mergeBitmaps(bitmap, [bitmap]), () => bitmap.checkRemovable()]) {
      expect(change).to.throw("Bitmap 'b' is readonly and cannot be modified");
    }
    expect((await failureOf(removeStoredBitmap(node, 'b'))).code).to.equal('read-only');
    await node.reopen(false);
    await node.write(64 * PIECE, data);
    await graph.closeAll();
    const loaded = await again({ host, graph });
    expect(bitsOf(loaded.bitmaps.get('b')!)).to.deep.equal(bitsOf(bitmap));
    expect(dirty(onDisk(host.readFile(PATH)).get('b')!)).to.equal(2);
    expect(await findings(loaded)).to.deep.equal([]);
  });

  it('as all ones without a cluster, and as nothing where nothing is dirty', async () => {
    const { host, node, bitmap } = await withBitmap({ size: 64 << 20 });
    await node.makeEmpty();
    await node.flush();
    expect(dirty(afterCrash(host).get('b')!)).to.equal((64 << 20) / PIECE);
    const full = verifyQcow2(host.readFile(PATH));
    bitmap.clear();
    await node.flush();
    expect(dirty(afterCrash(host).get('b')!)).to.equal(0);
    expect(full.errors).to.deep.equal([]);
  });

  it('with what was written while they were frozen', async () => {
    const { host, node, bitmap } = await withBitmap();
    await node.write(0, data);
    bitmap.createSuccessor();
    await node.write(PIECE, data);
    await node.flush();
    expect(dirty(afterCrash(host).get('b')!)).to.equal(2);
    bitmap.abdicate();
    await node.flush();
    expect(afterCrash(host).get('b')!.bits.slice(0, 3)).to.deep.equal(new Uint8Array([0, 1, 0]));
  });

  it('right where one is cleared during a write', async () => {
    const { host, node, bitmap } = await withBitmap();
    await node.write(0, data);
    await node.flush();
    // In a simulated run, requests end when the seed says so.
    const seeded = host.fork({ seed: 3, eager: false });
    const graph = new Graph(seeded);
    await seeded.run(async () => {
      const opened = await openAt({ host: seeded, graph });
      const [own] = opened.bitmaps.values();
      const writing = opened.write(0, data);
      own.clear();
      await opened.flush();
      await writing;
      const found = afterCrash(seeded).get('b')!;
      expect(found.inUse || found.bits[0] === 1, 'the bitmap is marked, or knows of the write').to.equal(true);
      await graph.closeAll();
      expect(onDisk(seeded.readFile(PATH)).get('b')!.bits[0]).to.equal(1);
    });
    expect(bitmap.busy).to.equal(false);
  });

  it('or removed, the space with them', async () => {
    const { host, graph, node } = await withBitmap();
    await add(node, 'second');
    await node.write(0, data);
    await removeStoredBitmap(node, 'b');
    expect([...afterCrash(host).keys()]).to.deep.equal(['second']);
    await removeStoredBitmap(node, 'second');
    expect(afterCrash(host).size).to.equal(0);
    await graph.closeAll();
    expect(await findings(await again({ host, graph }))).to.deep.equal([]);
    // Neither is the extension left, nor the bit that says that it is valid.
    const bytes = Buffer.from(host.readFile(PATH));
    expect(bytes.readBigUInt64BE(88)).to.equal(0n);
    expect(bytes.subarray(0, 512).indexOf(Buffer.from([0x23, 0x85, 0x28, 0x75]))).to.equal(-1);
  });

  it('when the disk has another size, and follow it', async () => {
    const { host, graph, node, bitmap } = await withBitmap();
    await node.write(SIZE - PIECE, data);
    for (const size of [40 * SIZE, SIZE / 2]) {
      await node.truncate(size);
      await node.flush();
      expect(afterCrash(host).get('b')!.bits.length).to.equal(size / PIECE);
      expect(bitsOf(bitmap)).to.deep.equal(onDisk(host.readFile(PATH)).get('b')!.bits);
    }
    await graph.closeAll();
    expect(await findings(await again({ host, graph }))).to.deep.equal([]);
  });
});

describe('qcow2: persistent bitmaps that were in use', () => {
  /** `b` is in use, `sound` is not. */
  async function crashed(): Promise<Fixture & { node: Qcow2Node }> {
    const { host, node } = await withBitmap();
    await add(node, 'sound', { enabled: false });
    await node.write(0, data);
    const after = host.crash();
    const fixture = { host: after, graph: new Graph(after) };
    return { ...fixture, node: await openAt(fixture) };
  }

  it('can only be removed, and stay as they are when others are stored', async () => {
    const { host, graph, node } = await crashed();
    const broken = node.bitmaps.get('b')!;
    expect(broken).to.include({ inconsistent: true, recording: false });
    for (const change of [() => broken.clear(), () => broken.enable(), () => broken.disable()]) {
      expect(change).to.throw("Bitmap 'b' is inconsistent and cannot be used");
    }
    await add(node, 'new');
    await node.write(0, data);
    await graph.closeAll();
    const stored = onDisk(host.readFile(PATH));
    expect([...stored].map(([name, { inUse }]) => [name, inUse])).to.deep.equal([
      ['b', true],
      ['sound', false],
      ['new', false],
    ]);
    const opened = await again({ host, graph }, {});
    expect((await failureOf(opened.truncate(2 * SIZE))).message).to.match(/inconsistent/);
    await removeStoredBitmap(opened, 'b');
    await opened.truncate(2 * SIZE);
    expect([...afterCrash(host).keys()]).to.deep.equal(['sound', 'new']);
  });

  it('do not follow the disk to a size for which they could not be stored', async () => {
    const { node } = await withBitmap({ 'cluster-size': 65536 });
    await add(node, 'fine', { granularity: 512 });
    expect((await failureOf(node.truncate(3 * 2 ** 40))).code).to.equal('limit');
    expect(node.length).to.equal(SIZE);
    await node.truncate(2 ** 40);
    await removeStoredBitmap(node, 'fine');
    await node.truncate(3 * 2 ** 40);
  });

  for (const [flag, usable] of [
    [4, true],
    [0, false],
  ] as const) {
    it(`have extra data that is kept, and ${usable ? 'may' : 'may not'} be ignored`, async () => {
      const { host, graph } = await withBitmap();
      await graph.closeAll();
      withExtra(host, flag);
      const node = await again({ host, graph }, {});
      expect(node.bitmaps.get('b')!.inconsistent).to.equal(!usable);
      await node.write(0, data);
      await add(node, 'new');
      await node.flush();
      const { extra, inUse } = afterCrash(host).get('b')!;
      expect([...extra]).to.deep.equal([1, 2, 3, 4, 5]);
      // It records, by its flag, and nobody can record for it.
      expect(inUse).to.equal(!usable);
    });
  }

  /** Gives the only bitmap extra data, and this flag. */
  function withExtra(host: SimHost, flag: number): void {
    const bytes = Buffer.from(host.readFile(PATH));
    const at = bytes.indexOf(Buffer.from([0x23, 0x85, 0x28, 0x75]));
    const directory = Number(bytes.readBigUInt64BE(at + 24));
    bytes.writeBigUInt64BE(32n, at + 16);
    bytes.writeUInt32BE(2 | flag, directory + 12);
    bytes.writeUInt32BE(5, directory + 20);
    bytes.set([1, 2, 3, 4, 5, 'b'.charCodeAt(0), 0, 0], directory + 24);
    host.writeFile(PATH, bytes);
  }
});

describe('qcow2: persistent bitmaps that cannot be stored', () => {
  it('are refused before anything changes', async () => {
    const { node, host } = await fresh({ size: SIZE, version: 'v2' });
    const before = host.readFile(PATH);
    expect((await failureOf(add(node, 'b'))).message).to.match(
      /^Can't make bitmap 'b' persistent in '.*': Cannot store/,
    );
    expect(node.bitmaps.size).to.equal(0);
    expect(host.readFile(PATH)).to.deep.equal(before);
    const { node: large } = await fresh({ size: 2 ** 43, 'cluster-size': 2 << 20 });
    expect((await failureOf(add(large, 'b', { granularity: 512 }))).message).to.match(/Use larger granularity$/);
    expect((await failureOf(add(large, 'x'.repeat(1024)))).message).to.match(/Name length exceeds maximum/);
    const name = 'x'.repeat(1023);
    await add(large, name);
    expect((await failureOf(add(large, name))).message).to.equal(`Bitmap already exists: ${name}`);
    await large.reopen(true);
    expect((await failureOf(add(large, 'b'))).code).to.equal('read-only');
  });

  it('at close: one error, which names them, and they stay marked', async () => {
    const { host, graph, node, bitmap } = await withBitmap();
    await node.write(0, data);
    await node.flush();
    bitmap.clear();
    // In place: nothing but the bitmap is to be written at the close.
    await node.write(0, data);
    host.setFaults({ rules: [{ operations: ['write'], errno: 'EIO' }] });
    const error = await failureOf(graph.closeAll());
    expect([error.code, error.message]).to.deep.equal([
      'io',
      error.message.match(
        /^\/image.qcow2: Lost persistent bitmaps 'b': they could not be stored, and stay marked .*/,
      )?.[0],
    ]);
    expect(afterCrash(host).get('b')!.inUse).to.equal(true);
  });

  it('at a flush do not fail it', async () => {
    const { host, graph, node } = await withBitmap();
    host.setCapacity(0);
    // Their directory is longer than what is reserved ahead.
    for (let i = 0; i < 600; i++) addBitmap(node, String(i).padEnd(1023, 'x'), { persistent: true });
    await node.flush();
    expect([...afterCrash(host).keys()]).to.deep.equal(['b']);
    host.setCapacity(Number.POSITIVE_INFINITY);
    await node.flush();
    expect(afterCrash(host).size).to.equal(601);
    await graph.closeAll();
    expect(await findings(await again({ host, graph }))).to.deep.equal([]);
  });

  for (const errno of ['EIO', 'ENOSPC'] as const) {
    it(`are right or marked, whichever request fails (${errno})`, async () => {
      let failed = true;
      for (let step = 0; failed; step++) {
        const { host, graph, node, bitmap } = await withBitmap();
        let calls = 0;
        const operations = ['write', 'truncate', 'allocate', 'zeroRange', 'flush'] as const;
        host.setFaults({ rules: [{ operations, after: step, times: 1, errno }] });
        const before = host.requests;
        for (const action of life(node, bitmap)) {
          calls++;
          await action().catch((error: unknown) => expectBlockError(error));
        }
        await graph.closeAll().catch((error: unknown) => expectBlockError(error));
        failed = step < host.requests - before;
        expect(calls).to.equal(8);
        for (const file of [host.readFile(PATH), host.crash().readFile(PATH)]) {
          for (const [name, found] of onDisk(file)) {
            const memory = node.bitmaps.get(name);
            // Nothing was written after it was stored for the last time.
            if (!found.inUse && memory !== undefined) {
              const bits = bitsOf(memory);
              expect(
                found.bits.every((bit, i) => bit >= bits[i]),
                `step ${step}: '${name}' lost bits`,
              ).to.equal(true);
            }
          }
        }
      }
    });
  }

  /** Everything that stores bitmaps. */
  function life(node: Qcow2Node, bitmap: DirtyBitmap): (() => Promise<unknown>)[] {
    return [
      () => node.write(0, data),
      () => node.flush(),
      () => add(node, 'second', { granularity: 512 }),
      () => node.write(5 * PIECE, data),
      async () => bitmap.disable(),
      () => removeStoredBitmap(node, 'second'),
      () => node.write(100 * PIECE, data),
      () => node.flush(),
    ];
  }

  function expectBlockError(error: unknown): void {
    expect(['io', 'no-space', 'not-found'], (error as Error).stack).to.include((error as { code?: string }).code);
  }
});
