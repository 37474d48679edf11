// file and host_device: the bytes of a regular file, or of a block device.
//
//   size     bytes of the file                            length   whole sectors, as a guest sees it: the rest of the last one reads as zeroes
//
// Optional operations of the file system (punch hole, zero range, discard, allocate) are tried; the first refusal is remembered in `#can`, and
// the base class does the work in another way from then on.
//
// A failed fdatasync is final (unless the file bypasses the page cache): Linux marks the pages clean that it could not write, so that the next
// fdatasync would report success. `#lost` keeps the error for every later flush.
//
// While a copy runs (`expectWrites`), written ranges are handed to the disk every 16 MiB, so that the flush at its end finds little left.

import type { Abilities } from '../../../block/abilities.js';
import type { Graph } from '../../../block/graph.js';
import type { NodeOptions } from '../../../block/node/node.js';
import type { PreparedPermissions } from '../../../block/node/permissions.js';
import { ProtocolNode } from '../../../block/node/protocol.js';
import type { NodeChange, PreparedReopen } from '../../../block/node/reopening.js';
import { changedMeanwhile } from '../../../block/stale.js';
import {
  type BlockStatus,
  type Located,
  PERM_ALL,
  Perm,
  type TruncateOptions,
  type WriteFlags,
  type ZeroFlags,
} from '../../../block/types.js';
import type { HostFile, SeekResult, ZeroScan } from '../../../host/host.js';
import { bestEffort, orElse } from '../../../util/best-effort.js';
import { BlockError } from '../../../util/errors.js';
import { roundUp, SECTOR_BYTES } from '../../../util/numbers.js';
import { allocateFirstBlock } from './create.js';
import { checkSame, openOrReadOnly } from './host-file.js';
import { ImageLocks } from './locks.js';

export type FileDriver = 'file' | 'host_device';
type Ability = 'punchHole' | 'zeroRange' | 'discard' | 'allocate';

/** Bytes of a copy after which writeback is started, so that the disk works while the copy goes on (measured: a third of a job's time). */
const WRITEBACK_BYTES = 16 << 20;

interface FileSettings {
  locking: boolean;
  /** Where the file system has no locks, the file is used without. */
  lockingOptional: boolean;
  forceShare: boolean;
}

