// A device: statistics, throttle, drained sections, close; over real drivers on a clock that the test moves.

import { expect } from 'chai';
import { Device, rootOf } from '../../src/block/device.js';
import type { Admission } from '../../src/block/device-options.js';
import { openNode } from '../../src/block/open.js';
import { ThrottleGroup, type ThrottleMember } from '../../src/host/throttle.js';
import type { ThrottleLimits } from '../../src/host/throttle-config.js';
import { type Bench, failureOf, makeBench, pattern } from '../drivers/support.js';
import { lateBench, openRaw, PASS_MS, stateOf } from './support.js';

const SIZE = 65536;

async function device(bench: Bench = makeBench(), options: { writable?: boolean; throttle?: Admission } = {}) {
  const node = await openRaw(bench, '/a', pattern(SIZE));
  return { ...bench, node, device: new Device(node, { name: 'drive0', writable: true, ...options }) };
}

/** One request goes at once, the next waits for ten seconds and more. */
function slowThrottle(bench: Bench, limits: ThrottleLimits = { 'iops-total': 1, 'iops-total-max': 1 }): ThrottleMember {
  return new ThrottleGroup(bench.host.clock, limits).join();
}

async function throttled() {
  const bench = makeBench({ manualClock: true });
  const throttle = slowThrottle(bench);
  const made = await device(bench, { throttle });
  // Until the bucket is full.
  while (throttle.admit(true, 1) === undefined);
  return made;
}

describe('device', () => {
  it('reads and writes through its node and counts', async () => {
    const { device: drive, host } = await device();
    const buffer = new Uint8Array(512);
    await drive.read(0, buffer);
    await drive.write(512, buffer);
    await drive.writeZeroes(1024, 100);
    await drive.discard(2048, 512);
    await drive.flush();
    expect(host.readFile('/a', 512, 512)).to.deep.equal(pattern(512));
    expect(host.readFile('/a', 1024, 100)).to.deep.equal(new Uint8Array(100));
    expect(drive.stats).to.deep.equal({
      readOperations: 1,
      readBytes: 512,
      writeOperations: 2,
      writeBytes: 612,
      flushOperations: 1,
      unmapOperations: 1,
      unmapBytes: 512,
      failedOperations: 0,
    });
  });

  it('counts what failed apart', async () => {
    const { device: drive, host } = await device();
    host.setFaults({ rules: [{ operations: ['write', 'flush'] }] });
    expect((await failureOf(drive.write(0, Uint8Array.of(1)))).code).to.equal('io');
    expect((await failureOf(drive.flush())).code).to.equal('io');
    expect((await failureOf(drive.read(SIZE, new Uint8Array(1)))).code).to.equal('out-of-bounds');
    expect(drive.stats).to.include({ failedOperations: 3, writeOperations: 0, flushOperations: 0, readOperations: 0 });
  });

  it('that is read-only refuses every change', async () => {
    const { device: drive, host } = await device(makeBench(), { writable: false });
    for (const change of [
      () => drive.write(0, Uint8Array.of(1)),
      () => drive.writeZeroes(0, 1),
      () => drive.discard(0, 1),
    ]) {
      expect((await failureOf(change())).code).to.equal('read-only');
    }
    expect(host.readFile('/a')).to.deep.equal(pattern(SIZE));
  });

  it('that is read-only can be flushed', async () => {
    const { device: drive } = await device(makeBench(), { writable: false });
    await drive.flush();
    expect(drive.stats.flushOperations).to.equal(1);
  });

  it('cannot be a writer of a read-only node', async () => {
    const bench = makeBench();
    const node = await openRaw(bench, '/a', pattern(SIZE), { readOnly: true });
    expect(() => new Device(node, { name: 'd', writable: true }))
      .to.throw()
      .with.property('code', 'read-only');
    expect(node.parents.size).to.equal(0);
  });
});

