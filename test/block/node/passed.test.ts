// Waiting for the requests of a node that are under way, where one of them may need another request of the node.

import { expect } from 'chai';
import type { Located } from '../../../src/block/types.js';
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

  it('ends under writes that never let up: each begins before the last one ends', async () => {
    const { node } = await counted();
    const goOn: (() => void)[] = [];
    node.addObserver({ beforeWrite: () => new Promise<void>((resolve) => goOn.push(resolve)) });
    const writes = [node.write(0, Uint8Array.of(1))];
    await stateOf(writes[0]);
    const passed = node.passed();
    for (let i = 1; i < 20; i++) {
      writes.push(node.write(i, Uint8Array.of(1)));
      await stateOf(writes[i]);
      goOn[i - 1]();
      await writes[i - 1];
    }
    expect(await stateOf(passed)).to.equal('resolved');
    goOn[19]();
    await writes[19];
  });

  it('ends under located reads that never let up, also where nobody counts any more', async () => {
    const { node } = await patterned();
    const place: Located = { file: null, offset: 0, guard: null };
    let located = 0;
    /** Begins a read as an export does; the result ends it. */
    const begin = () => {
      if (!node.locate(0, 512, false, place)) {
        const reading = node.read(0, new Uint8Array(512));
        return () => reading;
      }
      const { guard } = place;
      located++;
      node.sent();
      return async () => node.answered(false, 0, 512, guard);
    };
    let end = begin();
    expect(located, 'read on the short way').to.equal(1);
    node.countsAll++;
    const passed = node.passed();
    node.countsAll--;
    for (let i = 0; i < 20; i++) {
      const next = begin();
      await end();
      end = next;
    }
    expect(await stateOf(passed)).to.equal('resolved');
    await end();
    const before = located;
    await begin()();
    expect(located, 'read on the short way afterwards').to.equal(before + 1);
  });
});
