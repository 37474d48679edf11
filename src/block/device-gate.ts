// The gate of a device: which of its requests may go now, and which are under way; its throttle, its drained sections, its users, its end.
//
//   request -> [throttle] -> [drained section, stopped] -> in flight: node
//                             ^--- failed, and the error policy stops the device: tried again once it goes on
//
// A request that waits for the throttle is not in flight: a drained section does not wait for it, and it does not pass during one.

import type { Host } from '../host/host.js';
import { assert } from '../util/assert.js';
import { BlockError, type BlockErrorCode, toBlockError } from '../util/errors.js';
import { Waiters } from '../util/waiters.js';
import { type Accounting, isRefusal, type LatencyKind, type RequestKind } from './accounting.js';
import { type Child, type NodeUser, UNNAMED_DEVICE } from './child.js';
import type { Admission, DeviceOptions, DeviceStats, ErrorPolicy } from './device-options.js';
import type { BlockNode } from './node/node.js';
import { checkStillThere } from './request-check.js';
import { PERM_ALL, Perm } from './types.js';

/** What `Device` sends its requests through: `request`, or, for one that needs no promise, while it is `open`. */
export abstract class DeviceGate implements NodeUser {
  readonly name: string;
  /** For messages about permissions. */
  readonly userName: string;
  readonly writable: boolean;
  readonly stats: DeviceStats = {
    readOperations: 0,
    readBytes: 0,
    writeOperations: 0,
    writeBytes: 0,
    flushOperations: 0,
    unmapOperations: 0,
    unmapBytes: 0,
    failedOperations: 0,
  };

  readonly accounting: Accounting | null;
  readonly writethrough: boolean;
  protected readonly policy: ErrorPolicy | null;

  readonly #host: Host;
  #throttle: Admission | null;
  /** Null once it is closed. */
  protected root: Child | null;
  readonly #called: string;
  /** Of the root node that it had at last: for messages. */
  #lastFilename: string;
  #closing = false;
  /** Those that work with the device for longer than a request (jobs, services), each with its name. */
  readonly #users = new Map<object, string>();
  /** Requests that are not answered yet, and those of them that were sent to the node. */
  protected pending = 0;
  protected inFlight = 0;
  #quiesced = false;
  /** Between `hold` and `resume`. */
  #stopped = false;
  /** Runs of `withoutHolding`. */
  #refusals = 0;
  /** Nothing stands in the way of a located request: see `#update`. */
  protected open = false;
  /** Requests that wait for the end of a drained section, or until the device goes on. */
  readonly #held = new Waiters();
  readonly #idle = new Waiters();

  constructor(node: BlockNode, options: DeviceOptions) {
    this.name = options.name;
    this.userName = options.unnamed === true ? UNNAMED_DEVICE : `device '${options.name}'`;
    this.#called = options.called ?? `device '${options.name}'`;
    this.writable = options.writable;
    this.accounting = options.accounting ?? null;
    this.writethrough = options.writethrough ?? false;
    this.policy = options.policy ?? null;
    this.#host = node.host;
    this.#lastFilename = node.filename;
    this.#throttle = options.throttle ?? null;
    const perm = Perm.CONSISTENT_READ | (options.writable ? Perm.WRITE : 0);
    const shared = options.writable ? PERM_ALL & ~(Perm.WRITE | Perm.RESIZE) : PERM_ALL;
    this.root = node.attach(this, 'root', perm, options.shared ?? shared);
    this.#update();
  }

  /** A job may have put another node in its place. */
  protected get link(): Child {
    if (this.root === null) throw this.#closedError();
    return this.root;
  }

  /** Name of the root's file, or `json:{...}`; after a mirror or an active commit was completed, that of the new one. Throws `closed`. */
  get filename(): string {
    return this.link.filename;
  }

  /** Size, bytes. Throws `closed`. */
  get length(): number {
    return this.link.length;
  }

  get host(): Host {
    return this.#host;
  }

  get throttle(): Admission | null {
    return this.#throttle;
  }

  /** Another throttle from now on, or none. The old one is closed: who waits for it passes. */
  setThrottle(throttle: Admission | null): void {
    const old = this.#throttle;
    if (old === throttle) return;
    this.#throttle = throttle;
    this.#update();
    old?.close?.();
  }

  /** Begins to count requests by how long they take (see `Accounting.setHistogram`), or ends that. Throws `invalid-argument`. */
  setHistogram(kind: LatencyKind, boundaries: readonly number[] | null): void {
    this.accounting?.setHistogram(kind, boundaries);
    this.#update();
  }

  /** From now on requests wait, until `resume`. What is under way goes on: see `drained`. */
  hold(): void {
    this.#stopped = true;
    this.#update();
  }

  /** Those that waited go on, and those that had failed are tried again. */
  resume(): void {
    this.#stopped = false;
    this.#update();
    this.#held.wake();
  }

  /** Runs `action`, during which no request waits for `resume`: those that would, whoever sent them, are rejected with `closed`. */
  async withoutHolding(action: () => Promise<void>): Promise<void> {
    this.#refusals++;
    this.#held.wake();
    try {
      await action();
    } finally {
      this.#refusals--;
    }
  }

