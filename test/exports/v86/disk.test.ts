// The disk of v86 by itself: order, answers, errors, durability, back pressure and state; over a simulated disk, without the emulator.

import { expect } from 'chai';
import { Device } from '../../../src/block/device.js';
import { openNode } from '../../../src/block/open.js';
import { V86Disk, type V86DiskOptions } from '../../../src/exports/v86/disk.js';
import type { SimHost, SimOperation } from '../../../src/host/sim/index.js';
import type { BlockError } from '../../../src/util/errors.js';
import { lateBench, openRaw, PASS_MS, stateOf } from '../../block/support.js';
import { failureOf, makeBench, pattern } from '../../drivers/support.js';

const SIZE = 1 << 20;
const MiB = 1 << 20;

/** An emulator that writes down what it is told. */
class FakeEmulator {
  readonly told: string[] = [];
  stop(): void {
    this.told.push('stop');
  }
  run(): void {
    this.told.push('run');
  }
}

async function make(options: V86DiskOptions = {}, late: readonly SimOperation[] = [], size = SIZE) {
  const bench = lateBench(late);
  const node = await openRaw(bench, '/a', pattern(size));
  const device = new Device(node, { name: 'hda', writable: true });
  const errors: BlockError[] = [];
  const disk = new V86Disk(device, { onError: (error) => errors.push(error), ...options });
  const emulator = new FakeEmulator();
  disk.attach(emulator);
  const { host } = bench;
  return { host, node, device, disk, emulator, errors };
}

const read = (disk: V86Disk, offset: number, length: number) =>
  new Promise<Uint8Array>((resolve) => disk.get(offset, length, resolve));
const write = (disk: V86Disk, offset: number, data: Uint8Array) =>
  new Promise<void>((resolve) => disk.set(offset, data, resolve));
/** Another content than `pattern`'s. */
const ones = (length: number, value = 1) => new Uint8Array(length).fill(value);
const turn = () => new Promise<void>((resolve) => setImmediate(resolve));

/** Lets time pass until `promise` is settled. */
async function pass(host: SimHost, promise: Promise<unknown>): Promise<void> {
  for (let i = 0; i < 100; i++) {
    if ((await stateOf(promise)) !== 'pending') return;
    await host.advance(PASS_MS);
  }
  throw new Error('still pending');
}

/** All that can run without time passing runs. */
async function settle(): Promise<void> {
  for (let i = 0; i < 20; i++) await turn();
}

