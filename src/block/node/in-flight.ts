// How many requests of a node are under way, and waiting until there are none.

import { Waiters } from '../../util/waiters.js';
import type { MappingGuard } from '../types.js';
import { NodeDriver } from './driver-face.js';

export abstract class NodeInFlight extends NodeDriver {
  protected underWay = 0;
  protected readonly idleWaiters = new Waiters();

  /** Requests under way. Reads that went straight to the host file are not counted, but for those between `sent` and `answered`. */
  get inFlight(): number {
    return this.underWay;
  }

  /** A located request is under way: `idle` waits for it. */
  sent(): void {
    this.underWay++;
  }

  /** A request that `sent` counted was not begun. */
  givenUp(guard: MappingGuard | null): void {
    guard?.release();
    this.leave();
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

  protected async tracked<T>(request: Promise<T>): Promise<T> {
    this.underWay++;
    try {
      return await request;
    } finally {
      this.leave();
    }
  }

  protected leave(): void {
    if (--this.underWay === 0) this.idleWaiters.wake();
  }
}
