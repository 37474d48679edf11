// A device: a named user of a root node, with throttle, statistics and error policy. Guests, exports and benchmarks write
// through it; while its node is drained, its requests wait in its gate (device-gate.ts).
//
// Where nothing is to be waited for, `beginRead` and `beginWrite` say where a request may go without a promise.

import type { HostFile } from '../host/host.js';
import { toBlockError } from '../util/errors.js';
import type { Child } from './child.js';
import { DeviceGate } from './device-gate.js';
import { BlockNode } from './node/node.js';
import { checkBuffer, checkBytes, checkFlags, checkStillThere, checkTruncateOptions } from './request-check.js';
import {
  type Located,
  type MappingGuard,
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

/** Takes the permission to change the size until the result is called: nobody else forbids it meanwhile. Throws `permission`. */
export let keepResizing: (device: Device) => () => void;

/** As `close`, but after the drained sections that the device is in. Returns its last root node; null where it was closed already. */
export let closeDevice: (device: Device) => Promise<BlockNode | null>;

export class Device extends DeviceGate {
  /** Changes of the size under way: when the last one ends, the permission is given up. */
  #resizes = 0;
  /** Users that have the permission to change the size all the time (`keepResizing`). */
  #resizers = 0;
  /** Changes of the size that have begun. */
  #resized = 0;
  /** `#changes` of what was flushed. */
  #flushed = 0;

  static {
    rootOf = (device) => device.link;
    inspectDevice = (device, action) => device.#inspect(action);
    keepResizing = (device) => device.#keepResizing();
    closeDevice = (device) => device.closeWhen(true);
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
    await this.request('read', length, () => this.link.read(offset, buffer), buffer);
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
    await this.request('write', length, () => this.link.write(offset, buffer, how), buffer);
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
    return this.policy !== null;
  }

  /** A request of `beginRead` or `beginWrite` has its answer: it is counted, and those that wait for it go on. */
  ended(write: boolean, offset: number, length: number, guard: MappingGuard | null, failed: boolean): void {
    this.link.answered(write, offset, length, guard);
    this.accounting?.answered(write);
    const { stats } = this;
    if (failed) {
      // The error of the second time counts.
      if (this.policy === null) stats.failedOperations++;
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
    return guard === null && (!file.writable || file === this.root?.node.hostFile());
  }

  /** A request of `beginRead` or `beginWrite` was not begun: the file could not take it without waiting. */
  givenUp(write: boolean, guard: MappingGuard | null): void {
    this.link.givenUp(guard);
    this.accounting?.answered(write);
    this.#done();
  }

  #begin(offset: number, length: number, write: boolean, into: Located): boolean {
    const root = this.root;
    if (!this.open || root === null || !root.locate(offset, length, write, into)) return false;
    root.sent();
    this.host.guestCame();
    this.accounting?.begun(write);
    this.pending++;
    this.inFlight++;
    return true;
  }

  /**
   * Sends a request that was just begun, to `place`, with the one promise of the file. Through `request` it would take one for each layer:
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
      if (this.policy === null) throw toBlockError(error, { path: this.root?.filename });
    } finally {
      this.ended(write, offset, length, guard, failed);
    }
    if (failed) await (write ? this.#write(offset, buffer) : this.#read(offset, buffer));
    checkStillThere(buffer, length, kind);
  }

  #done(): void {
    this.inFlight--;
    this.pending--;
    this.answered();
  }

  /** Makes the range read as zeroes. Rejects as `write`, and with `unsupported` where `noFallback` forbids to write them out. */
  async writeZeroes(offset: number, length: number, flags?: Omit<ZeroFlags, 'serialised'>): Promise<void> {
    checkBytes(offset, 'offset', 'writeZeroes');
    checkBytes(length, 'length', 'writeZeroes');
    if (flags !== undefined) checkFlags(flags, ZERO_FLAGS, 'writeZeroes');
    const how = this.#durably(flags);
    await this.request('write', length, () => this.link.writeZeroes(offset, length, how));
    this.stats.writeOperations++;
    this.stats.writeBytes += length;
  }

  /** The content of the range is of no more use: its space may be given back. Rejects as `write`. */
  async discard(offset: number, length: number): Promise<void> {
    checkBytes(offset, 'offset', 'discard');
    checkBytes(length, 'length', 'discard');
    await this.request('discard', length, () => this.link.discard(offset, length));
    this.stats.unmapOperations++;
    this.stats.unmapBytes += length;
  }

  async flush(): Promise<void> {
    const changes = this.#changes;
    await this.request('flush', 0, () => this.link.flush());
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
    await this.request('resize', 0, async () => {
      const root = this.link;
      BlockNode.changePermissions(root, root.perm | Perm.RESIZE, root.shared);
      this.#resizes++;
      try {
        this.#resized++;
        await root.truncate(size, options);
      } finally {
        this.#resizes--;
        this.#settleResize(root);
      }
    });
  }

  #keepResizing(): () => void {
    const root = this.link;
    BlockNode.changePermissions(root, root.perm | Perm.RESIZE, root.shared);
    this.#resizers++;
    return () => {
      this.#resizers--;
      if (this.root !== null) this.#settleResize(this.root);
    };
  }

  #settleResize(root: Child): void {
    if (this.#resizes + this.#resizers > 0) return;
    BlockNode.changePermissions(root, root.perm & ~Perm.RESIZE, root.shared);
  }

  async #inspect<T>(action: (root: Child) => Promise<T>): Promise<T> {
    let result: T | undefined;
    await this.request('other', 0, async () => {
      result = await action(this.link);
    });
    return result as T;
  }
}
