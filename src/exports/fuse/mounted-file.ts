// What a mounted image is as a file: its attributes, its size, its holes. Everything here may wait; the bytes themselves go through `transfers.ts`.
//
// It behaves as the file of QEMU's FUSE export: a write beyond the end makes it longer with `growable` only, and is cut at the end otherwise; truncate changes
// the size of any writable one; O_TRUNC does not. Times are those of the question, and cannot be set.

import { chainStatus } from '../../block/chain.js';
import { type Device, inspectDevice } from '../../block/device.js';
import { putViewLe64 } from '../../util/bytes.js';
import { Serial } from '../../util/serial.js';
import { Allocation, Attr, ROOT_NODE, S_IFREG, SetAttribute, Whence } from '../../wire/fuse/constants.js';
import { Refused } from './wire-error.js';

const SECTOR = 512;
const WRITE_BITS = 0o222;
/** What a mode lets others do than its owner. */
const OTHERS_BITS = 0o077;
/** Seconds that the kernel may remember attributes. */
const ATTR_SECONDS = 1;
/** A piece of a range that is written with zeroes at once. */
const ZERO_PIECE = 1 << 30;

export interface MountedFileOptions {
  writable: boolean;
  growable: boolean;
  /** Each change is on the disk when it is answered. */
  writethrough: boolean;
  /** Other users may open it: then its owner and mode can be changed. */
  allowsOther: boolean;
  uid: number;
  gid: number;
}

/** What SETATTR asks for. */
export interface Change {
  valid: number;
  size: number;
  mode: number;
  uid: number;
  gid: number;
}

export class MountedFile {
  readonly device: Device;
  readonly options: MountedFileOptions;
  #mode: number;
  #uid: number;
  #gid: number;
  /** Changes of the size, one after the other. */
  readonly #sizes = new Serial();

  constructor(device: Device, options: MountedFileOptions) {
    this.device = device;
    this.options = options;
    this.#mode = options.writable ? 0o600 : 0o400;
    this.#uid = options.uid;
    this.#gid = options.gid;
  }

  get size(): number {
    return this.device.length;
  }

  /** Writes `Attr.bytes` at `at`, which were zeroes. `allocated`: of `allocatedBytes`. */
  putAttributes(view: DataView, at: number, allocated: number): void {
    const { seconds } = this.device.host.clock.wall();
    putViewLe64(view, at + Attr.valid, ATTR_SECONDS);
    putViewLe64(view, at + Attr.node, ROOT_NODE);
    putViewLe64(view, at + Attr.size, this.size);
    putViewLe64(view, at + Attr.sectors, Math.ceil(allocated / SECTOR));
    for (const time of [Attr.accessed, Attr.modified, Attr.changed]) putViewLe64(view, at + time, seconds);
    view.setUint32(at + Attr.mode, S_IFREG | this.#mode, true);
    view.setUint32(at + Attr.links, 1, true);
    view.setUint32(at + Attr.uid, this.#uid, true);
    view.setUint32(at + Attr.gid, this.#gid, true);
    view.setUint32(at + Attr.blockBytes, 1, true);
  }

  /** Bytes that the image takes, or its size where nobody knows. */
  async allocatedBytes(): Promise<number> {
    let found: number | null = null;
    await inspectDevice(this.device, async ({ node }) => {
      found = await node.allocatedBytes();
    });
    return found || this.size;
  }

  /** Carries out a SETATTR. Rejects with `Refused`, or as `Device.truncate`. */
  async change({ valid, size, mode, uid, gid }: Change): Promise<void> {
    const { writable, allowsOther } = this.options;
    const { size: sizeBit, mode: modeBit, uid: uidBit, gid: gidBit } = SetAttribute;
    const quiet = SetAttribute.handle | SetAttribute.lockOwner | SetAttribute.killSuidgid | SetAttribute.ctime;
    const owner = allowsOther ? uidBit | gidBit : 0;
    if ((valid & ~(sizeBit | modeBit | owner | quiet)) !== 0) throw new Refused('EOPNOTSUPP');
    if ((valid & modeBit) !== 0) {
      if (!allowsOther && (mode & OTHERS_BITS) !== 0) throw new Refused('EPERM');
      if (!writable && (mode & WRITE_BITS) !== 0) throw new Refused('EROFS');
    }
    if ((valid & sizeBit) !== 0) {
      if (!writable) throw new Refused('EACCES');
      await this.#sizes.run(() => this.#resize(size));
    }
    if ((valid & modeBit) !== 0) this.#mode = mode & 0o7777;
    if ((valid & uidBit) !== 0) this.#uid = uid;
    if ((valid & gidBit) !== 0) this.#gid = gid;
  }

  /** A write that ends at `end` makes the file longer, where it has to. Rejects as `Device.truncate`. */
  growTo(end: number): Promise<void> {
    return this.#sizes.run(async () => {
      if (end > this.size) await this.#resize(end);
    });
  }

  async #resize(size: number): Promise<void> {
    if (!Number.isSafeInteger(size)) throw new Refused('EFBIG');
    await this.device.truncate(size);
    if (this.options.writethrough) await this.device.flush();
  }

