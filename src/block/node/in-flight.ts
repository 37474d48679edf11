// How many requests of a node are under way, and waiting until there are none.

import { assert } from '../../util/assert.js';
import { Epoch, Epochs } from '../../util/epochs.js';
import { Waiters } from '../../util/waiters.js';
import type { MappingGuard } from '../types.js';
import { NodeDriver } from './driver-face.js';

export abstract class NodeInFlight extends NodeDriver {
  protected underWay = 0;
  protected readonly idleWaiters = new Waiters();
  /** While the node becomes shorter, no other request begins: settles at the end of that. Null: requests begin at once. */
  protected held: Promise<void> | null = null;
  /**
   * How many need every request counted: users of `passed`, and its calls under way. While there is one, nothing is located: a node above could send
   * it past this one, uncounted.
   */
  countsAll = 0;
  /** The requests under way that were not located. */
  readonly #epochs = new Epochs(() => new Epoch());
  #located = 0;
  readonly #locatedEnd = new Waiters();
  /** Changes of the size among the requests under way, and who waits until all others have ended. */
  #resizes = 0;
  readonly #othersEnd = new Waiters();

  /** Requests under way. Reads that went straight to the host file are not counted, but for those between `sent` and `answered`. */
  get inFlight(): number {
    return this.underWay;
  }

  /** A located request is under way: `idle` waits for it. */
  sent(): void {
    this.underWay++;
    this.#located++;
  }

  /** A request that `sent` counted was not begun. */
  givenUp(guard: MappingGuard | null): void {
    guard?.release();
    this.#located--;
    this.#left();
    // Also where counting has ended meanwhile: who waits is not to be forgotten.
    if (this.#located === 0 && this.#locatedEnd.size > 0) this.#locatedEnd.wake();
  }

  /**
   * Waits until no request of this node is under way, nor what it sent to the nodes below for that. Those may be busy with requests of
   * other users: they are not waited for, since they might never end.
   */
  async idle(): Promise<void> {
    for (;;) {
      while (this.underWay > 0) await this.idleWaiters.wait();
      await this.doDrain();
      if (this.underWay === 0) return;
    }
  }

  /**
   * Resolves when all requests have ended that were under way at the call. Nothing is held up for that: one of them may wait for a request of this
   * node that is yet to come. Call it while `countsAll` says so.
   *
   * A load that never lets up does not prolong it. Of the requests that are counted by epochs, later ones are in later epochs. Located ones have no
   * epoch: their number must come to zero, and it can only fall, since none begins before this call has ended, also where its user does not count
   * any more.
   */
  async passed(): Promise<void> {
    this.countsAll++;
    try {
      if (this.#located > 0) await this.#locatedEnd.wait();
      await this.#epochs.passed();
    } finally {
      this.countsAll--;
    }
  }

  protected async tracked<T>(request: Promise<T>): Promise<T> {
    const epoch = this.enter();
    try {
      return await request;
    } finally {
      this.leave(epoch);
    }
  }

  /** The same for a change of the size. */
  protected async trackedResize(request: Promise<void>): Promise<void> {
    const epoch = this.enter();
    this.#resizes++;
    try {
      await request;
    } finally {
      this.#resizes--;
      this.leave(epoch);
    }
  }

  /** Runs `action`, a part of a tracked resize, while no other request is under way. Requests that come meanwhile wait for its end. */
  protected async withoutOthers(action: () => Promise<void>): Promise<void> {
    let end: () => void = () => {};
    this.held = new Promise((resolve) => {
      end = resolve;
    });
    try {
      while (this.underWay > this.#resizes) await this.#othersEnd.wait();
      await this.doDrain();
      await action();
    } finally {
      this.held = null;
      end();
    }
  }

  /** A request begins: `leave` it when it ends. */
  protected enter(): Epoch {
    this.underWay++;
    return this.#epochs.enter();
  }

  protected leave(epoch: Epoch): void {
    epoch.leave();
    this.#left();
  }

  #left(): void {
    if (--this.underWay <= 0) {
      assert(this.underWay === 0, 'a request of a node ends once');
      this.idleWaiters.wake();
    }
    if (this.held !== null && this.underWay <= this.#resizes) this.#othersEnd.wake();
  }
}
