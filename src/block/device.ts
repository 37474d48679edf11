// A device: a named user of a root node, with throttle, statistics and error policy. Guests, exports and benchmarks write
// through it; while its node is drained, its requests wait here.
//
//   request -> [throttle] -> [drained section, stopped] -> in flight: node
//                             ^--- failed, and the error policy stops the device: tried again once it goes on
//
// A request that waits for the throttle is not in flight: a drained section does not wait for it, and it does not pass during one.
// Where nothing is to be waited for, `beginRead` and `beginWrite` say where a request may go without a promise.

import type { Host, HostFile } from '../host/host.js';
import { assert } from '../util/assert.js';
import { BlockError, type BlockErrorCode, toBlockError } from '../util/errors.js';
import { Waiters } from '../util/waiters.js';
import { type Accounting, isRefusal, type LatencyKind, type RequestKind } from './accounting.js';
import { type Child, type NodeUser, UNNAMED_DEVICE } from './child.js';
import type { Admission, DeviceOptions, DeviceStats, ErrorPolicy } from './device-options.js';
import { BlockNode } from './node/node.js';
import { checkBuffer, checkBytes, checkFlags, checkStillThere, checkTruncateOptions } from './request-check.js';
import {
  type Located,
  type MappingGuard,
  PERM_ALL,
  Perm,
  type TruncateOptions,
  type WriteFlags,
  type ZeroFlags,
} from './types.js';

const WRITE_FLAGS: readonly (keyof WriteFlags)[] = ['fua', 'compressed'];
const ZERO_FLAGS: readonly (keyof ZeroFlags)[] = ['fua', 'mayUnmap', 'noFallback'];
/** For the device's own requests: each is begun at once, so that one object does for all. */
const place: Located = { file: null, offset: 0, guard: null };
// Not for those who use the library: a node in their hands would be a way past permissions and drained sections.

/** The link to the device's root node. Throws `closed`. */
export let rootOf: (device: Device) => Child;

/** Runs `action` on the device's root as a request of its own: never within a drained section, which waits for it. Past the throttle, and not counted: for what is no guest's request. */
export let inspectDevice: <T>(device: Device, action: (root: Child) => Promise<T>) => Promise<T>;

/** As `close`, but after the drained sections that the device is in. Returns its last root node; null where it was closed already. */
export let closeDevice: (device: Device) => Promise<BlockNode | null>;

export class Device implements NodeUser {
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
  readonly #policy: ErrorPolicy | null;

