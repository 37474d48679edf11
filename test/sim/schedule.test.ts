import { expect } from 'chai';
import { createSimHost, type FaultPlan, type SimHost } from '../../src/host/sim/index.js';
import { bytes, codeOf, lost } from './support.js';

/** Some reads, writes and timers, all at once. Gives the order of the answers. */
async function busy(host: SimHost): Promise<string> {
  const order: string[] = [];
  const file = await host.open('/disk', { writable: true, create: 'keep' });
  const jobs: Promise<void>[] = [];
  for (let i = 0; i < 8; i++) {
    jobs.push(file.write(i * 512, bytes(512, host.random())).then(() => void order.push(`w${i}`)));
    jobs.push(file.read(i * 512, new Uint8Array(512)).then(() => void order.push(`r${i}`)));
    jobs.push(
      new Promise<void>((resolve) => {
        host.clock.timer(i / 4, () => {
          order.push(`t${i}`);
          resolve();
        });
      }),
    );
  }
  await Promise.all(jobs);
  await file.flush();
  return order.join(' ');
}

async function trace(seed: number, faults?: FaultPlan): Promise<string> {
  const host = createSimHost({ seed, faults, eager: false });
  const order = await host.run(busy(host));
  return `${host.traceHash()} ${order}`;
}

describe('simulated host: schedule', () => {
  it('gives the same run to the same seed, and others to others', async () => {
    const runs = new Set<string>();
    for (let seed = 0; seed < 20; seed++) {
      const once = await trace(seed, { lateProbability: 0.2 });
      expect(await trace(seed, { lateProbability: 0.2 })).to.equal(once);
      runs.add(once);
    }
    expect(runs.size).to.equal(20);
  });

  it('answers out of order', async () => {
    const order = (await trace(5)).split(' ').filter((name) => name.startsWith('w'));
    expect(order).to.have.length(8);
    expect(order).to.not.deep.equal([...order].sort());
  });

  it('says so when the run is stuck', async () => {
    const host = createSimHost({ seed: 1 });
    const stuck = host.run(new Promise(() => {}));
    expect(await stuck.catch((error: Error) => error.message)).to.match(/deadlock.*seed 1/);
  });

  it('passes on what the run rejects with', async () => {
    const host = createSimHost({ seed: 1 });
    expect(await codeOf(host.run(() => host.stat('/none')))).to.equal('not-found');
  });

  it('loses power at the request that the plan names, or at the one the hook picks', async () => {
    const planned = createSimHost({ seed: 1, faults: { powerLossAt: 10 } });
    expect(await lost(planned.run(busy(planned)))).to.equal(true);
    expect(planned.requests).to.equal(10);
    const picked = createSimHost({
      seed: 1,
      onRequest: (request) => (request.operation === 'flush' ? { powerLoss: true } : undefined),
    });
    expect(await lost(picked.run(busy(picked)))).to.equal(true);
    expect(picked.count('flush')).to.equal(1);
  });

  it('fails requests by operation, file, count and probability', async () => {
    const rules = [
      { operations: ['write'] as const, path: '/a', after: 1, times: 2 },
      { operations: ['allocate'] as const, errno: 'ENOSPC' },
      { operations: ['read'] as const, probability: 0.5 },
    ];
    const host = createSimHost({ faults: { rules }, eager: true });
    const a = await host.open('/a', { writable: true, create: 'keep' });
    const b = await host.open('/b', { writable: true, create: 'keep' });
    const codes: string[] = [];
    for (const file of [a, b, a, a, a]) codes.push(await codeOf(file.write(0, bytes(512, 1))));
    expect(codes).to.deep.equal(['resolved', 'resolved', 'io', 'io', 'resolved']);
    expect(await codeOf(b.allocate(0, 512, true))).to.equal('no-space');
    let failed = 0;
    for (let i = 0; i < 100; i++) if ((await codeOf(a.read(0, bytes(1, 0)))) === 'io') failed++;
    expect(failed).to.be.within(25, 75);
  });

  it('errors carry file, operation, offset, length and errno', async () => {
    const host = createSimHost({ faults: { rules: [{ operations: ['read'] }] }, eager: true });
    const file = await host.open('/a', { writable: true, create: 'keep' });
    const error = await file.read(512, bytes(1024, 0)).then(
      () => undefined,
      (reason) => reason,
    );
    expect(error).to.include({ code: 'io', path: '/a', operation: 'read', offset: 512, length: 1024, errno: 'EIO' });
  });

  it('keeps counts and, where asked, a log', async () => {
    const host = createSimHost({ seed: 2, log: true });
    await host.run(busy(host));
    expect([host.count('open'), host.count('write'), host.count('read'), host.count('flush')]).to.deep.equal([
      1, 8, 8, 1,
    ]);
    expect(host.log.map((entry) => entry.outcome)).to.deep.equal(Array(18).fill('ok'));
    expect(host.log[1]).to.include({ operation: 'write', path: '/disk', offset: 0, length: 512 });
  });

  it('leaves the buffer of a read undefined until the answer', async () => {
    let early = 0;
    for (let seed = 0; seed < 20; seed++) {
      const host = createSimHost({ seed });
      host.writeFile('/disk', bytes(512, 1));
      await host.run(async () => {
        const file = await host.open('/disk', { writable: false });
        const buffer = bytes(512, 0);
        const read = file.read(0, buffer);
        if (buffer[0] === 1) early++;
        else expect(buffer[0]).to.equal(0xcd);
        await read;
        expect(buffer[0]).to.equal(1);
      });
    }
    expect(early).to.be.within(1, 19);
  });
});

describe('simulated host: clock', () => {
  it('jumps to the next timer, in order, and cancels', async () => {
    const host = createSimHost({ seed: 1 });
    const fired: string[] = [];
    await host.run(
      new Promise<void>((resolve) => {
        host.clock.timer(3_600_000, () => {
          fired.push('hour');
          resolve();
        });
        const cancel = host.clock.timer(1000, () => fired.push('never'));
        host.clock.timer(1000, () => fired.push('second'));
        host.clock.timer(500, cancel);
      }),
    );
    expect(fired).to.deep.equal(['second', 'hour']);
    expect(host.clock.now()).to.equal(3_600_000);
    expect(host.clock.wall()).to.deep.equal({ seconds: 1_704_067_200 + 3600, nanoseconds: 0 });
  });

  it('cancels a timer that is due at the same moment', async () => {
    const host = createSimHost({ seed: 1 });
    let fired = false;
    await host.run(
      new Promise<void>((resolve) => {
        host.clock.timer(1, () => cancel());
        const cancel = host.clock.timer(1, () => {
          fired = true;
        });
        host.clock.timer(2, resolve);
      }),
    );
    expect(fired).to.equal(false);
  });

  it('eager: timers jump when nothing else can run', async () => {
    const host = createSimHost();
    await new Promise<void>((resolve) => host.clock.timer(86_400_000, resolve));
    expect(host.clock.now()).to.equal(86_400_000);
  });

  it('manual: timers wait for advance()', async () => {
    const host = createSimHost({ manualClock: true });
    const fired: number[] = [];
    host.clock.timer(10, () => {
      fired.push(host.clock.now());
      host.clock.timer(10, () => fired.push(host.clock.now()));
    });
    await host.advance(9);
    expect(fired).to.deep.equal([]);
    await host.advance(20);
    expect(fired).to.deep.equal([10, 20]);
    expect(host.clock.now()).to.equal(29);
  });
});
