// Waiters: code that waits for a condition is woken once, in order.

import { expect } from 'chai';
import { Waiters } from '../../src/util/waiters.js';

function waiting(count: number) {
  const waiters = new Waiters();
  const woken: number[] = [];
  const all = Array.from({ length: count }, (_, index) => waiters.wait().then(() => woken.push(index)));
  return { waiters, woken, all };
}

describe('Waiters', () => {
  it('wakes all that wait, in the order in which they came', async () => {
    const { waiters, woken, all } = waiting(3);
    waiters.wake();
    await Promise.all(all);
    expect(woken).to.deep.equal([0, 1, 2]);
    expect(waiters.size).to.equal(0);
  });

  it('wakes as many as it is asked to', async () => {
    const { waiters, woken, all } = waiting(3);
    waiters.wake(2);
    await Promise.all(all.slice(0, 2));
    expect(woken).to.deep.equal([0, 1]);
    expect(waiters.size).to.equal(1);
  });

  it('does not wake who begins to wait after the call', async () => {
    const waiters = new Waiters();
    waiters.wake();
    let woken = false;
    waiters.wait().then(() => {
      woken = true;
    });
    for (let i = 0; i < 10; i++) await null;
    expect(woken).to.equal(false);
  });
});
