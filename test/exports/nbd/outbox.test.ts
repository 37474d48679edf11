// The outbox over a link that takes as much as the test lets it, and the budget: what is given back, and when.

import { expect } from 'chai';
import { Budget, type BudgetUser, STARVATION_MS } from '../../../src/exports/nbd/budget.js';
import { OUTBOX_BLOCK_BYTES, Outbox } from '../../../src/exports/nbd/outbox.js';
import type { Link } from '../../../src/host/net.js';
import { createSimHost } from '../../../src/host/sim/index.js';
import { FakeClock } from '../../support/fake-clock.js';

/** A link that sends pieces when it is told to. */
class SlowLink {
  sentPieces = 3;
  readonly pushed: string[] = [];
  flushes = 0;

  push(buffer: Uint8Array, start: number, end: number): void {
    this.pushed.push(Buffer.from(buffer.subarray(start, end)).toString());
  }
  flush(): boolean {
    this.flushes++;
    return this.sentPieces === 3 + this.pushed.length;
  }
}

function makeOutbox() {
  const link = new SlowLink();
  const { memory } = createSimHost();
  let allocated = 0;
  const counted = {
    ...memory,
    allocate: (length: number) => {
      allocated++;
      return memory.allocate(length);
    },
    free: (buffer: Uint8Array) => {
      allocated--;
      memory.free(buffer);
    },
  } as typeof memory;
  const outbox = new Outbox(link as unknown as Link, counted);
  const sent: number[] = [];
  outbox.slotSent = (slot) => sent.push(slot);
  const note = (text: string) => {
    const at = outbox.reserve(text.length);
    outbox.block.set(Buffer.from(text), at);
  };
  return { link, outbox, sent, note, allocated: () => allocated };
}

describe('nbd server: outbox', () => {
  it('sends small replies together, in order with the data', () => {
    const { link, outbox, sent, note } = makeOutbox();
    note('one');
    note('two');
    outbox.pushSlot(7, Buffer.from('xdatax'), 1, 5, true);
    note('three');
    outbox.pushSlot(8, Buffer.from('half'), 0, 4, false);
    outbox.pushSlot(8, Buffer.from('more'), 0, 4, true);
    outbox.flush();
    expect(link.pushed).to.deep.equal(['onetwo', 'data', 'three', 'half', 'more']);
    expect(sent).to.deep.equal([]);
    link.sentPieces += 2;
    outbox.progressed();
    expect(sent).to.deep.equal([7]);
    link.sentPieces += 2;
    outbox.progressed();
    expect(sent).to.deep.equal([7]);
    expect(outbox.empty).to.equal(false);
    link.sentPieces += 1;
    outbox.progressed();
    expect(sent).to.deep.equal([7, 8]);
    expect(outbox.empty).to.equal(true);
  });

  it('keeps a block until all of it is sent, and no longer', () => {
    const { link, outbox, note, allocated } = makeOutbox();
    const reply = 'r'.repeat(100);
    for (let i = 0; i < 100; i++) note(reply);
    outbox.flush();
    expect(link.pushed.join('')).to.equal(reply.repeat(100));
    expect(allocated()).to.equal(3);
    link.sentPieces += 1;
    outbox.progressed();
    expect(allocated()).to.equal(2);
    link.sentPieces += 2;
    outbox.progressed();
    expect(allocated()).to.equal(0);
  });

  it('flushes only what is new, and tells of a backlog', () => {
    const { link, outbox, note, allocated } = makeOutbox();
    outbox.flush();
    expect(link.flushes).to.equal(0);
    note('a');
    outbox.flush();
    outbox.flush();
    expect(link.flushes).to.equal(1);
    outbox.write(new Uint8Array(20 * OUTBOX_BLOCK_BYTES));
    expect(outbox.backlogged).to.equal(true);
    outbox.flush();
    link.sentPieces = 3 + link.pushed.length;
    outbox.progressed();
    expect(outbox.backlogged).to.equal(false);
    expect(allocated()).to.equal(0);
  });

  it('gives everything back when the link is gone', () => {
    const { outbox, sent, note, allocated } = makeOutbox();
    for (let slot = 0; slot < 100; slot++) {
      note('x');
      outbox.pushSlot(slot, Buffer.from('y'), 0, 1, true);
    }
    outbox.flush();
    note('never pushed');
    outbox.abandon();
    expect(sent).to.have.lengthOf(100);
    expect(allocated()).to.equal(0);
  });
});

