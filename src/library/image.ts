// An open image of the library. The device behind it, which runs the requests, is not public: it would be a way past permissions and drained
// sections.

import type { Readable, Writable } from 'node:stream';
import { inspect } from 'node:util';
import type { Child } from '../block/child.js';
import { closeDevice, Device, rootOf } from '../block/device.js';
import type { DeviceStats } from '../block/device-options.js';
import type { SnapshotKey } from '../block/internal-snapshots.js';
import type { BlockNode } from '../block/node/node.js';
import { checkBytes } from '../block/request-check.js';
import {
  applyInternalSnapshot,
  createNamedSnapshot,
  deleteInternalSnapshot,
  snapshotIdOf,
  snapshotsIn,
} from '../block/snapshot-changes.js';
import { PERM_ALL, Perm, type TruncateOptions } from '../block/types.js';
import { ThrottleGroup } from '../host/throttle.js';
import type { SnapshotInfo, ThrottleLimits } from '../schema/generated/types.js';
import {
  bool,
  type Check,
  choice,
  integer,
  plainObject,
  type Shape,
  takeSettings,
  text,
  wrongType,
} from '../schema/shape.js';
import { validate } from '../schema/validate.js';
import { BlockError } from '../util/errors.js';
import { amendImage } from '../workspace/amend.js';
import { addBitmap, removeBitmap } from '../workspace/bitmap.js';
import { extentsOf, type ImageExtent } from '../workspace/extents.js';
import { type Bitmap, wrapBitmap } from './bitmap.js';
import { whileOpen } from './left-open.js';
import { readImage, toWeb, writeImage } from './streams.js';

/** How a write is done. */
export interface WriteOptions {
  /** Durable when it is answered (force unit access). */
  fua?: boolean;
  /** Stored as compressed clusters; whole clusters only. Rejects with `unsupported` where the format has none. */
  compressed?: boolean;
}

/** How zeroes are written. */
export interface ZeroOptions {
  fua?: boolean;
  /** The space may be deallocated. */
  mayUnmap?: boolean;
  /** Rejects with `unsupported` where the zeroes would have to be written out. */
  noFallback?: boolean;
}

export type ResizeOptions = TruncateOptions;

/** What `Image.amend` changes; what is left out stays. As in `create`, of qcow2. */
export interface AmendOptions {
  /** Bytes. What lies behind a smaller size is lost at once, without a confirmation. */
  size?: number;
  /** Version 2 has no zero clusters: those of an image with a backing file become data. */
  version?: 'v2' | 'v3';
  'refcount-bits'?: number;
  'lazy-refcounts'?: boolean;
  /** The name of the external data file in the header, of an image that has one; the empty name: none. */
  'data-file'?: string;
  /** Only `false`: the data file need not read as the disk does any more. */
  'data-file-raw'?: boolean;
  /** A change of the key slots of an encrypted image (also of the format luks): QAPI's `QCryptoBlockAmendOptionsLUKS`, with the IDs of secrets. */
  encrypt?: {
    state: 'active' | 'inactive';
    'new-secret'?: string;
    'old-secret'?: string;
    keyslot?: number;
    /** Milliseconds. */
    'iter-time'?: number;
    secret?: string;
  };
}

export interface AmendSettings {
  /** The last key slot is erased, and one that is in use overwritten: the data is lost with the last one. */
  force?: boolean;
}

/** A part of an image: bytes from `from` (default 0) up to, and without, `to` (default: the image's size). */
export interface ImageRange {
  from?: number;
  to?: number;
}

/** What a new dirty bitmap is to be like. */
export interface BitmapSettings {
  /** Bytes that one bit stands for: a power of two from 512 to 2^31. Default: a cluster of the image, at least 4 KiB; 64 KiB where it has none. */
  granularity?: number;
  /** It is stored in the image (qcow2, version 3). Default: false. */
  persistent?: boolean;
  /** Whether it records from the beginning on. Default: true. */
  enabled?: boolean;
}

