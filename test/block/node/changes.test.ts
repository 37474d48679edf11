// Who takes part in the changes of a node: observers, and the serialiser that a job holds ranges in.

import { expect } from 'chai';
import { RangeLock } from '../../../src/util/range-lock.js';
import { failureOf, pattern } from '../../drivers/support.js';
import { Recorder, stateOf } from '../support.js';
import { patterned, SIZE } from './patterned.js';

describe('node: observers', () => {
  it('see a write before and after it', async () => {
    const { node, host } = await patterned();
    const steps: string[] = [];
    node.addObserver({
      beforeWrite: async ([{ offset }]) => {
        steps.push(`before: ${host.readFile('/a')[offset]}`);
      },
      afterWrite: async ([{ offset }]) => {
        steps.push(`after: ${host.readFile('/a')[offset]}`);
      },
    });
    await node.write(3, Uint8Array.of(200));
    expect(steps).to.deep.equal([`before: ${pattern(4)[3]}`, 'after: 200']);
  });

  it('see each kind of change, in the order in which they came', async () => {
    const { node } = await patterned();
    const a = new Recorder();
    node.addObserver(a);
    await node.write(0, Uint8Array.of(1));
    await node.writeZeroes(512, 512);
    await node.discard(1024, 512);
    node.removeObserver(a);
    await node.write(0, Uint8Array.of(2));
    expect(a.seen).to.deep.equal([
      'before 0+1',
      'write of 1 0+1',
      'before 512+512',
      'zero 512+512',
      'before 1024+512',
      'discard 1024+512',
    ]);
  });

  it('that refuse fail the write before it happens; those asked earlier are told', async () => {
    const { node, host } = await patterned();
    const asked = new Recorder();
    const never = new Recorder();
    node.addObserver(asked);
    node.addObserver({ beforeWrite: () => Promise.reject(new Error('no')) });
    node.addObserver(never);
    const error = await node.write(0, Uint8Array.of(9)).catch((failure: Error) => failure.message);
    expect(error).to.equal('no');
    expect(asked.seen).to.deep.equal(['before 0+1', 'failed 0+1']);
    expect(never.seen).to.deep.equal([]);
    expect(host.readFile('/a')).to.deep.equal(pattern(SIZE));
    expect(node.inFlight).to.equal(0);
  });

  it('are told of a write that failed, once', async () => {
    const { node, host } = await patterned();
    const recorder = new Recorder();
    node.addObserver(recorder);
    host.setFaults({ rules: [{ operations: ['write'] }] });
    expect((await failureOf(node.write(0, Uint8Array.of(9)))).code).to.equal('io');
    expect(recorder.seen).to.deep.equal(['before 0+1', 'failed 0+1']);
  });

  it('that fail afterwards fail the write, and the others are told all the same', async () => {
    const { node, host } = await patterned();
    const recorder = new Recorder();
    node.addObserver({ afterWrite: () => Promise.reject(new Error('late')) });
    node.addObserver(recorder);
    const error = await node.write(0, Uint8Array.of(9)).catch((failure: Error) => failure.message);
    expect(error).to.equal('late');
    expect(recorder.seen).to.deep.equal(['before 0+1', 'write of 1 0+1']);
    expect(host.readFile('/a')[0]).to.equal(9);
  });

  it('that come while a write waits for the serialiser see it', async () => {
    const { node } = await patterned();
    const lock = new RangeLock();
    node.serialiser = lock;
    const held = await lock.acquire(0, 512);
    const writing = node.write(0, Uint8Array.of(1));
    expect(await stateOf(writing)).to.equal('pending');
    const recorder = new Recorder();
    node.addObserver(recorder);
    lock.release(held);
    await writing;
    expect(recorder.seen).to.deep.equal(['before 0+1', 'write of 1 0+1']);
  });
});

describe('node: serialiser', () => {
  async function serialised() {
    const made = await patterned();
    const lock = new RangeLock();
    made.node.serialiser = lock;
    return { ...made, lock, held: await lock.acquire(1024, 2048) };
  }

  it('holds up the changes that overlap what a job holds, and no others', async () => {
    const { node, lock, held } = await serialised();
    const waiting = [node.write(2047, Uint8Array.of(1, 2)), node.writeZeroes(1024, 10), node.discard(1500, 10)];
    await node.write(0, new Uint8Array(1024).fill(1));
    await node.writeZeroes(2049, 10);
    await node.read(1024, new Uint8Array(1024));
    for (const request of waiting) expect(await stateOf(request)).to.equal('pending');
    lock.release(held);
    await Promise.all(waiting);
    expect(lock.size).to.equal(0);
  });

  it('lets the holder itself through', async () => {
    const { node } = await serialised();
    await node.write(1024, Uint8Array.of(1), { serialised: true });
    await node.writeZeroes(1024, 512, { serialised: true });
    node.detectZeroes = 'on';
    await node.write(1024, new Uint8Array(512), { serialised: true });
  });

  it('is let go of after a failure', async () => {
    const { node, lock, held, host } = await serialised();
    lock.release(held);
    host.setFaults({ rules: [{ operations: ['write'] }] });
    expect((await failureOf(node.write(0, Uint8Array.of(1)))).code).to.equal('io');
    expect(lock.size).to.equal(0);
  });

  it('counts who waits for it as in flight', async () => {
    const { node, lock, held } = await serialised();
    const writing = node.write(1024, Uint8Array.of(1));
    const idle = node.idle();
    expect(await stateOf(idle)).to.equal('pending');
    lock.release(held);
    await Promise.all([writing, idle]);
  });
});
