// A node: one opened driver in the graph. Its parts are layers of one class, so that a request passes no object in between:
//
//   NodeLinks      links.ts        who uses the node, what it uses, permissions
//   NodeDriver     driver-face.ts  what a driver supplies (`do...`), and the fallbacks
//   NodeInFlight   in-flight.ts    how many requests are under way
//   NodeChanges    changes.ts      dirty bitmaps, observers, serialiser
//   NodePadding    padding.ts      whole blocks for drivers that take nothing else
//   NodeRequests   requests.ts     read, write, block status, ...
//   NodeMoving     moving.ts       places for what the host's copy step moves
//   BlockNode      node.ts         life: reopen and close
//
// A driver extends `BlockNode` and overrides the methods of `NodeDriver` that it has.

import type { Child } from '../child.js';
import { NodeMoving } from './moving.js';
import { reopenTogether, withFollowers } from './reopening.js';

export type { NodeOptions } from './links.js';

export abstract class BlockNode extends NodeMoving {
  /** Drained sections that it lies in or above: while there is one, nobody sends anything to it. */
  get quiesceCount(): number {
    return this.graph.quiescence.countOf(this);
  }

  /**
   * Opens it again for writing, or read-only. The children that its bytes lie in follow, unless somebody else writes to them. Where it rejects, all are as
   * they were. Rejects with `locked`, and with `permission` where a user does not let others write, or writes itself.
   */
  reopen(readOnly: boolean): Promise<void> {
    // One after the other: the last call decides how the node is in the end.
    return reopenTogether([this], () => withFollowers(this, readOnly));
  }

  /**
   * Answers what is under way and takes nothing new; then flushes, closes the driver and detaches the children; those that nobody
   * else uses are closed too. All is tried; the first error is thrown. Called by the graph.
   */
  close(): Promise<void> {
    this.closing ??= this.#close();
    return this.closing;
  }

  /**
   * This node is to be closed soon: below it, what waits for another machine that says nothing fails after a while, instead of never.
   * Nodes that others use, too, are left alone.
   */
  abortStalled(): void {
    for (const { node } of this.children.values()) if (node.parents.size === 1) node.abortStalled();
  }

  /**
   * Fails what is under way at the node that `link` leads to, and below, and may never be answered: requests of another machine. What somebody else
   * does something with is left alone.
   */
  static cancelRequests(link: Child): void {
    const { node } = link;
    for (const other of node.parents) if (other !== link && other.perm !== 0) return;
    node.doCancelRequests();
  }

  /** See `cancelRequests`. */
  protected doCancelRequests(): void {
    for (const child of this.children.values()) BlockNode.cancelRequests(child);
  }

  async #close(): Promise<void> {
    const failures: unknown[] = [];
    const attempt = (action: () => Promise<void>) => action().catch((error: unknown) => failures.push(error));
    this.abortStalled();
    await this.reopening;
    await attempt(() => this.idle());
    await attempt(() => this.doClose());
    this.closed = true;
    for (const child of this.children.values()) {
      child.node.detach(child);
      await attempt(() => this.graph.release(child.node));
    }
    if (failures.length > 0) throw failures[0];
  }
}
