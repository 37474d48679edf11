// A stream-optimised extent. Each grain is compressed, and stands behind a marker (grain-packer.ts). A grain is written once, as a whole; an extent that ends with its tables and
// a footer is only read.

import type { BlockStatus, Located, ZeroFlags } from '../../../block/types.js';
import type { Host } from '../../../host/host.js';
import type { VmdkExtentInfo } from '../../../schema/generated/types.js';
import { BlockError } from '../../../util/errors.js';
import { later, settleAll } from '../../../util/settle.js';
import type { ImageFile } from '../../image-file.js';
import { Commits } from '../blocks/commits.js';
import { HOLE, ZERO } from '../blocks/places.js';
import { GrainPacker, MARKER_BYTES, mostPackedBytes, ZLIB_BYTES } from './grain-packer.js';
import { GrainSpace } from './grain-space.js';
import { GrainTables } from './grain-tables.js';
import type { SparseHeader } from './header.js';
import type { Part } from './part.js';
import type { SparseOwner } from './sparse-part.js';

/** Changed tables of so many bytes are written before more is written to the disk. */
const MAX_CHANGED_BYTES = 16 << 20;

export class CompressedPart implements Part {
  readonly length: number;
  readonly grainBytes: number;
  readonly info: VmdkExtentInfo;
  readonly file: ImageFile;
  readonly header: SparseHeader;
  readonly descriptorEnd: number;
  readonly #host: Host;
  readonly #owner: SparseOwner;
  readonly #tables: GrainTables;
  readonly #packer: GrainPacker;
  readonly #commits: Commits;
  /** Grains that are being written. */
  readonly #writing = new Set<number>();

  constructor(file: ImageFile, header: SparseHeader, kind: string, length: number, host: Host, owner: SparseOwner) {
    this.descriptorEnd = kind === '' ? owner.descriptorEnd : 0;
    this.file = file;
    this.header = header;
    this.length = length;
    this.grainBytes = header.grainBytes;
    const { grainBytes } = header;
    this.info = {
      compressed: true,
      'virtual-size': length,
      filename: file.path,
      'cluster-size': grainBytes,
      format: kind,
    };
    this.#host = host;
    this.#owner = owner;
    this.#tables = new GrainTables(file, header, new GrainSpace(file, grainBytes));
    this.#packer = new GrainPacker(file, host);
    this.#commits = new Commits({ file, levels: this.#tables.levels });
  }

  locate(_offset: number, _length: number, _write: boolean, _into: Located): boolean {
    return false;
  }

  async read(offset: number, buffer: Uint8Array): Promise<void> {
    const { grainBytes } = this;
    for (let done = 0; done < buffer.length; ) {
      const at = offset + done;
      const index = Math.floor(at / grainBytes);
      const lead = at - index * grainBytes;
      const target = buffer.subarray(done, done + grainBytes - lead);
      const place = await this.#placeOf(index);
      if (place >= 0) await this.#readGrain(index, place, lead, target);
      else if (place === HOLE) await this.#readHole(at, target);
      else target.fill(0);
      done += target.length;
    }
  }