  /** To be called whenever one of these has changed: located requests ask for one thing only. */
  #update(): void {
    const waits = this.#closing || this.#quiesced || this.#stopped || this.#throttle !== null;
    this.open = !waits && this.accounting?.single !== true;
  }

  drainBegin(): void {
    this.#quiesced = true;
    this.#update();
  }

  async drained(): Promise<void> {
    while (this.inFlight > 0) await this.#idle.wait();
  }

  drainEnd(): void {
    assert(this.#quiesced, 'a drain of a device ends as often as it began');
    this.#quiesced = false;
    this.#update();
    this.#held.wake();
    this.answered();
  }

  /** Somebody (a job, a server) works with the device until the result is called. `who` is for messages. Throws `closed`. */
  use(who: string): () => void {
    if (this.#closing || this.root === null) throw this.#closedError();
    const key = {};
    this.#users.set(key, who);
    return () => {
      this.#users.delete(key);
    };
  }

  /** Those who work with the device, as they named themselves. */
  get users(): string[] {
    return [...this.#users.values()];
  }

  /**
   * Releases the node once all requests are answered; those that wait for the throttle are sent at once, those that wait for the end of a
   * drained section are rejected with `closed`. The node itself stays open.
   */
  async close(): Promise<void> {
    await this.closeWhen(false);
  }

  /** `patient`: not within a drained section, whose owner may be about to put another node in place. Returns the last root. */
  protected async closeWhen(patient: boolean): Promise<BlockNode | null> {
    this.#closing = true;
    this.#update();
    this.setThrottle(null);
    this.#held.wake();
    while (this.pending > 0 || (patient && this.#quiesced)) await this.#idle.wait();
    const root = this.root;
    if (root === null) return null;
    this.#lastFilename = root.filename;
    this.root = null;
    root.node.detach(root);
    return root.node;
  }

  /**
   * Runs `action`, a request of `bytes`, when it may go, and again where the error policy says so. `buffer` must be of the same memory afterwards. Rejects with `closed`,
   * `read-only`, `invalid-argument` (the buffer), and as `action`.
   */
  protected async request(
    kind: RequestKind | 'resize' | 'other',
    bytes: number,
    action: () => Promise<void>,
    buffer?: Uint8Array,
  ): Promise<void> {
    if (this.#closing) throw this.#closedError();
    if (!this.writable && (kind === 'write' || kind === 'discard' || kind === 'resize')) {
      throw this.#refusal('read-only', 'is read-only', kind);
    }
    this.#host.guestCame();
    this.pending++;
    const startMs = this.accounting?.now() ?? 0;
    try {
      // Only what moves data is limited.
      if (kind === 'read' || kind === 'write') {
        const admitted = this.#throttle?.admit(kind === 'write', bytes);
        if (admitted !== undefined) await admitted;
      }
      for (let again = true; again; ) {
        await this.#mayGo();
        again = await this.#sendOnce(kind, action);
      }
      if (buffer !== undefined) checkStillThere(buffer, bytes, kind);
      this.#account(kind, startMs, null);
    } catch (thrown) {
      if (buffer !== undefined) checkStillThere(buffer, bytes, kind);
      const error = toBlockError(thrown, { path: this.root?.filename });
      this.#account(kind, startMs, error);
      throw error;
    } finally {
      this.pending--;
      this.answered();
    }
  }

  #account(kind: RequestKind | 'resize' | 'other', startMs: number, error: BlockError | null): void {
    if (kind !== 'resize' && kind !== 'other') this.accounting?.ended(kind, startMs, error);
  }

  async #mayGo(): Promise<void> {
    while (this.#quiesced || this.#stopped) {
      if (this.#closing || (this.#stopped && this.#refusals > 0)) throw this.#closedError();
      await this.#held.wait();
    }
  }

  /** True where the request failed and is to be tried again. */
  async #sendOnce(kind: RequestKind | 'resize' | 'other', action: () => Promise<void>): Promise<boolean> {
    this.inFlight++;
    try {
      await action();
      return false;
    } catch (thrown) {
      this.stats.failedOperations++;
      if (this.policy === null || kind === 'resize' || kind === 'other') throw thrown;
      const error = toBlockError(thrown, { path: this.root?.filename });
      if (isRefusal(error)) throw error;
      const decided = this.policy.failed(kind === 'read', error);
      if (decided === 'report') throw error;
      return decided === 'stop';
    } finally {
      this.inFlight--;
      this.answered();
    }
  }

  /** To be called whenever a request is over. */
  protected answered(): void {
    if (this.inFlight === 0) this.#idle.wake();
  }

  #closedError(): BlockError {
    return this.#refusal('closed', 'is closed');
  }

  #refusal(code: BlockErrorCode, what: string, operation?: string): BlockError {
    const filename = this.root?.node.filename ?? this.#lastFilename;
    return BlockError.at(filename, code, `${this.#called} ${what}`, { operation });
  }
}