export class FileNode extends ProtocolNode {
  override readonly driver: FileDriver;
  override readonly filename: string;
  #file: HostFile;
  /** The absolute path at the time of opening. */
  readonly #absolute: string;
  #locks: ImageLocks | null;
  readonly #settings: FileSettings;
  /** Bytes of the file; `length` is that, rounded up to whole sectors. */
  #size: number;
  /** The error of a flush that failed: every later flush fails with it (see above). */
  #lost: unknown = null;
  /** An entry becomes false at the first request that the file system refuses as unsupported. */
  readonly #can: Record<Ability, boolean> = {
    punchHole: true,
    zeroRange: true,
    discard: true,
    allocate: true,
  };

  readonly #discards = { 'discard-nb-ok': 0, 'discard-nb-failed': 0, 'discard-bytes-ok': 0 };

  constructor(
    graph: Graph,
    options: NodeOptions,
    driver: FileDriver,
    file: HostFile,
    size: number,
    settings: FileSettings,
  ) {
    super(graph, options);
    this.driver = driver;
    this.filename = file.path;
    this.#file = file;
    this.#absolute = graph.host.absolute(file.path);
    this.#size = size;
    this.#settings = settings;
    this.#locks = settings.locking ? new ImageLocks(file) : null;
    // The node has whole sectors; the part of the last one that the file does not have reads as zeroes.
    this.length = roundUp(size, SECTOR_BYTES);
  }

  override expectWrites(bytes: number): void {
    this.#file.writeBackEvery(bytes > 0 && !this.cache.noFlush ? WRITEBACK_BYTES : 0);
  }

  /** Nothing more is to be said of plain bytes. */
  override get abilities(): Abilities {
    return { details: () => ({}), stats: () => ({ driver: this.driver, ...this.#discards }) };
  }

  override get fixedSize(): boolean {
    return this.driver === 'host_device';
  }

  /** True for a file; a device keeps its old content. */
  override get zeroWhenNew(): boolean {
    return !this.fixedSize;
  }

  override hostFile(): HostFile {
    return this.#file;
  }

  protected override doLocate(offset: number, length: number, write: boolean, into: Located): boolean {
    if (write && offset + length > this.#size) return false;
    into.file = this.#file;
    into.offset = offset;
    into.guard = null;
    return true;
  }

  override preparePermissions(perm: number, shared: number): PreparedPermissions | null {
    if (this.#locks === null) return null;
    const wasShared = this.#locks.shares(Perm.RESIZE) && !this.#locks.uses(Perm.WRITE | Perm.RESIZE);
    try {
      const prepared = this.#locks.prepare(perm, this.#settings.forceShare ? 0 : PERM_ALL & ~shared);
      if (wasShared && (shared & Perm.RESIZE) === 0 && !this.#settings.forceShare) this.#refuseResized(prepared);
      return prepared;
    } catch (error) {
      if (!this.#settings.lockingOptional || !(error instanceof BlockError) || error.code !== 'unsupported')
        throw error;
      this.#locks = null;
      return null;
    }
  }

  /** Throws `locked` where the file had another size when its lock was taken than when it was opened; the lock is given back. */
  #refuseResized(prepared: PreparedPermissions): void {
    if (roundUp(this.#file.sizeSync(), SECTOR_BYTES) === this.length) return;
    prepared.abort();
    throw changedMeanwhile(this.filename);
  }

  protected override doRead(offset: number, buffer: Uint8Array, scan?: ZeroScan): Promise<void> {
    return this.#file.read(offset, buffer, scan);
  }

  override blockStatusSync(offset: number, length: number): BlockStatus | null {
    if (offset >= this.#size) return this.#statusOf(offset, length, null);
    const run = this.#file.seekSync(offset);
    return run === null ? null : this.#statusOf(offset, length, run);
  }

  protected override async doBlockStatus(offset: number, length: number): Promise<BlockStatus> {
    return this.#statusOf(offset, length, offset < this.#size ? await this.#file.seek(offset) : null);
  }

  #statusOf(offset: number, length: number, run: SeekResult | null): BlockStatus {
    const zero = run === null || !run.data;
    let end = offset + length;
    if (run !== null) {
      // From the file's end to the end of the sector, the node reads as zeroes: a hole that reaches the file's end includes them, data does not.
      if (!(zero && run.end >= this.#size)) end = Math.min(end, run.end);
    }
    return { length: end - offset, allocated: true, data: !zero, zero, compressed: false, offset, node: this };
  }

  protected override async doWrite(offset: number, buffer: Uint8Array, _flags: WriteFlags): Promise<void> {
    await this.#file.write(offset, buffer);
    this.#size = Math.max(this.#size, offset + buffer.length);
  }

  protected override async doWriteZeroes(offset: number, length: number, flags: ZeroFlags): Promise<void> {
    // The part of the last sector that the file does not have reads as zeroes already.
    const inside = Math.min(length, this.#size - offset);
    if (inside <= 0 || (await this.#zeroInPlace(offset, inside, flags.mayUnmap ?? false))) return;
    await super.doWriteZeroes(offset, inside, flags);
  }

  protected override async doDiscard(offset: number, length: number): Promise<void> {
    const inside = Math.min(length, this.#size - offset);
    if (inside <= 0) return;
    let done = false;
    try {
      done = await this.#try('discard', () => this.#file.discard(offset, inside));
    } finally {
      if (done) {
        this.#discards['discard-nb-ok']++;
        this.#discards['discard-bytes-ok'] += inside;
      } else this.#discards['discard-nb-failed']++;
    }
  }

  /** On a device, all blocks have their space. */
  protected override async doReserve(offset: number, length: number, ahead: number): Promise<number> {
    const end = offset + length;
    if (this.driver === 'host_device') return end + ahead;
    try {
      const done = await this.#try('allocate', () => this.#file.allocate(offset, length + ahead, true));
      return done ? end + ahead : super.doReserve(offset, length, 0);
    } catch (error) {
      if (ahead === 0 || !(error instanceof BlockError) || error.code !== 'no-space') throw error;
      return this.doReserve(offset, length, 0);
    }
  }

  protected override async doFlush(): Promise<void> {
    if (this.cache.noFlush) return;
    if (this.#lost !== null) throw this.#lost;
    try {
      await this.#file.flush();
    } catch (error) {
      if (!this.#file.direct) this.#lost = error;
      throw error;
    }
    // Another flush failed while this one was under way; this one may have succeeded only because the pages were marked clean.
    if (this.#lost !== null) throw this.#lost;
  }

  protected override async doTruncate(size: number, { preallocation = 'off' }: TruncateOptions): Promise<void> {
    const fail = (message: string): never => {
      throw BlockError.at(this.filename, 'invalid-argument', message, { operation: 'resize' });
    };
    if (this.driver === 'host_device') {
      if (size > this.#size) fail('Cannot grow device files');
      if (size < this.#size) fail('Cannot resize device files');
      return;
    }
    if (preallocation === 'metadata') fail('Unsupported preallocation mode: metadata');
    const old = this.#size;
    if (preallocation !== 'off' && size < old) fail('Cannot use preallocation for shrinking files');
    // While the size changes, `#size` is never larger than the file.
    this.#size = Math.min(size, old);
    try {
      if (preallocation === 'falloc' && size > old) {
        await this.#file.allocate(old, size - old, false);
      } else {
        await this.#file.truncate(size);
        if (preallocation === 'off' && old === 0) await allocateFirstBlock(this.#file, size);
      }
      this.#size = size;
      // The bytes before `length` belong to the last sector, where a guest may be writing; they read as zeroes already.
      if (preallocation === 'full' && size > this.length) {
        await super.doWriteZeroes(this.length, size - this.length, {});
        await this.#file.flush();
      }
    } catch (error) {
      // A shrinking file has no other requests under way. A growing file may have some, which could write to the last sector while it is cut again.
      if (size < old) await this.#measure(old);
      else await this.withoutOthers(() => this.#undoGrowth(old));
      throw error;
    }
  }

  /** Cuts the file after a failed growth, of which a part may have been done. A write may have extended the file within the last sector meanwhile. */
  async #undoGrowth(old: number): Promise<void> {
    const kept = Math.min(this.length, Math.max(old, this.#size));
    await this.#file.truncate(kept).catch(bestEffort('resize'));
    await this.#measure(old);
  }

  /** Sets `#size` to the file's actual size, or to `old` where that cannot be read. */
  async #measure(old: number): Promise<void> {
    this.#size = await this.#file.size().catch(orElse('resize', old));
  }

  override async prepareReopen(change: NodeChange): Promise<PreparedReopen | null> {
    const old = this.#file;
    const readOnly = change.readOnly ?? this.readOnly;
    const direct = change.cache?.direct ?? old.direct;
    if (readOnly === this.readOnly && direct === old.direct) return null;
    const { file, denied } = await this.#openAgain(readOnly, direct, change.autoReadOnly ?? false);
    return {
      stays: denied ? { readOnly: true } : undefined,
      permit: () => this.#locks?.copyTo(file),
      commit: () => {
        this.#file = file;
        this.#locks?.move(file);
      },
      revert: () => {
        this.#file = old;
        this.#locks?.copyTo(old);
        this.#locks?.move(old);
      },
      finish: () => (this.#file === file ? old : file).close(),
    };
  }

  /** Opens the same file. `denied`: it cannot be written to. */
  async #openAgain(
    readOnly: boolean,
    direct: boolean,
    autoReadOnly: boolean,
  ): Promise<{ file: HostFile; denied: boolean }> {
    const { host } = this.graph;
    const old = this.#file;
    // A relative name may mean another file by now, if the current folder has changed.
    const path = host.absolute(old.path) === this.#absolute ? old.path : this.#absolute;
    const descriptor = old.descriptor ?? undefined;
    const open = (writable: boolean) => host.open(path, { writable, direct, descriptor });
    const { file, readOnly: became } = await openOrReadOnly(open, readOnly, autoReadOnly && this.readOnly);
    try {
      await checkSame(old, file);
    } catch (error) {
      await file.close();
      throw error;
    }
    return { file, denied: became !== readOnly };
  }

  /** Flushes (unless read-only) and closes the file. Rejects where the flush fails. */
  protected override async doClose(): Promise<void> {
    try {
      if (!this.readOnly) await this.doFlush();
    } finally {
      // The program's own descriptor belongs to the same open file and would keep the locks.
      if (this.#file.descriptor !== null) this.#locks?.set(0, 0);
      await this.#file.close();
    }
  }

  /** Lets the file system zero the range; false where it cannot. */
  async #zeroInPlace(offset: number, length: number, mayUnmap: boolean): Promise<boolean> {
    if (mayUnmap && (await this.#try('punchHole', () => this.#file.punchHole(offset, length)))) return true;
    return this.#try('zeroRange', () => this.#file.zeroRange(offset, length));
  }

  async #try(what: Ability, action: () => Promise<void>): Promise<boolean> {
    if (!this.#can[what]) return false;
    try {
      await action();
      return true;
    } catch (error) {
      if (!(error instanceof BlockError) || error.code !== 'unsupported') throw error;
      this.#can[what] = false;
      return false;
    }
  }
}
