// A node: one opened driver in the graph. The public methods check, account and then call the driver's method
// (`do...`) of the same name; what a driver does not have, the base supplies.
//
//   read/write/...  -> bounds, read-only, observers, bitmaps, in-flight count -> doRead/doWrite/...
//   read, write (hot) -> locate -> the host file itself

import type { Host, HostFile, ZeroScan } from '../host/host.js';
import { bestEffort } from '../util/best-effort.js';
import { BlockError } from '../util/errors.js';
import type { RangeLock } from '../util/range-lock.js';
import { later, settleAll } from '../util/settle.js';
import { Waiters } from '../util/waiters.js';
import type { DirtyBitmap } from './bitmap.js';
import { Child, type ChildRole, checkPermissions, type NodeUser } from './child.js';
import type { Graph } from './graph.js';
import { checkImageSize } from './image-size.js';
import { type ChangeKind, observed, type WriteObserver } from './observer.js';
import {
  type BlockStatus,
  type Extent,
  type Located,
  type MappingGuard,
  PERM_ALL,
  Perm,
  type TruncateOptions,
  type WriteFlags,
  type ZeroFlags,
} from './types.js';

export interface NodeOptions {
  nodeName: string;
  readOnly: boolean;
  /** What a write of zero bytes becomes (QAPI `detect-zeroes`). */
  detectZeroes?: 'off' | 'on' | 'unmap';
  /** Whether discards are passed on (QAPI `discard`). */
  discard?: 'ignore' | 'unmap';
}

const ZERO_CHUNK_BYTES = 1 << 20;
const RESERVE_CHUNK_BYTES = 1 << 16;

/** For the requests of this file: each is begun at once, so that one object does for all. */
const place: Located = { file: null, offset: 0, guard: null };

export abstract class BlockNode implements NodeUser {
  readonly graph: Graph;
  readonly nodeName: string;
  /** Driver name as in `BlockdevOptions`. */
  abstract readonly driver: string;
  /** `protocol` reaches bytes, `format` gives them structure, `filter` passes them through. */
  abstract readonly kind: 'protocol' | 'format' | 'filter';
  /** What a person calls it: a path, or `json:{...}`. */
  abstract readonly filename: string;

  /** Size as a guest sees it, bytes. */
  length = 0;
  readOnly: boolean;
  closed = false;
  detectZeroes: 'off' | 'on' | 'unmap';
  discardMode: 'ignore' | 'unmap';

  file: Child | null = null;
  backing: Child | null = null;
  /** What the image's header says of its backing file, as it stands there; null where it names none. */
  backingFile: string | null = null;
  backingFormat: string | null = null;
  readonly parents = new Set<Child>();
  readonly bitmaps = new Map<string, DirtyBitmap>();
  /** Jobs that work on this node: owner -> reason. */
  readonly blockers = new Map<object, string>();

  /** Writes take this lock while a job that copies into this very node needs it (see `jobs/`); null costs nothing. */
  serialiser: RangeLock | null = null;

  #observers: WriteObserver[] = [];
  #inFlight = 0;
  #becomesReadOnly = false;
  /** Set while it is being closed: nothing new is taken. */
  #closing: Promise<void> | null = null;
  readonly #idleWaiters = new Waiters();
  /** The last change of the size that was asked for: one goes on at a time. */
  #resizing: Promise<unknown> = Promise.resolve();

  constructor(graph: Graph, options: NodeOptions) {
    this.graph = graph;
    this.nodeName = options.nodeName;
    this.readOnly = options.readOnly;
    this.detectZeroes = options.detectZeroes ?? 'off';
    this.discardMode = options.discard ?? 'ignore';
  }

  get host(): Host {
    return this.graph.host;
  }

  get userName(): string {
    return `node '${this.nodeName}'`;
  }

  /** Requests under way. Reads that went straight to the host file are not counted, but for those between `sent` and `answered`. */
  get inFlight(): number {
    return this.#inFlight;
  }

  // ---- reading ------------------------------------------------------------------------------------------------