describe('device: throttle', () => {
  it('lets a request wait', async () => {
    const { device: drive, host } = await throttled();
    const reading = drive.read(0, new Uint8Array(1));
    expect(await stateOf(reading)).to.equal('pending');
    await host.advance(60_000);
    await reading;
    expect(drive.stats.readOperations).to.equal(1);
  });

  it('is asked for reads and writes by their bytes, not for flushes and discards', async () => {
    const asked: [boolean, number][] = [];
    const throttle: Admission = { admit: (isWrite, bytes) => void asked.push([isWrite, bytes]) };
    const { device: drive } = await device(makeBench(), { throttle });
    await drive.read(0, new Uint8Array(5));
    await drive.write(0, new Uint8Array(6));
    await drive.writeZeroes(0, 7);
    await drive.discard(0, 8);
    await drive.flush();
    expect(asked).to.deep.equal([
      [false, 5],
      [true, 6],
      [true, 7],
    ]);
  });

  it('is not charged for what a read-only device refuses', async () => {
    let asked = 0;
    const throttle: Admission = { admit: () => void asked++ };
    const { device: drive } = await device(makeBench(), { writable: false, throttle });
    expect((await failureOf(drive.write(0, Uint8Array.of(1)))).code).to.equal('read-only');
    expect(asked).to.equal(0);
  });

  it('does not hold up a drained section, and nothing passes in one', async () => {
    const { device: drive, graph, node, host } = await throttled();
    const writing = drive.write(0, Uint8Array.of(200));
    await graph.drained([node], async () => {
      await host.advance(60_000);
      expect(await stateOf(writing)).to.equal('pending');
      expect(host.readFile('/a', 0, 1)).to.deep.equal(pattern(1));
    });
    await writing;
    expect(host.readFile('/a', 0, 1)[0]).to.equal(200);
  });

  it('that is exchanged lets those who wait pass', async () => {
    const { device: drive, host } = await throttled();
    const requests = [drive.read(0, new Uint8Array(1)), drive.write(0, Uint8Array.of(1))];
    expect(await stateOf(Promise.race(requests))).to.equal('pending');
    drive.setThrottle(slowThrottle({ host } as Bench, { 'bps-read': 1 }));
    await Promise.all(requests);
    expect(drive.throttle).to.not.equal(null);
  });

  it('lets all who wait pass when the device is closed, and they are answered before that', async () => {
    const { device: drive, host, node } = await throttled();
    const requests = [drive.write(0, Uint8Array.of(200)), drive.read(0, new Uint8Array(1))];
    await drive.close();
    expect(host.readFile('/a', 0, 1)[0]).to.equal(200);
    await Promise.all(requests);
    expect(node.parents.size).to.equal(0);
  });

  it('of a group is not held up by a device that is gone', async () => {
    const bench = makeBench({ manualClock: true });
    const group = new ThrottleGroup(bench.host.clock, { 'iops-total': 1 });
    const { device: drive } = await device(bench, { throttle: group.join() });
    const other = group.join();
    while (group.tryAdmit(true, 1));
    const gone = drive.write(0, Uint8Array.of(1));
    const waiting = other.admit(true, 1)!;
    await drive.close();
    await gone;
    expect(await stateOf(waiting)).to.equal('pending');
    await bench.host.advance(60_000);
    await waiting;
  });
});