  async #placeOf(index: number): Promise<number> {
    for (;;) {
      const place = this.#tables.place(index);
      if (place !== undefined) return place;
      await this.#tables.load(index);
    }
  }

  async #readHole(offset: number, target: Uint8Array): Promise<void> {
    const below = this.#owner.below();
    const inside = below === null ? 0 : Math.max(0, Math.min(target.length, below.length - offset));
    target.fill(0, inside);
    if (inside > 0) await below!.read(offset, target.subarray(0, inside));
  }

  async #readGrain(index: number, place: number, lead: number, target: Uint8Array): Promise<void> {
    const { memory, codecs } = this.#host;
    const fail = (reason: string): never => {
      throw BlockError.at(this.file.path, 'corrupt-image', reason, { offset: place, operation: 'read' });
    };
    const marker = new Uint8Array(MARKER_BYTES);
    await this.file.read(place, marker, 'read_compressed');
    const stored = new DataView(marker.buffer).getUint32(8, true);
    const start = place + MARKER_BYTES;
    if (
      stored <= ZLIB_BYTES ||
      stored > Math.max(2 * this.grainBytes, mostPackedBytes(this.grainBytes)) ||
      start + stored > this.file.length
    ) {
      fail(`The compressed grain ${index} has a length of ${stored} bytes`);
    }
    const input = memory.allocate(stored);
    const output = memory.allocate(this.grainBytes);
    try {
      await this.file.read(start, input);
      if ((input[0] & 0x0f) !== 8) fail(`The compressed grain ${index} is not in zlib's format`);
      const packed = input.subarray(ZLIB_BYTES);
      const whole = output.subarray(0, this.grainBytes);
      const part = Math.min(this.grainBytes, this.length - index * this.grainBytes);
      await codecs.decompress('zlib', packed, whole).catch(async (error: unknown) => {
        // The last grain may hold no more than the disk has.
        if (part === this.grainBytes) throw error;
        await codecs.decompress('zlib', packed, output.subarray(0, part));
      });
      target.set(output.subarray(lead, lead + target.length));
    } finally {
      memory.free(input);
      memory.free(output);
    }
  }

  statusSync(): null {
    return null;
  }

  async status(offset: number, length: number): Promise<BlockStatus> {
    const { grainBytes } = this;
    const first = Math.floor(offset / grainBytes);
    const place = await this.#placeOf(first);
    let end = (first + 1) * grainBytes;
    for (let index = first + 1; end < offset + length; index++) {
      const next = this.#tables.place(index);
      if (next === undefined || (place < 0 ? next !== place : next < 0)) break;
      end += grainBytes;
    }
    const none = { length: Math.min(length, end - offset), offset: -1, node: null };
    if (place >= 0) return { ...none, allocated: true, data: true, zero: false, compressed: true };
    if (place === ZERO) return { ...none, allocated: true, data: false, zero: true, compressed: false };
    return { ...none, allocated: false, data: false, zero: this.#owner.below() === null, compressed: false };
  }

  /** Whole grains, and the last one up to the end of the disk. */
  async write(offset: number, buffer: Uint8Array): Promise<void> {
    const { grainBytes } = this;
    const grains: Promise<void>[] = [];
    for (let done = 0; done < buffer.length; done += grainBytes) {
      grains.push(later(this.#writeGrain((offset + done) / grainBytes, buffer.subarray(done, done + grainBytes))));
    }
    await settleAll(grains);
    if (this.#tables.changedBytes > MAX_CHANGED_BYTES) await this.commit();
  }

  async #writeGrain(index: number, bytes: Uint8Array): Promise<void> {
    if (this.#writing.has(index)) throw this.#isWritten(index);
    this.#writing.add(index);
    let release: (() => void) | null = null;
    const { memory } = this.#host;
    const isWhole = bytes.length === this.grainBytes;
    const grain = isWhole ? bytes : memory.allocate(this.grainBytes);
    try {
      if (!isWhole) {
        grain.fill(0, bytes.length);
        grain.set(bytes);
      }
      const packing = later(this.#packer.add(index * this.grainBytes, grain));
      try {
        release = await this.#tables.prepare(index, index);
        if (this.#tables.place(index) !== HOLE) throw this.#isWritten(index);
      } finally {
        await Promise.allSettled([packing]);
      }
      this.#tables.set(index, await packing);
    } finally {
      release?.();
      this.#writing.delete(index);
      if (!isWhole) memory.free(grain);
    }
  }

  #isWritten(index: number): BlockError {
    return BlockError.at(this.file.path, 'unsupported', 'Could not write to allocated cluster for streamOptimized', {
      offset: index * this.grainBytes,
      operation: 'write',
    });
  }

  async writeZeroes(offset: number, length: number, flags: ZeroFlags): Promise<void> {
    for (let index = Math.floor(offset / this.grainBytes); index * this.grainBytes < offset + length; index++) {
      const place = await this.#placeOf(index);
      const isZero = place === ZERO || (place === HOLE && this.#owner.below() === null);
      if (!isZero) return this.#owner.writeData(offset, length, flags);
    }
  }

  async discard(): Promise<void> {}

  async prepareMove(): Promise<null> {
    return null;
  }

  commit(): Promise<void> {
    return this.#commits.commit();
  }

  trim(): Promise<void> {
    return this.file.trim();
  }

  clear(): void {
    this.#tables.clear();
  }
}
