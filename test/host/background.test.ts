// Copy steps of jobs: they have workers of their own, which let guests go first.
import { expect } from 'chai';
import { type HostFile, MOVE_SLICE_BYTES, type Moved, type MoveRequest } from '../../src/host/host.js';
import { overEngines, pattern } from './engines.js';

const MIB = 1 << 20;
/** More than there are workers of any kind. */
const MANY = 8;

function step(source: HostFile, target: HostFile, background: boolean, offset = 0, bytes = MIB): MoveRequest {
  const pieces = [{ file: source, offset, length: bytes, to: offset }];
  return { pieces, bytes, target, run: null, granule: 0, slice: MOVE_SLICE_BYTES, background };
}

overEngines('steps of jobs', (bench) => {
  let source: HostFile;
  const data = pattern(MIB, 7);

  before(async () => {
    source = await bench.open('source');
    await source.write(0, data);
  });
  after(() => source.close());

  it('that a file never answers hold up neither requests, nor steps into another file', async () => {
    const dead = await bench.open('dead');
    const target = await bench.open('target');
    bench.host.setFaults({ heldSteps: 4 });
    let answered = 0;
    const held: Promise<Moved>[] = [];
    for (let i = 0; i < MANY; i++) {
      const moving = bench.host.move(step(source, dead, true));
      held.push(moving);
      void moving.then(() => {
        answered++;
      });
    }
    // A large write goes to the other workers, to the very file that does not answer the steps.
    await dead.write(MIB, data);
    await dead.flush();
    expect((await bench.host.move(step(source, target, true))).fault).to.equal(null);
    const buffer = Buffer.alloc(MIB);
    await target.read(0, buffer);
    expect(buffer.equals(data)).to.equal(true);
    expect(answered, 'while the file does not answer').to.equal(0);
    bench.host.setFaults({});
    for (const { fault } of await Promise.all(held)) expect(fault).to.equal(null);
    await Promise.all([dead.close(), target.close()]);
  });

  it('go on while guests never cease, and take a part of their speed', async () => {
    const target = await bench.open('beside');
    const steps = 8;
    let busy = Number.POSITIVE_INFINITY;
    let alone = Number.POSITIVE_INFINITY;
    // The least of several: the machine may be busy with something else.
    for (let round = 0; round < 6; round++) {
      busy = Math.min(busy, await timeOf(target, steps, true));
      alone = Math.min(alone, await timeOf(target, steps, false));
    }
    // A slice is followed by a rest eight times as long.
    expect(busy).to.be.greaterThan(2 * alone);
    await target.close();
  });

  /** Milliseconds of so many steps, one after the other; with guests there is always one that has just come. */
  async function timeOf(target: HostFile, steps: number, guests: boolean): Promise<number> {
    let over = false;
    const come = (): void => {
      if (over) return;
      if (guests) bench.host.guestCame();
      setImmediate(come);
    };
    // This thread is as busy without guests.
    come();
    const began = performance.now();
    for (let i = 0; i < steps; i++) expect((await bench.host.move(step(source, target, true))).fault).to.equal(null);
    over = true;
    return performance.now() - began;
  }
});