export interface ReadStreamOptions extends ImageRange {
  /** Bytes of a chunk at most, and that are read ahead. Default: 256 KiB. */
  highWaterMark?: number;
}

export interface WriteStreamOptions {
  /** Where the first byte goes. Default: 0. */
  from?: number;
  /** Bytes that wait to be written before the stream asks its source to wait. Default: 256 KiB. */
  highWaterMark?: number;
}

const STREAM_BYTES = 256 << 10;

const SNAPSHOT_KEY: Shape<SnapshotKey> = { id: text, name: text };

const RANGE: Shape<ImageRange> = { from: integer(0), to: integer(0) };
const BITMAP: Shape<BitmapSettings> = { granularity: (value) => value as number, persistent: bool, enabled: bool };
const READ_STREAM: Shape<ReadStreamOptions> = { ...RANGE, highWaterMark: integer(1, 1 << 30) };
const AMEND: Shape<AmendOptions> = {
  size: integer(0),
  version: choice('v2', 'v3'),
  'refcount-bits': integer(1, 64),
  'lazy-refcounts': bool,
  'data-file': text,
  'data-file-raw': bool,
  // The schema checks its members.
  encrypt: (value, path) => plainObject(value, path) as unknown as NonNullable<AmendOptions['encrypt']>,
};
const AMEND_SETTINGS: Shape<AmendSettings> = { force: bool };
const WRITE_STREAM: Shape<WriteStreamOptions> = { from: integer(0), highWaterMark: integer(1, 1 << 30) };

/** Wraps a node that was opened for it. */
export let wrapNode: (node: BlockNode, name: string) => Image;

/** What a service is called among the users of an image. */
export const A_SERVICE = 'a service';

/** The device behind an image; not public. */
export let deviceOf: (image: Image) => Device;

/**
 * An open image (with its backing chain): read, write, writeZeroes, discard, flush. Requests may run side by side; jobs may work on
 * the image meanwhile. Everything rejects with `BlockError`.
 */
export class Image {
  readonly #node: BlockNode;
  readonly #device: Device;
  readonly #notLeftOpen: () => void;
  #closing: Promise<void> | null = null;