describe('nbd server: budget', () => {
  class User implements BudgetUser {
    bytesTaken = 0;
    bytesMoved = 0;
    waitsForClient = false;
    freed = 0;
    dropped = 0;
    budgetFreed(): void {
      this.freed++;
    }
    tooSlow(): void {
      this.dropped++;
    }
    take(budget: Budget, bytes: number): boolean {
      budget.join(this);
      const taken = budget.take(this, bytes);
      if (taken) this.bytesTaken += bytes;
      return taken;
    }
  }
  let clock: FakeClock;
  beforeEach(() => {
    clock = new FakeClock();
  });
  const limits = { connectionBytes: 100, totalBytes: 150, guaranteedBytes: 20 };

  it('bounds one, and all', () => {
    const budget = new Budget(limits, clock);
    const [a, b, c] = [new User(), new User(), new User()];
    expect(a.take(budget, 90)).to.equal(true);
    expect(a.take(budget, 11)).to.equal(false);
    expect(b.take(budget, 60)).to.equal(true);
    expect(b.take(budget, 1)).to.equal(false);
    expect(c.take(budget, 21)).to.equal(false);
    expect(c.take(budget, 20)).to.equal(true);
    expect(c.take(budget, 1)).to.equal(false);
    expect(budget.taken).to.equal(170);
  });

  it('lets a single request through whatever its size', () => {
    const budget = new Budget(limits, clock);
    const user = new User();
    expect(user.take(budget, 140)).to.equal(true);
    expect(user.take(budget, 1)).to.equal(false);
  });

  it('wakes all who wait, once for all that is given back in a turn', async () => {
    const budget = new Budget(limits, clock);
    const [a, b, c] = [new User(), new User(), new User()];
    a.take(budget, 100);
    expect([a, b, c].map((user) => user.take(budget, 60))).to.deep.equal([false, false, false]);
    budget.leave(c);
    budget.give(1);
    budget.give(1);
    expect(a.freed + b.freed).to.equal(0);
    await Promise.resolve();
    expect([a.freed, b.freed, c.freed]).to.deep.equal([1, 1, 0]);
    budget.give(1);
    await Promise.resolve();
    expect([a.freed, b.freed]).to.deep.equal([1, 1]);
  });

  it('drops whose client is stuck, the one who holds most first, when others have waited for long', async () => {
    const budget = new Budget(limits, clock);
    const users = [new User(), new User(), new User(), new User()];
    const [small, large, busy, waiting] = users;
    for (const [user, bytes] of [
      [small, 30],
      [large, 50],
      [busy, 70],
    ] as const)
      user.take(budget, bytes);
    for (const user of [small, large]) user.waitsForClient = true;
    await clock.advance(STARVATION_MS);
    expect(waiting.take(budget, 60)).to.equal(false);
    await clock.advance(STARVATION_MS - 1);
    expect(users.map(({ dropped }) => dropped)).to.deep.equal([0, 0, 0, 0]);
    await clock.advance(1);
    expect(users.map(({ dropped }) => dropped)).to.deep.equal([0, 1, 0, 0]);
    budget.leave(large);
    await clock.advance(STARVATION_MS);
    expect(users.map(({ dropped }) => dropped)).to.deep.equal([1, 1, 0, 0]);
    budget.leave(small);
    await clock.advance(STARVATION_MS);
    expect(users.map(({ dropped }) => dropped)).to.deep.equal([1, 1, 0, 0]);
    for (const user of users) budget.leave(user);
    expect(clock.pending).to.equal(0);
  });

  it('drops nobody who moves, holds no more than is its own, or waits for its own limit only', async () => {
    const budget = new Budget(limits, clock);
    const [moving, modest, waiting] = [new User(), new User(), new User()];
    for (const [user, bytes] of [
      [moving, 100],
      [modest, 20],
    ] as const)
      user.take(budget, bytes);
    for (const user of [moving, modest]) user.waitsForClient = true;
    expect(moving.take(budget, 10)).to.equal(false);
    expect(clock.pending).to.equal(0);
    expect(waiting.take(budget, 60)).to.equal(false);
    await clock.advance(STARVATION_MS - 1);
    moving.bytesMoved += 1024 * 1024;
    await clock.advance(1);
    expect([moving.dropped, modest.dropped]).to.deep.equal([0, 0]);
    budget.leave(waiting);
    await clock.advance(STARVATION_MS);
    expect([moving.dropped, clock.pending]).to.deep.equal([0, 0]);
  });
});
