import { expect } from 'chai';
import { createSimHost, type FaultPlan, type SimHost, SimPowerLoss } from '../../src/host/sim/index.js';
import { bytes, codeOf, lost } from './support.js';

const SECTORS = 16;
const LENGTH = SECTORS * 512;

/** Runs `work` on a host whose file /disk holds ones, takes the power away, and gives the file that is left. */
async function afterCrash(
  seed: number,
  work: (host: SimHost) => Promise<void>,
  faults: FaultPlan = {},
): Promise<Uint8Array> {
  const host = createSimHost({ seed, faults });
  host.writeFile('/disk', bytes(LENGTH, 1));
  await host.run(work(host)).catch((error) => {
    if (!(error instanceof SimPowerLoss)) throw error;
  });
  return host.crash().readFile('/disk');
}

function open(host: SimHost) {
  return host.open('/disk', { writable: true });
}

/** The value of each sector; fails where one is torn. */
function sectorValues(content: Uint8Array): number[] {
  const values: number[] = [];
  for (let at = 0; at < content.length; at += 512) {
    const sector = content.subarray(at, at + 512);
    expect(new Set(sector).size, `sector at ${at} is torn`).to.equal(1);
    values.push(sector[0]);
  }
  return values;
}

describe('simulated host: durability', () => {
  it('keeps what a flush covered, whatever the seed', async () => {
    for (let seed = 0; seed < 50; seed++) {
      const left = await afterCrash(seed, async (host) => {
        const file = await open(host);
        await Promise.all([file.write(0, bytes(4096, 2)), file.write(4096, bytes(4096, 3))]);
        await file.flush();
      });
      expect(sectorValues(left)).to.deep.equal([...Array(8).fill(2), ...Array(8).fill(3)]);
    }
  });

  it('leaves an unflushed write whole, dropped or torn at sectors, each of them at some seed', async () => {
    const kinds = new Set<string>();
    for (let seed = 0; seed < 100; seed++) {
      const left = await afterCrash(seed, async (host) => (await open(host)).write(0, bytes(LENGTH, 2)));
      const values = new Set(sectorValues(left));
      kinds.add(values.size === 2 ? 'torn' : values.has(2) ? 'whole' : 'dropped');
    }
    expect([...kinds].sort()).to.deep.equal(['dropped', 'torn', 'whole']);
  });

  it('may keep a later write without an earlier one', async () => {
    let reordered = 0;
    for (let seed = 0; seed < 100; seed++) {
      const left = await afterCrash(seed, async (host) => {
        const file = await open(host);
        await file.write(0, bytes(512, 2));
        await file.write(4096, bytes(512, 3));
      });
      if (left[0] === 1 && left[4096] === 3) reordered++;
    }
    expect(reordered).to.be.greaterThan(0);
  });

  it('leaves the older or the newer of two unflushed writes, or what was flushed', async () => {
    const seen = new Set<number>();
    for (let seed = 0; seed < 100; seed++) {
      const left = await afterCrash(seed, async (host) => {
        const file = await open(host);
        await file.write(0, bytes(512, 2));
        await file.write(0, bytes(512, 3));
      });
      seen.add(left[0]);
    }
    expect([...seen].sort()).to.deep.equal([1, 2, 3]);
  });

  it('a flush does not cover a write that was unanswered when it was issued', async () => {
    let dropped = 0;
    for (let seed = 0; seed < 200; seed++) {
      let answeredInTime = false;
      const left = await afterCrash(seed, async (host) => {
        const file = await open(host);
        let written = false;
        const write = file.write(0, bytes(512, 2)).then(() => {
          written = true;
        });
        await file.flush();
        answeredInTime = written;
        await write;
      });
      if (answeredInTime && left[0] === 1) dropped++;
    }
    expect(dropped).to.be.greaterThan(0);
  });

  it('a write in flight at power loss may have reached the disk, and is never answered', async () => {
    const seen = new Set<number>();
    for (let seed = 0; seed < 60; seed++) {
      let answered = false;
      const left = await afterCrash(
        seed,
        async (host) => {
          await (await open(host)).write(0, bytes(512, 2));
          answered = true;
        },
        { powerLossAt: 2 },
      );
      expect(answered).to.equal(false);
      seen.add(left[0]);
    }
    expect([...seen].sort()).to.deep.equal([1, 2]);
  });

  it('a size is volatile; a kept write makes the file long enough', async () => {
    const sizes = new Set<number>();
    for (let seed = 0; seed < 100; seed++) {
      const left = await afterCrash(seed, async (host) => {
        const file = await open(host);
        await file.truncate(4 * LENGTH);
        await file.write(2 * LENGTH, bytes(512, 2));
      });
      sizes.add(left.length);
      if (left.length > 2 * LENGTH) sectorValues(left);
    }
    expect([...sizes].sort((a, b) => a - b)).to.deep.equal([LENGTH, 2 * LENGTH + 512, 4 * LENGTH]);
  });

  it('a punched hole is volatile and torn at pages', async () => {
    const seen = new Set<string>();
    for (let seed = 0; seed < 60; seed++) {
      const left = await afterCrash(seed, async (host) => (await open(host)).punchHole(0, LENGTH));
      seen.add(`${left[0]}${left[4096]}`);
    }
    expect([...seen].sort()).to.deep.equal(['00', '01', '11']);
  });

  it('a failed flush makes nothing durable; with `failedFlushLoses` the next one does not either', async () => {
    for (const loses of [false, true]) {
      let dropped = 0;
      for (let seed = 0; seed < 40; seed++) {
        const left = await afterCrash(
          seed,
          async (host) => {
            const file = await open(host);
            await file.write(0, bytes(512, 2));
            expect(await codeOf(file.flush())).to.equal('io');
            await file.flush();
          },
          { rules: [{ operations: ['flush'], times: 1 }], failedFlushLoses: loses },
        );
        if (left[0] === 1) dropped++;
      }
      expect(dropped).to.equal(loses ? 40 : 0);
    }
  });

  it('a write that fails may have written some of its sectors', async () => {
    const counts = new Set<number>();
    for (let seed = 0; seed < 40; seed++) {
      const host = createSimHost({ seed, faults: { rules: [{ operations: ['write'], errno: 'ENOSPC' }] } });
      host.writeFile('/disk', bytes(LENGTH, 1));
      const code = await host.run(open(host).then((file) => codeOf(file.write(0, bytes(LENGTH, 2)))));
      expect(code).to.equal('no-space');
      counts.add(sectorValues(host.readFile('/disk')).filter((value) => value === 2).length);
    }
    expect(counts.size).to.be.greaterThan(3);
  });

  it('planted lies: a flush that does nothing, a write that the next flush does not cover', async () => {
    const dropped = { ignored: 0, once: 0, twice: 0 };
    for (let seed = 0; seed < 40; seed++) {
      const work = (flushes: number) => async (host: SimHost) => {
        const file = await open(host);
        await file.write(0, bytes(512, 2));
        for (let i = 0; i < flushes; i++) await file.flush();
      };
      if ((await afterCrash(seed, work(2), { ignoreFlush: true }))[0] === 1) dropped.ignored++;
      if ((await afterCrash(seed, work(1), { escapesFlush: () => true }))[0] === 1) dropped.once++;
      if ((await afterCrash(seed, work(2), { escapesFlush: () => true }))[0] === 1) dropped.twice++;
    }
    expect(dropped.ignored).to.be.greaterThan(0);
    expect(dropped.once).to.be.greaterThan(0);
    expect(dropped.twice).to.equal(0);
  });

  it('a buffer that changes in flight is written sector by sector, old or new', async () => {
    let mixed = 0;
    for (let seed = 0; seed < 40; seed++) {
      const host = createSimHost({ seed });
      const buffer = bytes(LENGTH, 2);
      await host.run(async () => {
        const file = await host.open('/disk', { writable: true, create: 'keep' });
        const write = file.write(0, buffer);
        buffer.fill(3);
        await write;
      });
      if (new Set(sectorValues(host.readFile('/disk'))).size === 2) mixed++;
    }
    expect(mixed).to.be.greaterThan(0);
  });

  it('the next incarnation has no handles and no locks of the last', async () => {
    const host = createSimHost({ seed: 9 });
    host.writeFile('/disk', bytes(512, 1));
    await host.run(async () => (await open(host)).lock('exclusive', 0, 1));
    const next = host.crash();
    await next.run(async () => {
      const file = await open(next);
      expect(file.lock('exclusive', 0, 1)).to.equal(true);
    });
    expect(await lost(host.run(host.stat('/disk')))).to.equal(true);
  });

  it('long runs without a flush are written back, oldest first', async () => {
    const host = createSimHost();
    const file = await host.open('/big', { writable: true, create: 'keep' });
    for (let i = 0; i < 64; i++) await file.write(i * 1024 * 1024, bytes(1024 * 1024, i + 1));
    const durable = host.durableFile('/big');
    expect(durable.length).to.be.within(16 * 1024 * 1024, 48 * 1024 * 1024);
    expect(durable[durable.length - 1]).to.equal(durable.length / 1024 / 1024);
  });

  it('a fork holds what readers saw, and leads a life of its own', async () => {
    const host = createSimHost();
    const file = await host.open('/disk', { writable: true, create: 'keep' });
    await file.write(0, bytes(512, 1));
    const fork = host.fork();
    await file.write(0, bytes(512, 2));
    expect([fork.readFile('/disk')[0], host.readFile('/disk')[0]]).to.deep.equal([1, 2]);
  });
});