  /** fallocate(2), in the modes of QEMU's. Rejects with `Refused`, or as the device. */
  async allocate(offset: number, length: number, mode: number): Promise<void> {
    const { keepSize, punchHole, zeroRange } = Allocation;
    if (!this.options.writable) throw new Refused('EACCES');
    if (mode === 0) {
      await this.#sizes.run(() => this.#preallocate(offset, offset + length));
    } else if (mode === (punchHole | keepSize)) {
      await this.#inPieces(offset, this.#within(offset, length), (at, bytes) => this.device.discard(at, bytes));
    } else if (mode === zeroRange || mode === (zeroRange | keepSize)) {
      if (mode === zeroRange) await this.growTo(offset + length);
      const { writethrough: fua } = this.options;
      await this.#inPieces(offset, this.#within(offset, length), (at, bytes) =>
        this.device.writeZeroes(at, bytes, { fua }),
      );
    } else throw new Refused('EOPNOTSUPP');
    if (this.options.writethrough) await this.device.flush();
  }

  async #preallocate(start: number, end: number): Promise<void> {
    // The space of what is there already cannot be asked for.
    if (start < this.size) throw new Refused('EOPNOTSUPP');
    if (!Number.isSafeInteger(end)) throw new Refused('EFBIG');
    if (start > this.size) await this.device.truncate(start);
    await this.device.truncate(end, { preallocation: 'falloc' });
  }

  /** The part of the range that the file has. */
  #within(offset: number, length: number): number {
    if (offset > this.size) throw new Refused('EIO');
    return Math.min(length, this.size - offset);
  }

  async #inPieces(offset: number, length: number, action: (at: number, bytes: number) => Promise<void>): Promise<void> {
    for (let done = 0; done < length; done += ZERO_PIECE) {
      await action(offset + done, Math.min(ZERO_PIECE, length - done));
    }
  }

  /** SEEK_DATA or SEEK_HOLE. Rejects with `Refused`, or as block status. */
  async seek(offset: number, whence: number): Promise<number> {
    if (whence !== Whence.data && whence !== Whence.hole) throw new Refused('EINVAL');
    const wantsData = whence === Whence.data;
    let found = -1;
    await inspectDevice(this.device, async ({ node }) => {
      if (offset > node.length) return;
      for (let at = offset; at < node.length; ) {
        const status = await chainStatus(node, null, at, node.length - at);
        if (status.data === wantsData) {
          found = at;
          return;
        }
        at += status.length;
      }
      if (!wantsData) found = node.length;
    });
    if (found < 0) throw new Refused('ENXIO');
    return found;
  }

  flush(): Promise<void> {
    return this.device.flush();
  }

  /** The length of a write at `offset` that has room. Throws `Refused` where nothing has. Null: the file has to grow first. */
  roomFor(offset: number, length: number): number | null {
    if (!this.options.writable) throw new Refused('EACCES');
    if (offset + length <= this.size) return length;
    if (this.options.growable) {
      if (!Number.isSafeInteger(offset + length)) throw new Refused('EFBIG');
      return null;
    }
    if (offset >= this.size) throw new Refused('EIO');
    return this.size - offset;
  }
}