  /** Fills `buffer` from `offset`. Rejects with `out-of-bounds`, `closed`, `io`, `corrupt-image`. */
  read(offset: number, buffer: Uint8Array, scan?: ZeroScan): Promise<void> {
    const length = buffer.length;
    if (this.#shut || !Number.isSafeInteger(offset) || offset < 0 || offset + length > this.length) {
      return Promise.reject(this.#rangeError('read', offset, length));
    }
    return this.#readLocated(offset, buffer, scan) ?? this.#tracked(this.doRead(offset, buffer, scan));
  }

  /** Reads disjoint, ascending extents back to back into `buffer`, in as few requests as the driver can. */
  readExtents(extents: readonly Extent[], buffer: Uint8Array, scan?: ZeroScan): Promise<void> {
    const total = this.#checkExtents('read', extents, buffer.length);
    if (total !== null) return Promise.reject(total);
    if (extents.length === 1) return this.read(extents[0].offset, buffer, scan);
    return this.#tracked(this.doReadExtents(extents, buffer, scan));
  }

  /** What a protocol that reaches no file calls the place of its bytes, whatever way it is named; null: it has none. */
  async storageId(): Promise<string | null> {
    return null;
  }

  /** The host file that holds this node's bytes, through all its children; null where there is none. */
  hostFile(): HostFile | null {
    return null;
  }

  /**
   * Says without waiting where a request may go straight to a host file: all of [offset, offset + length) lies there in one piece as it is,
   * and a write has nothing else to do than to write it. Fills `into`, with a guard that is taken; false where only `read` or `write` can tell
   * (also what is wrong), and then there is nothing to be left. Never fails. Whoever gets true does, in this order:
   *
   *  1. at once, before anything else runs: `sent()`, and begin the request on `into.file`; where that says false, `givenUp(guard)`;
   *  2. with the answer, failed or not: `answered(write, offset, length, guard)`, with what `into.guard` was then;
   *  3. only after that: tell whoever asked.
   *
   * A write that was located is durable after the next `flush()` that begins after 2; where FUA is wanted, ask `write`.
   */
  locate(offset: number, length: number, write: boolean, into: Located): boolean {
    if (length <= 0 || this.#shut || !Number.isSafeInteger(offset) || offset < 0) return false;
    if (!(offset + length <= this.length) || (write && !this.#takesPlainWrites)) return false;
    return this.doLocate(offset, length, write, into);
  }

  /** A located request is under way: `idle` waits for it. */
  sent(): void {
    this.#inFlight++;
  }

  /** A request that `sent` counted has its answer. */
  answered(write: boolean, offset: number, length: number, guard: MappingGuard | null): void {
    // A bitmap may have been added, or cleaned, meanwhile.
    if (write && this.bitmaps.size > 0) this.#recordAgain(offset, length);
    this.givenUp(guard);
  }

  /** A request that `sent` counted was not begun. */
  givenUp(guard: MappingGuard | null): void {
    guard?.release();
    this.#leave();
  }

  /**
   * The longest run at `offset` (at most `length`) with one status, in this layer only. It coalesces: a run ends where the
   * status changes or the host offset is not contiguous.
   */
  async blockStatus(offset: number, length: number): Promise<BlockStatus> {
    const error = this.#checkExtents('block status', [{ offset, length }], length);
    if (error !== null || length === 0) throw error ?? this.#rangeError('block status', offset, length);
    return this.#tracked(this.doBlockStatus(offset, length));
  }

  /** `blockStatus` where the answer is at hand, possibly of a shorter run; null where only the slow path can tell. For ranges within the node. */
  blockStatusSync(_offset: number, _length: number): BlockStatus | null {
    return null;
  }

  /** Where a look-up of block status that begins at `offset` ends at the latest: one table of the format describes the bytes up to there. */
  lookUpEnd(_offset: number): number {
    return Number.POSITIVE_INFINITY;
  }

  // ---- writing ------------------------------------------------------------------------------------------------

  /** Writes `buffer` at `offset`. Rejects with `read-only`, `out-of-bounds`, `no-space`, `io`, ... */
  write(offset: number, buffer: Uint8Array, flags?: WriteFlags): Promise<void> {
    if (flags === undefined && this.locate(offset, buffer.length, true, place)) {
      return this.#writeLocated(place.file!, place.offset, place.guard, offset, buffer);
    }
    return this.writeExtents([{ offset, length: buffer.length }], buffer, flags);
  }

  /** Writes disjoint, ascending extents whose data lies back to back in `buffer`, in as few requests as the driver can. */
  async writeExtents(extents: readonly Extent[], buffer: Uint8Array, flags: WriteFlags = {}): Promise<void> {
    this.#checkWritable('write');
    const error = this.#checkExtents('write', extents, buffer.length);
    if (error !== null) throw error;
    if (this.detectZeroes !== 'off' && !flags.compressed && this.host.memory.isZero(buffer)) {
      const { fua, serialised } = flags;
      const zeroFlags = { fua, serialised, mayUnmap: this.detectZeroes === 'unmap' };
      return this.#tracked(this.#zeroEach(extents, zeroFlags));
    }
    await this.#change(extents, 'write', buffer, flags, () =>
      extents.length === 1
        ? this.doWrite(extents[0].offset, buffer, flags)
        : this.doWriteExtents(extents, buffer, flags),
    );
  }

  /** Makes the range read as zeroes. */
  async writeZeroes(offset: number, length: number, flags: ZeroFlags = {}): Promise<void> {
    this.#checkWritable('write zeroes');
    const extent = { offset, length };
    const error = this.#checkExtents('write zeroes', [extent], length);
    if (error !== null) throw error;
    await this.#zero(extent, flags);
  }

  /** Tells the node that the content is not needed; it may read as anything that the format allows afterwards. */
  async discard(offset: number, length: number): Promise<void> {
    this.#checkWritable('discard');
    const extents = [{ offset, length }];
    const error = this.#checkExtents('discard', extents, length);
    if (error !== null) throw error;
    if (this.discardMode === 'ignore') return;
    await this.#change(extents, 'discard', null, {}, () => this.doDiscard(offset, length));
  }

  /** Everything answered before this call is durable when it resolves. */
  async flush(): Promise<void> {
    if (this.#shut) throw this.#closedError('flush');
    await this.#tracked(this.doFlush());
  }

  /** Changes the size. Rejects with `unsupported`, `read-only`, `no-space`, `limit`. */
  async truncate(size: number, options: TruncateOptions = {}): Promise<void> {
    this.#checkWritable('resize');
    checkImageSize(size, this.filename, 'resize');
    const turn = this.#resizing.then(() => this.#resize(size, options));
    // Whoever asked for the turn waits for it.
    this.#resizing = turn.catch(() => undefined);
    await this.#tracked(turn);
  }

  async #resize(size: number, options: TruncateOptions): Promise<void> {
    await this.doTruncate(size, options);
    this.length = size;
    for (const bitmap of this.bitmaps.values()) bitmap.truncate(size);
  }

  /**
   * Makes sure that later writes to the range find their space: what is a hole there is allocated, the content stays. Nobody may write to
   * the range meanwhile. Up to `ahead` bytes behind it are reserved with it where there is room and that is one step; resolves with the
   * end of what is reserved. Rejects with `no-space`, `read-only`, `out-of-bounds`, `io`.
   */
  async reserve(offset: number, length: number, ahead = 0): Promise<number> {
    this.#checkWritable('reserve');
    const error = this.#checkExtents('reserve', [{ offset, length }], length);
    if (error !== null) throw error;
    return this.#tracked(this.doReserve(offset, length, Math.min(ahead, this.length - offset - length)));
  }

  /** It keeps the size that it has: a device, or an export of another machine. */
  get fixedSize(): boolean {
    return this.file?.node.fixedSize ?? false;
  }

  /** What was just made in this node, without a backing node, reads as zeroes: whatever the storage held before is gone. */
  get zeroWhenNew(): boolean {
    return this.file?.node.zeroWhenNew ?? false;
  }

  /** Unit of allocation, bytes: writes of whole clusters need no copy on write. 0 where the driver has no such unit. */
  get clusterBytes(): number {
    return 0;
  }

  /** A hint before a big copy into this node: about so many bytes of new data will be written, mostly in order. Never fails. */
  expectWrites(bytes: number): void {
    this.file?.node.expectWrites(bytes);
  }

  /**
   * Writes another backing file name and format into the header (null = none). The graph is not touched: see
   * `Graph.setBacking`. Rejects with `unsupported` where the format has no backing files.
   */
  async changeBackingFile(file: string | null, format: string | null): Promise<void> {
    this.#checkWritable('change backing file');
    await this.#tracked(this.doChangeBackingFile(file, format));
    this.backingFile = file;
    this.backingFormat = format;
  }

  /** Throws `invalid-argument` where the header has no room for this name and format of a backing file. */
  checkBackingRoom(_file: string, _format: string): void {}

  /** Drops all content of this layer, so that everything comes from the backing node. Rejects with `unsupported`. */
  async makeEmpty(): Promise<void> {
    this.#checkWritable('make empty');
    await this.#tracked(this.doMakeEmpty());
    for (const bitmap of this.bitmaps.values()) bitmap.record(0, this.length);
  }

  // ---- observers, blockers, attachment ------------------------------------------------------------------------

  addObserver(observer: WriteObserver): void {
    this.#observers = [...this.#observers, observer];
  }

  removeObserver(observer: WriteObserver): void {
    this.#observers = this.#observers.filter((other) => other !== observer);
  }

  /** Refuses with `busy` when a job works on this node. */
  checkBlockers(): void {
    for (const reason of this.blockers.values()) {
      throw new BlockError('busy', `Node '${this.nodeName}' is busy: ${reason}`, { path: this.filename });
    }
  }

  /** Links `user` to this node. Throws `permission` on a conflict, `read-only` for a writer of a read-only node, `locked`. */
  attach(user: NodeUser, role: ChildRole, perm: number, shared: number): Child {
    if (this.#shut) throw this.#closedError('attach');
    this.#checkWriter(perm);
    checkPermissions(this, { role, user, perm, shared });
    const child = new Child(user, role, this, perm, shared);
    this.parents.add(child);
    try {
      this.updatePermissions();
    } catch (error) {
      this.parents.delete(child);
      throw error;
    }
    this.graph.quiescence.update();
    return child;
  }

  detach(child: Child): void {
    this.parents.delete(child);
    this.graph.quiescence.update();
    this.updatePermissions();
  }

  /** Another use of the node that `child` links to. Throws `permission` or `locked`; then nothing has changed. */
  static changePermissions(child: Child, perm: number, shared: number): void {
    if (child.perm === perm && child.shared === shared) return;
    const { perm: oldPerm, shared: oldShared } = child;
    child.node.#checkWriter(perm & ~child.perm);
    checkPermissions(child.node, { role: child.role, user: child.user, perm, shared }, child);
    child.perm = perm;
    child.shared = shared;
    try {
      child.node.updatePermissions();
    } catch (error) {
      child.perm = oldPerm;
      child.shared = oldShared;
      throw error;
    }
  }

  /** What all users of this node together do with it, and what all of them let others do: bits of `Perm`. */
  get usedPermissions(): { perm: number; shared: number } {
    let perm = 0;
    let shared: number = PERM_ALL;
    for (const parent of this.parents) {
      perm |= parent.perm;
      shared &= parent.shared;
    }
    return { perm, shared };
  }

  /** To be called after a change of `parents`. Throws `locked` where an image lock cannot be had; the driver's state is then the old one. */
  updatePermissions(): void {
    if (this.closed) return;
    const { perm, shared } = this.usedPermissions;
    this.permissionsChanged(perm, shared);
  }

  /**
   * Takes `node` as this node's child (or none). The old child is let go of, not closed: `Graph.release` does that. Throws `loop` where
   * `node` lies on this node, and as `attach`.
   */
  setChild(role: 'file' | 'backing', node: BlockNode | null, perm = 0, shared = 0): void {
    if (node?.reaches(this)) {
      throw new BlockError(
        'loop',
        `Making '${node.nodeName}' a ${role} child of '${this.nodeName}' would create a cycle`,
        { path: this.filename },
      );
    }
    this.graph.quiescence.change(() => {
      const old = this[role];
      const link = node === null ? null : node.attach(this, role, perm, shared);
      if (old !== null) old.node.detach(old);
      this[role] = link;
    });
  }

  /** Drained sections that it lies in or above: while there is one, nobody sends anything to it. */
  get quiesceCount(): number {
    return this.graph.quiescence.countOf(this);
  }

  /** This is `node`, or `node` is somewhere below. */
  reaches(node: BlockNode): boolean {
    if (node === this) return true;
    return this.file?.node.reaches(node) === true || this.backing?.node.reaches(node) === true;
  }

  /**
   * Waits until no request of this node is under way, nor what it sent to the nodes below for that. Those may be busy with requests of
   * other users: they are not waited for, since they might never end.
   */
  async idle(): Promise<void> {
    for (;;) {
      while (this.#inFlight > 0) await this.#idleWaiters.wait();
      await this.doDrain();
      if (this.#inFlight === 0) return;
    }
  }

  // ---- life ---------------------------------------------------------------------------------------------------

  /**
   * Opens it again for writing, or read-only. The children's `file` follows, unless somebody else writes to it. Rejects with `locked`, and
   * with `permission` where a user does not let others write, or writes itself.
   */
  async reopen(readOnly: boolean): Promise<void> {
    if (readOnly === this.readOnly) return;
    if (readOnly) this.#checkNoWriters();
    await this.idle();
    if (readOnly) {
      this.#checkNoWriters();
      // No writer may come while it is flushed and reopened.
      this.#becomesReadOnly = true;
      try {
        await this.flush();
        await this.doReopen(true);
        this.readOnly = true;
      } finally {
        this.#becomesReadOnly = false;
      }
      if (this.file !== null && !this.file.node.#hasWriters) await this.file.node.reopen(true);
    } else {
      const file = this.file?.node ?? null;
      const reopened = file?.readOnly === true;
      if (reopened) await file.reopen(false);
      try {
        await this.doReopen(false);
      } catch (error) {
        // Best effort: what the caller must learn is why this node stays read-only.
        if (reopened) await file.reopen(true).catch(bestEffort('reopen'));
        throw error;
      }
      this.readOnly = false;
    }
  }

  /**
   * Answers what is under way and takes nothing new; then flushes, closes the driver and lets go of the children; those that nobody
   * else uses are closed too. All is tried; the first error is thrown. Called by the graph.
   */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  /**
   * This node is to be closed soon: below it, what waits for another machine that says nothing fails after a while, instead of never.
   * Nodes that others use, too, are left alone.
   */
  hurry(): void {
    for (const child of [this.file, this.backing]) if (child?.node.parents.size === 1) child.node.hurry();
  }

  async #close(): Promise<void> {
    const failures: unknown[] = [];
    const attempt = (action: () => Promise<void>) => action().catch((error: unknown) => failures.push(error));
    this.hurry();
    await attempt(() => this.idle());
    await attempt(() => this.doClose());
    this.closed = true;
    for (const child of [this.file, this.backing]) {
      if (child === null) continue;
      child.node.detach(child);
      await attempt(() => this.graph.release(child.node));
    }
    if (failures.length > 0) throw failures[0];
  }

  // ---- what a driver has --------------------------------------------------------------------------------------

  /** True when `doWrite` honours `fua` itself. */
  protected get handlesFua(): boolean {
    return false;
  }

  /** The uses of this node changed: take or drop image locks, hand on to children. Must either do it all or throw and change nothing. */
  protected permissionsChanged(_perm: number, _shared: number): void {}

  /** What `locate` asks once it has checked the range and this node's own state. A node over one child hands on what the child says. */
  protected doLocate(_offset: number, _length: number, _write: boolean, _into: Located): boolean {
    return false;
  }

  protected abstract doRead(offset: number, buffer: Uint8Array, scan?: ZeroScan): Promise<void>;
  protected abstract doBlockStatus(offset: number, length: number): Promise<BlockStatus>;

  protected async doReadExtents(extents: readonly Extent[], buffer: Uint8Array, scan?: ZeroScan): Promise<void> {
    let at = 0;
    const parts: Promise<void>[] = [];
    for (const { offset, length } of extents) {
      const part = buffer.subarray(at, at + length);
      parts.push(later(this.#readLocated(offset, part) ?? this.doRead(offset, part)));
      at += length;
    }
    await settleAll(parts);
    if (scan !== undefined) this.host.memory.zeroMap(buffer, scan.granule, scan.map);
  }

  protected async doWrite(offset: number, buffer: Uint8Array, _flags: WriteFlags): Promise<void> {
    throw this.unsupported('write', offset, buffer.length);
  }

  protected async doWriteExtents(extents: readonly Extent[], buffer: Uint8Array, flags: WriteFlags): Promise<void> {
    let at = 0;
    const parts: Promise<void>[] = [];
    for (const { offset, length } of extents) {
      parts.push(this.doWrite(offset, buffer.subarray(at, at + length), flags));
      at += length;
    }
    await settleAll(parts);
  }

  /** Fallback: writes zeroes as data. */
  protected async doWriteZeroes(offset: number, length: number, flags: ZeroFlags): Promise<void> {
    if (flags.noFallback) throw this.unsupported('write zeroes', offset, length);
    const writeFlags = { fua: flags.fua === true && this.handlesFua };
    const zeroes = this.host.memory.allocate(Math.min(length, ZERO_CHUNK_BYTES));
    zeroes.fill(0);
    try {
      for (let done = 0; done < length; done += zeroes.length) {
        const part = length - done < zeroes.length ? zeroes.subarray(0, length - done) : zeroes;
        await this.doWrite(offset + done, part, writeFlags);
      }
    } finally {
      this.host.memory.free(zeroes);
    }
  }

  /** Fallback: what is there is written once more. */
  protected async doReserve(offset: number, length: number, _ahead: number): Promise<number> {
    const buffer = this.host.memory.allocate(Math.min(length, RESERVE_CHUNK_BYTES));
    try {
      for (let done = 0; done < length; done += buffer.length) {
        const part = length - done < buffer.length ? buffer.subarray(0, length - done) : buffer;
        await this.doRead(offset + done, part);
        await this.doWrite(offset + done, part, {});
      }
      return offset + length;
    } finally {
      this.host.memory.free(buffer);
    }
  }

  /** Fallback: a hint may be ignored. */
  protected async doDiscard(_offset: number, _length: number): Promise<void> {}
  protected async doFlush(): Promise<void> {
    if (this.file !== null) await this.file.node.flush();
  }
  protected async doTruncate(_size: number, _options: TruncateOptions): Promise<void> {
    throw this.unsupported('resize', 0, 0);
  }
  protected async doChangeBackingFile(_file: string | null, _format: string | null): Promise<void> {
    throw this.unsupported('backing files', 0, 0);
  }
  protected async doMakeEmpty(): Promise<void> {
    throw this.unsupported('emptying', 0, 0);
  }
  protected async doReopen(_readOnly: boolean): Promise<void> {}
  protected async doClose(): Promise<void> {}
  /** Background work of the driver that a drained section must wait for. */
  protected async doDrain(): Promise<void> {}

  protected unsupported(operation: string, offset: number, length: number): BlockError {
    return new BlockError('unsupported', `${this.filename}: driver '${this.driver}' does not support ${operation}`, {
      path: this.filename,
      operation,
      offset,
      length,
    });
  }

  // ---- inside -------------------------------------------------------------------------------------------------

  get #shut(): boolean {
    return this.#closing !== null;
  }

  /** A write has to do nothing but what the driver does. */
  get #takesPlainWrites(): boolean {
    return (
      !this.readOnly &&
      this.bitmaps.size === 0 &&
      this.#observers.length === 0 &&
      this.serialiser === null &&
      this.detectZeroes === 'off'
    );
  }

  /** Reads what can be located, without being counted: the close of the host file waits for it. Null where it cannot. */
  #readLocated(offset: number, buffer: Uint8Array, scan?: ZeroScan): Promise<void> | null {
    if (!this.locate(offset, buffer.length, false, place)) return null;
    const { guard } = place;
    const reading = place.file!.read(place.offset, buffer, scan);
    return guard === null ? reading : releasing(reading, guard);
  }

  async #writeLocated(
    file: HostFile,
    at: number,
    guard: MappingGuard | null,
    offset: number,
    buffer: Uint8Array,
  ): Promise<void> {
    this.sent();
    try {
      await file.write(at, buffer);
    } finally {
      this.answered(true, offset, buffer.length, guard);
    }
  }

  #recordAgain(offset: number, length: number): void {
    for (const bitmap of this.bitmaps.values()) bitmap.recordAgain(offset, length);
  }

  async #zeroEach(extents: readonly Extent[], flags: ZeroFlags): Promise<void> {
    for (const extent of extents) await this.#zero(extent, flags);
  }

  #zero(extent: Extent, flags: ZeroFlags): Promise<void> {
    const { offset, length } = extent;
    return this.#change([extent], 'zero', null, flags, () => this.doWriteZeroes(offset, length, flags));
  }

  /** One change of content: dirty bitmaps, serialisation, observers, the driver. Of nothing, it is nothing. */
  async #change(
    extents: readonly Extent[],
    kind: ChangeKind,
    data: Uint8Array | null,
    flags: { fua?: boolean; serialised?: boolean },
    action: () => Promise<void>,
  ): Promise<void> {
    this.#inFlight++;
    try {
      if (extents.every(({ length }) => length === 0)) {
        if (flags.fua) await this.doFlush();
        return;
      }
      // A bitmap that cannot take the mark fails the write before it happens.
      for (const bitmap of this.bitmaps.values()) {
        for (const { offset, length } of extents) bitmap.record(offset, length);
      }
      try {
        if (this.serialiser === null || flags.serialised) await observed(this.#observers, extents, kind, data, action);
        else {
          const last = extents[extents.length - 1];
          const { offset } = extents[0];
          await this.serialiser.with(offset, last.offset + last.length, () =>
            observed(this.#observers, extents, kind, data, action),
          );
        }
        if (flags.fua && !this.handlesFua) await this.doFlush();
      } finally {
        // A job may have cleaned the bitmap meanwhile. Also after a failure: part of it may have reached the disk.
        for (const { offset, length } of extents) this.#recordAgain(offset, length);
      }
    } finally {
      this.#leave();
    }
  }

  async #tracked<T>(request: Promise<T>): Promise<T> {
    this.#inFlight++;
    try {
      return await request;
    } finally {
      this.#leave();
    }
  }

  #leave(): void {
    if (--this.#inFlight === 0) this.#idleWaiters.wake();
  }

  #checkWriter(perm: number): void {
    const refuses = this.readOnly || this.#becomesReadOnly;
    if (!refuses || (perm & (Perm.WRITE | Perm.WRITE_UNCHANGED)) === 0) return;
    throw new BlockError('read-only', `Block node '${this.nodeName}' is read-only`, {
      path: this.filename,
      operation: 'attach',
    });
  }

