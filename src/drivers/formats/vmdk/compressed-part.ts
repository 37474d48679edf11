// A stream-optimised extent. Each grain is compressed, and stands behind a marker (grain-packer.ts). A grain is written once, as a whole; an extent that ends with its tables and
// a footer is only read.

import type { RepairKind } from '../../../block/abilities.js';
import type { CheckFinding } from '../../../block/finding.js';
import type { BlockStatus, Located, ZeroFlags } from '../../../block/types.js';
import type { Host } from '../../../host/host.js';
import type { VmdkExtentInfo } from '../../../schema/generated/types.js';
import { BlockError, toBlockError } from '../../../util/errors.js';
import { later, settleAll } from '../../../util/settle.js';
import type { ImageFile } from '../../image-file.js';
import { Commits } from '../blocks/commits.js';
import { HOLE, holeRun, MAX_CHANGED_BYTES, readBelow, ZERO } from '../blocks/places.js';
import { checkSparse } from './check.js';
import { GrainPacker, MARKER_BYTES, mostPackedBytes, packedLength, ZLIB_BYTES } from './grain-packer.js';
import { GrainSpace } from './grain-space.js';
import { GrainTables } from './grain-tables.js';
import type { SparseHeader } from './header.js';
import type { ExtentPlace, WritablePart } from './part.js';
import { repairSparse } from './repair.js';
import type { SparseOwner } from './sparse-part.js';

/** Grains that are read at once, at most. */
const MAX_GROUP = 32;

/** What is wanted of a grain. */
interface Wanted {
  index: number;
  place: number;
  /** Bytes of the grain before it. */
  lead: number;
  target: Uint8Array;
}

export class CompressedPart implements WritablePart {
  readonly length: number;
  readonly grainBytes: number;
  readonly info: VmdkExtentInfo;
  readonly compression = 'needed';
  readonly onlyRead: string | null;
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
    this.onlyRead = header.hasFooter ? 'A stream-optimised VMDK image with a footer is only read' : null;
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
    this.#tables = new GrainTables(file, header, new GrainSpace(file, grainBytes), this.descriptorEnd);
    this.#packer = new GrainPacker(file, host);
    this.#commits = new Commits({ file, levels: this.#tables.levels });
  }

  locate(_offset: number, _length: number, _write: boolean, _into: Located): boolean {
    return false;
  }

  async read(offset: number, buffer: Uint8Array): Promise<void> {
    const { grainBytes } = this;
    const parts: Promise<void>[] = [];
    let failure: { error: unknown } | null = null;
    try {
      let group: Wanted[] = [];
      for (let done = 0; done < buffer.length; ) {
        const at = offset + done;
        const index = Math.floor(at / grainBytes);
        const lead = at - index * grainBytes;
        const target = buffer.subarray(done, done + grainBytes - lead);
        const place = await this.#placeOf(index);
        done += target.length;
        if (place === ZERO) {
          target.fill(0);
          continue;
        }
        if (place === HOLE) {
          parts.push(later(readBelow(this.file, this.#owner.below(), at, target)));
          continue;
        }
        if (group.length > 0 && !this.#follows(group, place)) {
          parts.push(later(this.#readGroup(group)));
          group = [];
        }
        group.push({ index, place, lead, target });
      }
      if (group.length > 0) parts.push(later(this.#readGroup(group)));
    } catch (error) {
      failure = { error };
    }
    await settleAll(parts, failure);
  }

  /** The grain at `place` stands behind the last one of the group, and is read with it. */
  #follows(group: readonly Wanted[], place: number): boolean {
    const step = place - group[group.length - 1].place;
    return step > 0 && step <= mostPackedBytes(this.grainBytes) && group.length < MAX_GROUP;
  }

  async #placeOf(index: number): Promise<number> {
    for (;;) {
      const place = this.#tables.place(index);
      if (place !== undefined) return place;
      await this.#tables.load(index);
    }
  }

  /** Grains that stand one behind the other are read at once. */
  async #readGroup(group: readonly Wanted[]): Promise<void> {
    const { memory } = this.#host;
    const from = group[0].place;
    const last = group[group.length - 1];
    const next = this.#tables.place(last.index + 1);
    const isNext = next !== undefined && next > last.place && this.#follows([last], next);
    const end = Math.min(isNext ? next : last.place + mostPackedBytes(this.grainBytes), this.file.length);
    const stored = memory.allocate(end - from);
    try {
      await this.file.read(from, stored, 'read_compressed');
      await settleAll(group.map((wanted) => later(this.#unpack(wanted, stored.subarray(wanted.place - from)))));
    } finally {
      memory.free(stored);
    }
  }

  /** `stored` begins with the grain's marker. */
  async #unpack({ index, place, lead, target }: Wanted, stored: Uint8Array): Promise<void> {
    const { memory, codecs } = this.#host;
    const { grainBytes } = this;
    const broken = (reason: string, cause?: unknown): BlockError =>
      BlockError.at(this.file.path, 'corrupt-image', reason, { offset: place, operation: 'read', cause });
    const length = stored.length < MARKER_BYTES ? 0 : packedLength(stored);
    if (length <= ZLIB_BYTES || MARKER_BYTES + length > stored.length) {
      const isCut = place + MARKER_BYTES + length > this.file.length;
      throw broken(
        isCut
          ? `The file ends before the compressed grain ${index} does`
          : `The compressed grain ${index} has a length of ${length} bytes`,
      );
    }
    const packed = stored.subarray(MARKER_BYTES, MARKER_BYTES + length);
    const isWhole = target.length === grainBytes;
    const output = isWhole ? target : memory.allocate(grainBytes);
    const part = Math.min(grainBytes, this.length - index * grainBytes);
    try {
      // With its checksum: what is stored is what was written, or an error.
      await codecs
        .decompress('zlib-stream', packed, output)
        .catch(async (error: unknown) => {
          // The last grain may hold no more than the disk has.
          if (part === grainBytes) throw error;
          await codecs.decompress('zlib-stream', packed, output.subarray(0, part));
        })
        .catch((error: unknown) => {
          const { code, reason } = toBlockError(error);
          throw code === 'invalid-image' ? broken(`The compressed grain ${index}: ${reason}`, error) : error;
        });
      if (!isWhole) target.set(output.subarray(lead, lead + target.length));
    } finally {
      if (!isWhole) memory.free(output);
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
    const hole = holeRun(this.#owner.below(), offset, none.length);
    return { ...none, allocated: false, data: false, compressed: false, ...hole };
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

  check(place: ExtentPlace, report: (finding: CheckFinding) => void, kind?: RepairKind): Promise<number> {
    return checkSparse(this, place, report, kind);
  }

  repair(): Promise<void> {
    return repairSparse(this);
  }

  clear(): void {
    this.#tables.clear();
  }
}
