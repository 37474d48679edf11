// Waiting for the requests of a node that are under way, where one of them may need another request of the node.

import { expect } from 'chai';
import { pattern } from '../../drivers/support.js';
import { stateOf } from '../support.js';
import { patterned } from './patterned.js';

describe('node: requests that have passed', () => {
  async function counted() {
    const bench = await patterned();
    bench.node.countsAll++;
    return bench;
  }

  it('waits for what was under way, not for what comes later', async () => {
    const { node } = await counted();
    const goOn: (() => void)[] = [];
    node.addObserver({ beforeWrite: () => new Promise<void>((resolve) => goOn.push(resolve)) });
    const early = node.write(0, Uint8Array.of(1));
    await stateOf(early);
    const passed = node.passed();
    const late = node.write(512, Uint8Array.of(2));
    expect(await stateOf(passed)).to.equal('pending');
    goOn[0]();
    await early;
    await passed;
    expect(await stateOf(late)).to.equal('pending');
    goOn[1]();
    await late;
  });

  it('holds up nobody: a write under way may read the node before it ends', async () => {
    const { node } = await counted();
    const got = new Uint8Array(16);
    let goOn: () => void = () => {};
    const told = new Promise<void>((resolve) => {
      goOn = resolve;
    });
    node.addObserver({ beforeWrite: async () => told.then(() => node.read(1024, got)) });
    const writing = node.write(0, Uint8Array.of(1));
    await stateOf(writing);
    const passed = [node.passed(), node.passed()];
    goOn();
    await Promise.all([writing, ...passed]);
    expect([...got]).to.deep.equal([...pattern(1040).subarray(1024)]);
  });

  it('ends at once where nothing is under way', async () => {
    const { node } = await counted();
    await node.passed();
  });

  it('ends with the requests that were located before, also where nobody counts any more', async () => {
    const { node } = await patterned();
    node.sent();
    node.countsAll++;
    const passed = node.passed();
    node.countsAll--;
    expect(await stateOf(passed)).to.equal('pending');
    node.givenUp(null);
    await passed;
  });
});