  get #hasWriters(): boolean {
    return (this.usedPermissions.perm & (Perm.WRITE | Perm.WRITE_UNCHANGED)) !== 0;
  }

  #checkNoWriters(): void {
    if (!this.#hasWriters) return;
    throw new BlockError('permission', `Read-only block node '${this.nodeName}' cannot support read-write users`, {
      path: this.filename,
      operation: 'reopen',
    });
  }

  #checkWritable(operation: string): void {
    if (this.#shut) throw this.#closedError(operation);
    if (this.readOnly) {
      throw new BlockError('read-only', `${this.filename}: node '${this.nodeName}' is read-only`, {
        path: this.filename,
        operation,
      });
    }
  }

  #checkExtents(operation: string, extents: readonly Extent[], bytes: number): BlockError | null {
    let total = 0;
    let end = 0;
    if (this.#shut) return this.#closedError(operation);
    for (const { offset, length } of extents) {
      const whole = Number.isSafeInteger(offset) && Number.isSafeInteger(length);
      if (!whole || offset < end || length < 0 || offset + length > this.length) {
        return this.#rangeError(operation, offset, length);
      }
      end = offset + length;
      total += length;
    }
    if (total === bytes) return null;
    return new BlockError(
      'invalid-argument',
      `${this.filename}: buffer of ${bytes} bytes for ${total} bytes of extents`,
      { path: this.filename, operation },
    );
  }

  #closedError(operation: string): BlockError {
    return new BlockError('closed', `${this.filename}: node '${this.nodeName}' is closed`, {
      path: this.filename,
      operation,
    });
  }

  #rangeError(operation: string, offset: number, length: number): BlockError {
    if (this.#shut) return this.#closedError(operation);
    return new BlockError(
      'out-of-bounds',
      `${this.filename}: ${operation} of ${length} bytes at ${offset} is outside of the node's ${this.length} bytes`,
      { path: this.filename, operation, offset, length },
    );
  }
}

async function releasing(request: Promise<void>, guard: MappingGuard): Promise<void> {
  try {
    await request;
  } finally {
    guard.release();
  }
}