  readonly #host: Host;
  #throttle: Admission | null;
  #root: Child | null;
  readonly #called: string;
  /** Of the root node that it had at last: for messages. */
  #lastFilename: string;
  #closing = false;
  /** Changes of the size under way: when the last one ends, the permission is given up. */
  #resizes = 0;
  /** Changes of the size that have begun. */
  #resized = 0;
  /** `#changes` of what was flushed. */
  #flushed = 0;
  /** Those that work with the device for longer than a request (jobs, services), each with its name. */
  readonly #users = new Map<object, string>();
  /** Requests that are not answered yet, and those of them that were sent to the node. */
  #pending = 0;
  #inFlight = 0;
  #quiesced = false;
  /** Between `hold` and `resume`. */
  #stopped = false;
  /** Runs of `withoutHolding`. */
  #refusals = 0;
  /** Nothing stands in the way of a located request: see `#update`. */
  #open = false;
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
    this.#policy = options.policy ?? null;
    this.#host = node.host;
    this.#lastFilename = node.filename;
    this.#throttle = options.throttle ?? null;
    const perm = Perm.CONSISTENT_READ | (options.writable ? Perm.WRITE : 0);
    const shared = options.writable ? PERM_ALL & ~(Perm.WRITE | Perm.RESIZE) : PERM_ALL;
    this.#root = node.attach(this, 'root', perm, options.shared ?? shared);
    this.#update();
  }

  static {
    rootOf = (device) => device.#link;
    inspectDevice = (device, action) => device.#inspect(action);
    closeDevice = (device) => device.#close(true);
  }

  /** A job may have put another node in its place. */
  get #link(): Child {
    if (this.#root === null) throw this.#closedError();
    return this.#root;
  }

  /** Name of the root's file, or `json:{...}`; after a mirror or an active commit was completed, that of the new one. Throws `closed`. */
  get filename(): string {
    return this.#link.filename;
  }

  /** Size, bytes. Throws `closed`. */
  get length(): number {
    return this.#link.length;
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

  /** Fills `buffer` from `offset`. Rejects with `invalid-argument`, `out-of-bounds`, `closed`, `io`, `corrupt-image`, ... */
  async read(offset: number, buffer: Uint8Array): Promise<void> {
    checkBytes(offset, 'offset', 'read');
    checkBuffer(buffer, 'read');
    const { length } = buffer;
    if (this.#begin(offset, length, false, place)) return await this.#located(false, offset, buffer);
    await this.#read(offset, buffer);
  }

  async #read(offset: number, buffer: Uint8Array): Promise<void> {
    const { length } = buffer;
    await this.#request('read', length, () => this.#link.read(offset, buffer), buffer);
    this.stats.readOperations++;
    this.stats.readBytes += length;
  }

  /**
   * Writes `buffer` at `offset`; it must not change until this resolves. Durable after the next `flush`, or with `fua` at once. Rejects with
   * `invalid-argument`, `unknown-option` (flags), `read-only`, `out-of-bounds`, `no-space`, `io`, ...
   */
  async write(offset: number, buffer: Uint8Array, flags?: Omit<WriteFlags, 'serialised'>): Promise<void> {
    checkBytes(offset, 'offset', 'write');
    checkBuffer(buffer, 'write');
    if (flags !== undefined) checkFlags(flags, WRITE_FLAGS, 'write');
    const { length } = buffer;
    if (flags === undefined && this.beginWrite(offset, length, place)) return await this.#located(true, offset, buffer);
    await this.#write(offset, buffer, flags);
  }

  async #write(offset: number, buffer: Uint8Array, flags?: WriteFlags): Promise<void> {
    const { length } = buffer;
    const how = this.#durably(flags);
    await this.#request('write', length, () => this.#link.write(offset, buffer, how), buffer);
    this.stats.writeOperations++;
    this.stats.writeBytes += length;
  }

  #durably<F extends { fua?: boolean }>(flags: F | undefined): F | undefined {
    return this.writethrough ? ({ ...flags, fua: true } as F) : flags;
  }

  /**
   * Says without waiting where a read of [offset, offset + length) may go straight to a host file, and counts it as in flight. False where
   * it may not, or something is wrong: ask `read`, which says what. Never throws. Whoever gets true does, in this order:
   *
   *  1. at once, before anything else runs: `into.file.beginRead(into.offset, ...)`. Where that says false: `givenUp(false, into.guard)`, then `read`.
   *     Where `into.file` is null, the range is zeroes and there is nothing to begin: 3 follows;
   *  2. keeps `into.guard` with the request, since `into` will be filled again;
   *  3. with the answer: `ended(false, offset, length, guard, failed)`, with `offset` and `length` as they were asked for here;
   *  4. only after that: answers its own caller. `HostFile.errorOf` returns the error of a failed request.
   *
   * Until 3 a drained section, and `close`, wait for it: so 3 must not wait for a slow receiver of the reply.
   */
  beginRead(offset: number, length: number, into: Located): boolean {
    return this.#begin(offset, length, false, into);
  }

  /**
   * The same for a write (`HostFile.beginWrite`, `ended(true, ...)`, else `write`). It is durable after a `flush` that begins after `ended`;
   * one that must be durable when it is answered (FUA) goes through `write`.
   */
  beginWrite(offset: number, length: number, into: Located): boolean {
    return this.writable && !this.writethrough && this.#begin(offset, length, true, into);
  }

  /** Where a located request failed, it is asked for once more by `read` or `write`, which do with the error what the device's policy says. */
  get asksAgain(): boolean {
    return this.#policy !== null;
  }

  /** A request of `beginRead` or `beginWrite` has its answer: it is counted, and those that wait for it go on. */
  ended(write: boolean, offset: number, length: number, guard: MappingGuard | null, failed: boolean): void {
    this.#link.answered(write, offset, length, guard);
    this.accounting?.answered(write);
    const { stats } = this;
    if (failed) {
      // The error of the second time counts.
      if (this.#policy === null) stats.failedOperations++;
    } else if (write) {
      stats.writeOperations++;
      stats.writeBytes += length;
    } else {
      stats.readOperations++;
      stats.readBytes += length;
    }
    this.#done();
  }

  /**
   * Whether a located read may be answered with the file's own pages instead of a copy of them: the receiver sees what they hold when it takes them, which
   * may be after `ended`. That is as if the request took longer, where only this device's writes to the same place change them, or nobody's. Elsewhere the
   * place may be used for something else by then (`guard`), or it is another node's, and what this device shows there may be settled (a pulled backup).
   */
  mayHold(file: HostFile, guard: MappingGuard | null): boolean {
    return guard === null && (!file.writable || file === this.#root?.node.hostFile());
  }

  /** A request of `beginRead` or `beginWrite` was not begun: the file could not take it without waiting. */
  givenUp(write: boolean, guard: MappingGuard | null): void {
    this.#link.givenUp(guard);
    this.accounting?.answered(write);
    this.#done();
  }

  #begin(offset: number, length: number, write: boolean, into: Located): boolean {
    const root = this.#root;
    if (!this.#open || root === null || !root.locate(offset, length, write, into)) return false;
    root.sent();
    this.#host.guestCame();
    this.accounting?.begun(write);
    this.#pending++;
    this.#inFlight++;
    return true;
  }

  /**
   * Sends a request that was just begun, to `place`, with the one promise of the file. Through `#request` it would take one for each layer:
   * 600,000 reads at depth 1 took 3.6 s of CPU so, and 5.3 s in the build that had those (842ecbf).
   */
  async #located(write: boolean, offset: number, buffer: Uint8Array): Promise<void> {
    const { file, offset: at, guard } = place;
    const { length } = buffer;
    const kind = write ? 'write' : 'read';
    let failed = true;
    try {
      if (file === null) buffer.fill(0);
      else await (write ? file.write(at, buffer) : file.read(at, buffer));
      failed = false;
    } catch (error) {
      checkStillThere(buffer, length, kind);
      if (this.#policy === null) throw toBlockError(error, { path: this.#root?.filename });
    } finally {
      this.ended(write, offset, length, guard, failed);
    }
    if (failed) await (write ? this.#write(offset, buffer) : this.#read(offset, buffer));
    checkStillThere(buffer, length, kind);
  }

  #done(): void {
    this.#inFlight--;
    this.#pending--;
    this.#answered();
  }

  /** Makes the range read as zeroes. Rejects as `write`, and with `unsupported` where `noFallback` forbids to write them out. */
  async writeZeroes(offset: number, length: number, flags?: Omit<ZeroFlags, 'serialised'>): Promise<void> {
    checkBytes(offset, 'offset', 'writeZeroes');
    checkBytes(length, 'length', 'writeZeroes');
    if (flags !== undefined) checkFlags(flags, ZERO_FLAGS, 'writeZeroes');
    const how = this.#durably(flags);
    await this.#request('write', length, () => this.#link.writeZeroes(offset, length, how));
    this.stats.writeOperations++;
    this.stats.writeBytes += length;
  }

  /** The content of the range is of no more use: its space may be given back. Rejects as `write`. */
  async discard(offset: number, length: number): Promise<void> {
    checkBytes(offset, 'offset', 'discard');
    checkBytes(length, 'length', 'discard');
    await this.#request('discard', length, () => this.#link.discard(offset, length));
    this.stats.unmapOperations++;
    this.stats.unmapBytes += length;
  }

  async flush(): Promise<void> {
    const changes = this.#changes;
    await this.#request('flush', 0, () => this.#link.flush());
    this.stats.flushOperations++;
    this.#flushed = changes;
  }

  get #changes(): number {
    return this.stats.writeOperations + this.stats.unmapOperations + this.#resized;
  }

  /** Something was changed by way of this device since the last flush began that succeeded. */
  get changed(): boolean {
    return this.#changes !== this.#flushed;
  }

  /**
   * Changes the size. The permission for that is held meanwhile only. Rejects with `permission` where another user does not let it change,
   * `read-only`, `unsupported`, `no-space`, ...
   */
  async truncate(size: number, options?: TruncateOptions): Promise<void> {
    checkBytes(size, 'size', 'truncate');
    if (options !== undefined) checkTruncateOptions(options);
    await this.#request('resize', 0, async () => {
      const root = this.#link;
      BlockNode.changePermissions(root, root.perm | Perm.RESIZE, root.shared);
      this.#resizes++;
      try {
        this.#resized++;
        await root.truncate(size, options);
      } finally {
        if (--this.#resizes === 0) BlockNode.changePermissions(root, root.perm & ~Perm.RESIZE, root.shared);
      }
    });
  }

  async #inspect<T>(action: (root: Child) => Promise<T>): Promise<T> {
    let result: T | undefined;
    await this.#request('other', 0, async () => {
      result = await action(this.#link);
    });
    return result as T;
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
    this.#open = !waits && this.accounting?.single !== true;
  }

  drainBegin(): void {
    this.#quiesced = true;
    this.#update();
  }

  async drained(): Promise<void> {
    while (this.#inFlight > 0) await this.#idle.wait();
  }

  drainEnd(): void {
    assert(this.#quiesced, 'a drain of a device ends as often as it began');
    this.#quiesced = false;
    this.#update();
    this.#held.wake();
    this.#answered();
  }

  /** Somebody (a job, a server) works with the device until the result is called. `who` is for messages. Throws `closed`. */
  use(who: string): () => void {
    if (this.#closing || this.#root === null) throw this.#closedError();
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
    await this.#close(false);
  }

  /** `patient`: not within a drained section, whose owner may be about to put another node in place. Returns the last root. */
  async #close(patient: boolean): Promise<BlockNode | null> {
    this.#closing = true;
    this.#update();
    this.setThrottle(null);
    this.#held.wake();
    while (this.#pending > 0 || (patient && this.#quiesced)) await this.#idle.wait();
    const root = this.#root;
    if (root === null) return null;
    this.#lastFilename = root.filename;
    this.#root = null;
    root.node.detach(root);
    return root.node;
  }

  async #request(
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
    this.#pending++;
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
      const error = toBlockError(thrown, { path: this.#root?.filename });
      this.#account(kind, startMs, error);
      throw error;
    } finally {
      this.#pending--;
      this.#answered();
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
    this.#inFlight++;
    try {
      await action();
      return false;
    } catch (thrown) {
      this.stats.failedOperations++;
      if (this.#policy === null || kind === 'resize' || kind === 'other') throw thrown;
      const error = toBlockError(thrown, { path: this.#root?.filename });
      if (isRefusal(error)) throw error;
      const decided = this.#policy.failed(kind === 'read', error);
      if (decided === 'report') throw error;
      return decided === 'stop';
    } finally {
      this.#inFlight--;
      this.#answered();
    }
  }

  #answered(): void {
    if (this.#inFlight === 0) this.#idle.wake();
  }

  #closedError(): BlockError {
    return this.#refusal('closed', 'is closed');
  }

  #refusal(code: BlockErrorCode, what: string, operation?: string): BlockError {
    const filename = this.#root?.node.filename ?? this.#lastFilename;
    return BlockError.at(filename, code, `${this.#called} ${what}`, { operation });
  }
}
