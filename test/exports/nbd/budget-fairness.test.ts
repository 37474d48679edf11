// Who waits for memory gets it in turn, however much it asks for, and however busy the others are.

import { expect } from 'chai';
import { Budget, type BudgetUser } from '../../../src/exports/nbd/budget.js';
import { FakeClock } from '../../support/fake-clock.js';
import { MIB } from './support.js';

const LIMITS = { connectionBytes: 32 * MIB, totalBytes: 128 * MIB, guaranteedBytes: MIB };

/** A client that always has one more request of `size` to send. */
class Client implements BudgetUser {
  bytesTaken = 0;
  readonly bytesMoved = 0;
  readonly waitsForClient = false;
  served = 0;
  wants = true;
  readonly #budget: Budget;
  readonly #size: number;
  readonly #log: Client[];

  constructor(budget: Budget, size: number, log: Client[] = []) {
    this.#budget = budget;
    this.#size = size;
    this.#log = log;
    budget.join(this);
  }

  budgetFreed(): void {
    this.send();
  }

  tooSlow(): void {
    throw new Error('it is not slow');
  }

  /** Sends until nothing more is taken. */
  send(): void {
    while (this.wants && this.#budget.take(this, this.#size)) {
      this.bytesTaken += this.#size;
      this.served++;
      this.#log.push(this);
    }
  }

  /** One of its requests is answered. */
  answer(): void {
    if (this.bytesTaken === 0) return;
    this.bytesTaken -= this.#size;
    this.#budget.give(this.#size);
  }
}

/** Answers requests of `clients` in turn, with all of them sending, `turns` times each. */
async function work(clients: readonly Client[], turns: number): Promise<void> {
  for (let turn = 0; turn < turns; turn++) {
    for (const client of clients) {
      client.answer();
      await Promise.resolve();
      client.send();
    }
  }
}

describe('nbd server: the budget is shared fairly', () => {
  let clock: FakeClock;
  let budget: Budget;
  beforeEach(() => {
    clock = new FakeClock();
    budget = new Budget(LIMITS, clock);
  });

  for (const [count, size] of [
    [4, MIB],
    [40, MIB / 4],
    [200, MIB],
  ] as const) {
    it(`serves large requests beside ${count} clients that keep it full with small ones`, async () => {
      const busy = Array.from({ length: count }, () => new Client(budget, size));
      for (const client of busy) client.send();
      const large = new Client(budget, 16 * MIB);
      large.send();
      expect(large.served).to.equal(0);
      await work([...busy, large], 12_000 / count);
      expect(large.served).to.be.above(3);
      for (const client of busy) expect(client.served).to.be.above(3);
    });
  }

  it('serves those who wait in the order in which they came', async () => {
    const log: Client[] = [];
    const first = Array.from({ length: 4 }, () => new Client(budget, 32 * MIB, log));
    const second = [24 * MIB, 2 * MIB, 24 * MIB].map((size) => new Client(budget, size, log));
    for (const client of [...first, ...second]) client.send();
    for (const client of [...first, ...second]) client.wants = second.includes(client);
    for (const client of first) {
      client.answer();
      await Promise.resolve();
    }
    const order = log.slice(4).filter((client, at, all) => all.indexOf(client) === at);
    expect(order.map((client) => second.indexOf(client))).to.deep.equal([0, 1, 2]);
  });

  it('passes a place on that nobody has a use for', async () => {
    const holders = Array.from({ length: 4 }, () => new Client(budget, 32 * MIB));
    const [gone, idle, last] = [
      new Client(budget, 32 * MIB),
      new Client(budget, 32 * MIB),
      new Client(budget, 2 * MIB),
    ];
    for (const client of [...holders, gone, idle, last]) client.send();
    for (const client of holders) client.wants = false;
    idle.wants = false;
    budget.leave(gone);
    holders[0].answer();
    await Promise.resolve();
    expect(last.served).to.equal(16);
  });

  it('wakes who waits behind one that leaves', async () => {
    const holders = Array.from({ length: 3 }, () => new Client(budget, 32 * MIB));
    for (const client of holders) client.send();
    const most = new Client(budget, 20 * MIB);
    most.send();
    const [head, behind] = [new Client(budget, 32 * MIB), new Client(budget, 2 * MIB)];
    head.send();
    behind.send();
    expect(behind.served).to.equal(0);
    budget.leave(head);
    await Promise.resolve();
    expect(behind.served).to.equal(6);
  });

  it('counts what those have who are gone, until they give it back', async () => {
    const holders = Array.from({ length: 4 }, () => new Client(budget, 32 * MIB));
    for (const client of holders) client.send();
    for (const client of holders) budget.leave(client);
    const next = new Client(budget, 16 * MIB);
    next.send();
    expect(next.served).to.equal(0);
    for (const client of holders) client.wants = false;
    holders[0].answer();
    await Promise.resolve();
    expect(next.served).to.equal(2);
  });
});