  private constructor(node: BlockNode, name: string) {
    this.#node = node;
    // Also where it only reads: what it reads from backing files is not to change under it.
    this.#device = new Device(node, {
      name,
      called: 'the image',
      writable: !node.readOnly,
      shared: PERM_ALL & ~(Perm.WRITE | Perm.RESIZE),
    });
    this.#notLeftOpen = this.#device.writable ? whileOpen(node.graph, this.#device) : () => undefined;
  }

  static {
    wrapNode = (node, name) => new Image(node, name);
    deviceOf = (image) => image.#device;
  }

  /** Name of the image's file, or `json:{...}`; after a mirror or an active commit was completed, that of the new one. Throws `closed`. */
  get filename(): string {
    return this.#device.filename;
  }

  /** Size, bytes. Throws `closed`. */
  get size(): number {
    return this.#device.length;
  }

  /** False for an image that was opened with `readOnly`. */
  get writable(): boolean {
    return this.#device.writable;
  }

  /** Requests and bytes since the image was opened, of this program and of those it serves. */
  get stats(): Readonly<DeviceStats> {
    return this.#device.stats;
  }

  /** Who works with the image and keeps it from being closed: jobs, services, an emulator. */
  get users(): string[] {
    return this.#device.users;
  }

  /** Fills `buffer` from `offset`. Rejects with `invalid-argument`, `out-of-bounds`, `closed`, `io`, `corrupt-image`, ... */
  read(offset: number, buffer: Uint8Array): Promise<void>;
  /** The `length` bytes from `offset`, in a buffer of their own. Rejects in the same way. */
  read(offset: number, length: number): Promise<Buffer>;
  read(offset: number, what: Uint8Array | number): Promise<unknown> {
    // Without a promise of its own: this is where programs with many small requests spend their time.
    if (typeof what === 'number') return this.#readNew(offset, what);
    if (what !== undefined) return this.#device.read(offset, what);
    const reason = "read: the second argument, 'length' (a number of bytes) or 'buffer', is missing";
    return Promise.reject(new BlockError('invalid-argument', reason, { operation: 'read' }));
  }

  /**
   * Writes `buffer` at `offset`; it must not change until this resolves. Durable after the next `flush`, or with `fua` at once. Rejects with
   * `invalid-argument`, `unknown-option`, `read-only`, `out-of-bounds`, `no-space`, `io`, ...
   */
  write(offset: number, buffer: Uint8Array, options?: WriteOptions): Promise<void> {
    return this.#device.write(offset, buffer, options);
  }

  /** Makes the range read as zeroes. Rejects as `write`, and with `unsupported` where `noFallback` forbids to write them out. */
  writeZeroes(offset: number, length: number, options?: ZeroOptions): Promise<void> {
    return this.#device.writeZeroes(offset, length, options);
  }

  /** The content of the range is not needed any more: its space may be deallocated. Rejects as `write`. */
  discard(offset: number, length: number): Promise<void> {
    return this.#device.discard(offset, length);
  }

  /** Resolves when all that was written before is durable. */
  flush(): Promise<void> {
    return this.#device.flush();
  }

  /**
   * Changes the size, bytes. What lies behind a smaller size is lost at once, without a confirmation. Rejects with `permission` where another user
   * (a job, a service) does not let it change, `read-only`, `unsupported`, `no-space`, ...
   */
  async resize(size: number, options?: ResizeOptions): Promise<void> {
    checkBytes(size, 'size', 'resize');
    // Its clients were told the size.
    if (this.users.includes(A_SERVICE)) throw this.#keepsSize();
    try {
      await this.#device.truncate(size, options);
    } catch (error) {
      const conflict = error instanceof BlockError && error.code === 'permission' && this.users.length > 0;
      throw conflict ? this.#keepsSize(error) : error;
    }
  }

  /**
   * Changes what the image says of itself (QAPI's names, those of `create`): version, width of refcounts, data file's name, size, ... All options are checked
   * before the first change. Requests wait meanwhile. Rejects with `invalid-argument`, `unknown-option`, `unsupported` where the format has nothing to
   * amend, `not-found` and `permission` for a password, `busy` while a job works on the image, `read-only`, `no-space`, `io`: the image reads as before, and some of the changes may be made.
   */
  async amend(options: AmendOptions, settings?: AmendSettings): Promise<void> {
    const wanted = takeSettings(AMEND, options, 'options');
    const { force } = takeSettings(AMEND_SETTINGS, settings, 'settings');
    if (wanted.size !== undefined && this.users.includes(A_SERVICE)) throw this.#keepsSize();
    await amendImage(rootOf(this.#device).node, { ...wanted }, { force, resize: (size) => this.resize(size) });
  }

  /**
   * The runs of the image in order: whether they hold data or read as zeroes, and whether the image itself has them or one below it. Requests and
   * jobs go on meanwhile; what they change behind the place that was reached is seen. They end with the image where it becomes shorter.
   */
  extents(range: ImageRange = {}): AsyncGenerator<ImageExtent, void, undefined> {
    const { from, to } = this.#range(takeSettings(RANGE, range, 'range'));
    return extentsOf(this.#device, from, to);
  }

  /**
   * The image's bytes as a stream. What reads as zeroes is not read. Writes go on meanwhile: what was written before the stream came to within 4 MiB
   * of it (a chunk, where that is more) is in it. Its error is `out-of-bounds` where the image becomes shorter than `to`. Throws `out-of-bounds`, `closed`.
   */
  createReadStream(settings: ReadStreamOptions = {}): Readable {
    const { highWaterMark = STREAM_BYTES, ...range } = takeSettings(READ_STREAM, settings, 'settings');
    const { from, to } = this.#range(range);
    return readImage(this.#device, from, to, highWaterMark);
  }

  /**
   * A stream that writes to the image, from `from` on. Zeroes become holes where the format has them, whatever the chunks' lengths: the last bytes of a
   * chunk, 4095 at most, are written with the next chunk or at the end. `finish` comes when all is flushed. `close` comes after the last write, even
   * where the stream was destroyed: a chunk that was cut short by that has the error `cancelled`. Its error is `out-of-bounds` where more comes than
   * the image has room for: it does not grow. Throws `closed`.
   */
  createWriteStream(settings: WriteStreamOptions = {}): Writable {
    const { highWaterMark = STREAM_BYTES, from = 0 } = takeSettings(WRITE_STREAM, settings, 'settings');
    // Throws where it is closed.
    rootOf(this.#device);
    return writeImage(this.#device, from, highWaterMark);
  }

  /** The image's bytes as a web stream, as `fetch` and `Response` take it. What reads as zeroes is not read. */
  readable(settings: ReadStreamOptions = {}): ReadableStream<Uint8Array<ArrayBuffer>> {
    return toWeb(this.createReadStream(settings));
  }

  /**
   * Limits reads and writes from now on (QAPI `ThrottleLimits`: bps and iops; total, read, write; bursts); `{}` lifts all limits. Throws
   * `invalid-argument`.
   */
  limit(limits: ThrottleLimits): void {
    const checked = validate('ThrottleLimits', plainObject(limits, 'limits'), { suggest: true });
    const group = new ThrottleGroup(this.#device.host.clock, checked);
    this.#device.setThrottle(group.enabled ? group.join() : null);
  }

  /** The internal snapshots, which are kept within the image's own file, in the order of their table. Throws `closed`. */
  snapshots(): SnapshotInfo[] {
    return snapshotsIn(rootOf(this.#device).node);
  }

  /**
   * Keeps the image as it is now within its own file. Requests wait meanwhile. Rejects with `unsupported` (the format has no such snapshots), `busy` (a job
   * works on it), `limit` (refcounts are too narrow), `exists` (of that name), `no-space`, ...; then the image is as it was.
   */
  createSnapshot(name: string): Promise<SnapshotInfo> {
    return this.#change((node) => createNamedSnapshot(node, text(name, 'name')));
  }

  /**
   * Makes the image what it was at a snapshot, its size included: what was written since is lost, and all bitmaps are dirty. `snapshot`: its ID, its name or
   * both. Rejects as `createSnapshot`, and with `not-found`.
   */
  applySnapshot(snapshot: SnapshotKey): Promise<void> {
    return this.#change((node, root) => applyInternalSnapshot(node, idOfSnapshot(node, snapshot), root));
  }

  /** Removes a snapshot, by its ID, its name or both. Rejects as `applySnapshot`. */
  deleteSnapshot(snapshot: SnapshotKey): Promise<void> {
    return this.#change((node) => deleteInternalSnapshot(node, idOfSnapshot(node, snapshot)));
  }

  /** Runs `action` on the image's node, while nobody sends anything. */
  async #change<T>(action: (node: BlockNode, root: Child) => Promise<T>): Promise<T> {
    const { node } = rootOf(this.#device);
    // A job may have put another node in its place meanwhile.
    return node.graph.drained([node], async () => {
      const root = rootOf(this.#device);
      return action(root.node, root);
    });
  }

  /**
   * Begins to record in a new dirty bitmap which parts are written. `options`: its granularity in bytes (default: a cluster of the image, or 64 KiB), or settings.
   * One that is persistent is stored in the image at its next flush, at each one after that, and when the image is closed. Throws `exists`, `invalid-argument`, and
   * where the image cannot store it `unsupported`, `limit`, `read-only`.
   */
  addBitmap(name: string, options: number | BitmapSettings = {}): Bitmap {
    const { node } = rootOf(this.#device);
    const settings = typeof options === 'number' ? { granularity: options } : takeSettings(BITMAP, options, 'options');
    return wrapBitmap(addBitmap(node, text(name, 'name'), settings));
  }

  /** The dirty bitmaps that record this image's writes, or did, by the order in which they came. Throws `closed`. */
  get bitmaps(): Bitmap[] {
    return [...rootOf(this.#device).node.bitmaps.values()].map(wrapBitmap);
  }

  /** One that is stored in the image is so until the next flush. Throws `not-found`, `read-only`, and `busy` where a job uses it. */
  removeBitmap(name: string): void {
    removeBitmap(rootOf(this.#device).node, name);
  }

  /**
   * Waits for the requests under way, flushes and closes the files; a second call waits for the same. Rejects with `busy` while a job works on the
   * image, a service offers it, it is the disk of an emulator or becomes part of a snapshot: end that first. Rejects where the last flush fails:
   * then data may be lost.
   */
  async close(): Promise<void> {
    const { users } = this;
    if (this.#closing === null && users.length > 0) {
      const { filename } = this;
      const verb = users.length === 1 ? 'uses' : 'use';
      throw new BlockError('busy', `'${filename}' cannot be closed: ${users.join(' and ')} ${verb} it`, {
        path: filename,
        operation: 'close',
      });
    }
    this.#closing ??= this.#close();
    await this.#closing;
  }

  /** As `close`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** What `console.log` and `util.inspect` show. */
  [inspect.custom](_depth: number, options: object): string {
    if (this.#closing !== null) return 'Image { closed }';
    const { filename, size, writable } = this;
    return `Image ${inspect({ filename, size, writable }, options)}`;
  }

  #keepsSize(cause?: BlockError): BlockError {
    const { users, filename } = this;
    const verb = users.length === 1 ? 'uses' : 'use';
    return BlockError.at(
      filename,
      'permission',
      `the size cannot change while ${users.join(' and ')} ${verb} the image`,
      {
        operation: 'resize',
        cause,
      },
    );
  }

  async #readNew(offset: number, length: number): Promise<Buffer> {
    checkBytes(offset, 'offset', 'read');
    checkBytes(length, 'length', 'read');
    const { filename, size } = this;
    // Before the memory is taken.
    if (offset + length > size) {
      throw BlockError.at(
        filename,
        'out-of-bounds',
        `read of ${length} bytes at ${offset} is outside of the image's ${size} bytes`,
        { operation: 'read', offset, length },
      );
    }
    const buffer = allocate(length);
    await this.#device.read(offset, buffer);
    return buffer;
  }

  async #close(): Promise<void> {
    this.#notLeftOpen();
    // The node is looked up only then: a job may be putting another one in its place.
    const node = await closeDevice(this.#device);
    const { graph } = this.#node;
    if (node !== null) await graph.release(node);
    if (node !== this.#node) await graph.release(this.#node);
  }

  /** Throws `invalid-argument` for a range that is not within the image. */
  #range({ from = 0, to = this.size }: ImageRange): { from: number; to: number } {
    if (from <= to && to <= this.size) return { from, to };
    throw BlockError.at(this.filename, 'out-of-bounds', `[${from}, ${to}) is not within ${this.size} bytes`);
  }
}

function idOfSnapshot(node: BlockNode, snapshot: SnapshotKey): string {
  return snapshotIdOf(node, takeSettings(SNAPSHOT_KEY, snapshot, 'snapshot'));
}

/** Throws `invalid-argument` for what is no image. */
export const anImage: Check<Image> = (value, path) => {
  if (!(value instanceof Image)) throw wrongType(path, 'Image', value);
  return value;
};

/** Throws `limit` for more than a buffer can hold. */
function allocate(length: number): Buffer {
  try {
    return Buffer.alloc(length);
  } catch (cause) {
    throw new BlockError('limit', `read: a buffer of ${length} bytes cannot be had`, { operation: 'read', cause });
  }
}