describe('device: drained sections', () => {
  it('wait for what is in flight', async () => {
    const { device: drive, graph, node, host } = await device(lateBench(['read', 'write']));
    const requests = [drive.read(0, new Uint8Array(1)), drive.write(1, Uint8Array.of(1))];
    let entered = false;
    const section = graph.drained([node], async () => {
      entered = true;
    });
    expect(await stateOf(section)).to.equal('pending');
    expect(entered).to.equal(false);
    await host.advance(PASS_MS);
    await Promise.all([...requests, section]);
    expect(entered).to.equal(true);
  });

  it('hold up what comes meanwhile, until the last one ends', async () => {
    const { device: drive, graph, node } = await device();
    let reading: Promise<void> | undefined;
    await graph.drained([node], async () => {
      reading = drive.read(0, new Uint8Array(1));
      await graph.drained([node], async () => {});
      expect(await stateOf(reading)).to.equal('pending');
    });
    await reading;
  });

  it('that fail let go all the same', async () => {
    const { device: drive, graph, node } = await device();
    const section = graph.drained([node], () => Promise.reject(new Error('no')));
    expect(await section.catch((error: Error) => error.message)).to.equal('no');
    await drive.read(0, new Uint8Array(1));
  });

  it('end also where a request fails meanwhile', async () => {
    const { device: drive, graph, node, host } = await device(lateBench(['write']));
    host.setFaults({ rules: [{ operations: ['write'] }] });
    const writing = failureOf(drive.write(0, Uint8Array.of(1)));
    const section = graph.drained([node], async () => 'done');
    await host.advance(PASS_MS);
    expect((await writing).code).to.equal('io');
    expect(await section).to.equal('done');
  });

  it('of a busy device come about, and every request is answered with the right bytes', async () => {
    const bench = makeBench({ seed: 7, eager: false });
    await bench.host.run(async () => {
      const { device: drive, graph, node } = await device(bench);
      let stop = false;
      let answered = 0;
      const worker = async (id: number) => {
        for (let i = 0; !stop; i++) {
          const offset = id * 4096;
          const bytes = pattern(4096, id + i);
          await drive.write(offset, bytes);
          const back = new Uint8Array(4096);
          await drive.read(offset, back);
          expect(back).to.deep.equal(bytes);
          answered++;
        }
      };
      const workers = Array.from({ length: 8 }, (_, id) => worker(id));
      for (let round = 0; round < 20; round++) {
        await graph.drained([node], async () => {
          expect([node.inFlight, node.children.get('file')!.node.inFlight]).to.deep.equal([0, 0]);
          const before = answered;
          await new Promise<void>((resolve) => bench.host.clock.timer(50, resolve));
          expect(answered).to.equal(before);
        });
        await new Promise<void>((resolve) => bench.host.clock.timer(50, resolve));
      }
      stop = true;
      await Promise.all(workers);
      expect(answered).to.be.greaterThan(20);
    });
  });
});

describe('device: close', () => {
  it('waits for its requests, takes no new ones, and leaves the node open', async () => {
    const { device: drive, node, host } = await device(lateBench(['write']));
    const writing = drive.write(0, Uint8Array.of(200));
    const closing = drive.close();
    expect((await failureOf(drive.read(0, new Uint8Array(1)))).code).to.equal('closed');
    expect(await stateOf(closing)).to.equal('pending');
    await host.advance(PASS_MS);
    await Promise.all([writing, closing]);
    expect([node.closed, node.parents.size]).to.deep.equal([false, 0]);
    expect(() => rootOf(drive).node)
      .to.throw("device 'drive0' is closed")
      .with.property('code', 'closed');
  });

  it('within a drained section rejects who waits for its end', async () => {
    const { device: drive, graph, node, host } = await device();
    await graph.drained([node], async () => {
      const writing = failureOf(drive.write(0, Uint8Array.of(200)));
      await drive.close();
      expect((await writing).code).to.equal('closed');
    });
    expect(host.readFile('/a')).to.deep.equal(pattern(SIZE));
  });

  it('twice is no harm', async () => {
    const { device: drive, node } = await device();
    await Promise.all([drive.close(), drive.close()]);
    await drive.close();
    expect(node.parents.size).to.equal(0);
  });

  it('gives its permissions back', async () => {
    const bench = makeBench();
    const node = await openNode(bench.graph, { driver: 'null-co', size: 512 });
    const first = new Device(node, { name: 'a', writable: true });
    await first.close();
    new Device(node, { name: 'b', writable: true });
  });
});