describe('v86 disk', () => {
  it('loads, and knows its size and the first sector without waiting', async () => {
    const { disk } = await make();
    expect(disk.get_from_cache(0, 512)).to.equal(undefined);
    await new Promise<void>((resolve) => {
      disk.onload = () => resolve();
      disk.load();
    });
    expect(disk.byteLength).to.equal(SIZE);
    expect(disk.get_from_cache(0, 512)).to.deep.equal(pattern(512));
    expect(disk.get_from_cache(512, 512)).to.equal(undefined);
    await write(disk, 0, ones(512));
    expect(disk.get_from_cache(0, 512)).to.equal(undefined);
  });

  it('reads and writes sectors and parts of them', async () => {
    const { disk, host } = await make();
    await write(disk, 1000, ones(24));
    const expected = pattern(SIZE);
    expected.set(ones(24), 1000);
    expect(await read(disk, 512, 1024)).to.deep.equal(expected.slice(512, 1536));
    expect(host.readFile('/a')).to.deep.equal(expected);
  });

  it('answers later, once, and in order', async () => {
    const { disk } = await make();
    const answers: string[] = [];
    disk.set(0, ones(512), () => answers.push('write'));
    disk.get(0, 512, () => answers.push('read'));
    disk.set(512, ones(512), () => answers.push('write again'));
    expect(answers).to.deep.equal([]);
    await disk.flush();
    await turn();
    expect(answers).to.deep.equal(['write', 'read', 'write again']);
  });

  it('reads what was written before, answered or not', async () => {
    const { disk, host } = await make({}, ['write']);
    disk.set(512, ones(1024, 1), () => undefined);
    disk.set(1024, ones(1024, 2), () => undefined);
    const reading = read(disk, 512, 1536);
    expect(await stateOf(reading)).to.equal('pending');
    await pass(host, reading);
    expect(await reading).to.deep.equal(Uint8Array.from([...ones(512, 1), ...ones(1024, 2)]));
  });

  it('copies what it is given to write', async () => {
    const { disk, host } = await make({}, ['write']);
    const first = write(disk, 512, ones(512));
    const data = ones(512);
    const writing = write(disk, 0, data);
    data.fill(9);
    await pass(host, Promise.all([first, writing]));
    expect(host.readFile('/a', 0, 512)).to.deep.equal(ones(512));
  });

  it('makes a write durable before it answers, several with one flush', async () => {
    const { disk, device, host } = await make();
    const writes = [0, 1, 2].map((i) => write(disk, i * 512, ones(512, i + 1)));
    await Promise.all(writes);
    expect(device.stats).to.include({ writeOperations: 3, flushOperations: 1 });
    const after = host.crash({}, { keep: 0, tear: 0 });
    expect(after.readFile('/a', 0, 512)).to.deep.equal(ones(512, 1));
    expect(after.readFile('/a', 1024, 512)).to.deep.equal(ones(512, 3));
  });

  it('flushes when it is asked, or after a time, in writeback mode', async () => {
    const { disk, device, host } = await make({ cache: 'writeback', flushEveryMs: 500 });
    await write(disk, 0, ones(512));
    expect(device.stats.flushOperations).to.equal(0);
    await disk.flush();
    expect(device.stats.flushOperations).to.equal(1);
    await host.advance(500);
    await disk.flush();
    expect(device.stats.flushOperations).to.equal(3);
    await host.advance(5000);
    expect(device.stats.flushOperations).to.equal(3);
    await write(disk, 0, ones(512));
    await disk.close();
    await host.advance(5000);
    expect(device.stats.flushOperations).to.equal(4);
  });

  it('refuses options that mean nothing', async () => {
    for (const options of [
      { cache: 'none' as never },
      { flushEveryMs: 10 },
      { cache: 'writeback' as const, flushEveryMs: 0 },
    ]) {
      const error = await failureOf(make(options));
      expect(error.code).to.equal('invalid-argument');
    }
  });

  describe('when a request fails', () => {
    it('stops the emulator and holds it and all after it until it is tried again', async () => {
      const { disk, emulator, errors, host } = await make();
      host.setFaults({ rules: [{ operations: ['write'], errno: 'ENOSPC', after: 1, times: 1 }] });
      const answers: string[] = [];
      disk.set(0, ones(512), () => answers.push('first'));
      disk.get(0, 512, () => answers.push('read'));
      disk.set(512, ones(512), () => answers.push('second'));
      disk.get(512, 512, () => answers.push('read again'));
      expect((await failureOf(disk.flush())).code).to.equal('no-space');
      await turn();
      expect(answers).to.deep.equal(['first', 'read']);
      expect(errors.map(({ code }) => code)).to.deep.equal(['no-space']);
      expect(disk.error?.code).to.equal('no-space');
      expect(emulator.told).to.deep.equal(['stop']);
      expect((await failureOf(disk.flush())).code).to.equal('no-space');
      disk.retry();
      await disk.flush();
      expect(answers).to.deep.equal(['first', 'read', 'second', 'read again']);
      expect(disk.error).to.equal(null);
      expect(host.readFile('/a', 512, 512)).to.deep.equal(ones(512));
    });

    it('writes again what a failed flush may have lost', async () => {
      const { host, graph } = makeBench();
      host.writeFile('/a', pattern(SIZE));
      const file = { driver: 'file', filename: '/a', cache: { direct: true } } as const;
      const node = await openNode(graph, { driver: 'raw', file });
      const errors: BlockError[] = [];
      const disk = new V86Disk(new Device(node, { name: 'hda', writable: true }), { onError: (e) => errors.push(e) });
      host.setFaults({ failedFlushLoses: true, rules: [{ operations: ['flush'], times: 1 }] });
      const writes = [write(disk, 0, ones(512)), write(disk, 4096, ones(512))];
      await settle();
      expect(errors.map(({ code }) => code)).to.deep.equal(['io']);
      expect(await stateOf(Promise.race(writes))).to.equal('pending');
      disk.retry();
      await Promise.all(writes);
      const after = host.crash({}, { keep: 0, tear: 0 });
      expect(after.readFile('/a', 0, 512)).to.deep.equal(ones(512));
      expect(after.readFile('/a', 4096, 512)).to.deep.equal(ones(512));
    });

    it('may be tried again from within onError', async () => {
      const made = await make({
        onError: () => made.disk.retry(),
      });
      made.host.setFaults({ rules: [{ operations: ['read'], times: 3 }] });
      expect(await read(made.disk, 0, 512)).to.deep.equal(pattern(512));
    });

    it('says so of a load, a write past the end, a disk that is read-only and one that is closed', async () => {
      const loading = await make();
      loading.host.setFaults({ rules: [{ operations: ['read'] }] });
      let loaded = false;
      loading.disk.onload = () => {
        loaded = true;
      };
      loading.disk.load();
      await settle();
      expect(loading.errors.map(({ code }) => code)).to.deep.equal(['io']);
      expect(loaded).to.equal(false);

      const beyond = await make();
      beyond.disk.set(SIZE, ones(512), () => expect.fail());
      expect((await failureOf(beyond.disk.flush())).code).to.equal('out-of-bounds');

      const bench = makeBench();
      const node = await openRaw(bench, '/a', pattern(SIZE), { readOnly: true });
      const readOnly = new V86Disk(new Device(node, { name: 'hda', writable: false }));
      expect(await read(readOnly, 0, 512)).to.deep.equal(pattern(512));
      readOnly.set(0, ones(512), () => expect.fail());
      expect((await failureOf(readOnly.flush())).code).to.equal('read-only');

      const closed = await make();
      await closed.disk.close();
      await closed.disk.close();
      closed.disk.get(0, 512, () => expect.fail());
      expect(closed.errors.map(({ code }) => code)).to.deep.equal(['closed']);
      expect(closed.emulator.told).to.deep.equal(['stop']);
      expect((await failureOf(closed.disk.flush())).code).to.equal('closed');
      expect(() => closed.disk.retry())
        .to.throw()
        .with.property('code', 'bad-state');
    });
  });

  describe('when its guest writes faster than the image takes it', () => {
    it('stops the guest, and lets it go on', async () => {
      const { disk, emulator, host } = await make({}, ['write'], 20 * MiB);
      let answers = 0;
      for (let i = 0; i < 17; i++) disk.set(i * MiB, ones(MiB), () => answers++);
      expect(emulator.told).to.deep.equal(['stop']);
      const done = disk.flush();
      await pass(host, done);
      expect(answers).to.equal(17);
      expect(emulator.told).to.deep.equal(['stop', 'run']);
    });

    it('leaves the emulator alone once a state is prepared', async () => {
      const { disk, emulator, host } = await make({}, ['write'], 20 * MiB);
      for (let i = 0; i < 17; i++) disk.set(i * MiB, ones(MiB), () => undefined);
      const done = disk.prepareState();
      await pass(host, done);
      await done;
      expect(emulator.told).to.deep.equal(['stop']);
    });

    it('is given up where nobody stops the guest', async () => {
      const { disk, errors } = await make({}, ['write']);
      for (let i = 0; i < 40; i++) disk.set(0, ones(4 * MiB), () => expect.fail());
      expect(errors.map(({ code }) => code)).to.deep.equal(['limit']);
      expect((await failureOf(disk.flush())).code).to.equal('limit');
    });
  });

  it('waits for the end of a drained section', async () => {
    const { disk, device, host } = await make();
    device.drainBegin();
    const writing = write(disk, 0, ones(512));
    expect(await stateOf(writing)).to.equal('pending');
    expect(host.readFile('/a', 0, 512)).to.deep.equal(pattern(512));
    device.drainEnd();
    await writing;
    expect(host.readFile('/a', 0, 512)).to.deep.equal(ones(512));
  });

  describe('state', () => {
    it('is kept and taken where the content is the same, in whatever file', async () => {
      const { disk } = await make();
      await write(disk, 0, ones(512));
      await disk.prepareState();
      const state = JSON.parse(JSON.stringify(disk.get_state()));

      const copy = pattern(SIZE);
      copy.set(ones(512));
      const bench = makeBench();
      const other = new V86Disk(new Device(await openRaw(bench, '/b', copy), { name: 'hda', writable: true }));
      await other.prepareState();
      other.set_state(state);
      await write(other, 512, ones(512));
    });

    it('is refused by a disk that was written to since, and by another one; neither takes a request then', async () => {
      const { disk } = await make();
      await disk.prepareState();
      const state = disk.get_state();
      const others: [string, () => Promise<V86Disk>][] = [
        [
          "'/a' as it was when it was saved",
          async () => {
            await write(disk, SIZE - 1, ones(1));
            return disk;
          },
        ],
        ["'/a' of 1048576 bytes, this disk has 512", async () => (await make({}, [], 512)).disk],
      ];
      for (const [message, open] of others) {
        const other = await open();
        await other.prepareState();
        expect(() => other.set_state(state))
          .to.throw(message)
          .with.property('code', 'invalid-argument');
        expect((await failureOf(other.flush())).code).to.equal('invalid-argument');
      }
    });

    it('of something else is refused', async () => {
      for (const state of [undefined, [], [512, new Uint8Array(512)]]) {
        const { disk, emulator } = await make();
        await disk.prepareState();
        expect(() => disk.set_state(state as never))
          .to.throw('another kind')
          .with.property('code', 'invalid-argument');
        expect(emulator.told).to.deep.equal(['stop']);
      }
    });

    it('needs prepareState, after the last write and with a guest that is stopped', async () => {
      const { disk, device } = await make();
      const unprepared = () =>
        expect(() => disk.get_state())
          .to.throw()
          .with.property('code', 'bad-state');
      unprepared();
      await disk.prepareState();
      disk.get_state();
      await write(disk, 0, ones(512));
      unprepared();
      await disk.prepareState();
      await device.write(512, ones(512));
      unprepared();
      const preparing = disk.prepareState();
      disk.set(0, ones(512), () => disk.get(0, 512, () => undefined));
      expect((await failureOf(preparing)).code).to.equal('bad-state');
    });

    it('tells contents apart by place and value, and takes holes for zeroes', async () => {
      const digest = async (content: Uint8Array) => {
        const node = await openRaw(makeBench(), '/a', content);
        const disk = new V86Disk(new Device(node, { name: 'hda', writable: true }));
        await disk.prepareState();
        return disk.get_state()[1];
      };
      const size = MiB + 4096;
      const one = (at: number, value = 1) => {
        const content = new Uint8Array(size);
        content[at] = value;
        return content;
      };
      const contents = [
        new Uint8Array(size),
        new Uint8Array(size + 512),
        ...[0, 1, 2, 4, 16, 65536, 65537, MiB, size - 1].map((at) => one(at)),
        one(0, 2),
        pattern(size),
        pattern(size, 2),
      ];
      const digests = new Set(await Promise.all(contents.map(digest)));
      expect(digests.size).to.equal(contents.length);
    });
  });
});
