// A stream-optimised extent, which is only read. Each grain is compressed, and stands behind a marker:
//
//   | first sector on the disk, 64 bits | length, 32 bits | data: zlib's format (RFC 1950) |

import type { BlockStatus, Located } from '../../../block/types.js';
import type { Host } from '../../../host/host.js';
import type { VmdkExtentInfo } from '../../../schema/generated/types.js';
import { BlockError } from '../../../util/errors.js';
import type { ImageFile } from '../../image-file.js';
import { GrainSpace } from './grain-space.js';
import { GrainTables } from './grain-tables.js';
import type { SparseHeader } from './header.js';
import type { Part } from './part.js';
import type { SparseOwner } from './sparse-part.js';

const MARKER_BYTES = 12;
/** Before the compressed data: RFC 1950. */
const ZLIB_BYTES = 2;

export class CompressedPart implements Part {
  readonly length: number;
  readonly grainBytes: number;
  readonly info: VmdkExtentInfo;
  readonly file: ImageFile;
  readonly header: SparseHeader;
  readonly #host: Host;
  readonly #owner: SparseOwner;
  readonly #tables: GrainTables;

  constructor(file: ImageFile, header: SparseHeader, kind: string, length: number, host: Host, owner: SparseOwner) {
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
      else await this.#readHole(at, target);
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
    if (stored <= ZLIB_BYTES || stored > 2 * this.grainBytes || start + stored > this.file.length) {
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
      if (next === undefined || next >= 0 !== place >= 0) break;
      end += grainBytes;
    }
    const none = { length: Math.min(length, end - offset), offset: -1, node: null };
    if (place >= 0) return { ...none, allocated: true, data: true, zero: false, compressed: true };
    return { ...none, allocated: false, data: false, zero: this.#owner.below() === null, compressed: false };
  }

  async write(): Promise<void> {
    throw this.#onlyRead();
  }

  async writeZeroes(): Promise<void> {
    throw this.#onlyRead();
  }

  async discard(): Promise<void> {}

  async prepareMove(): Promise<null> {
    return null;
  }

  async commit(): Promise<void> {}

  async trim(): Promise<void> {}

  clear(): void {
    this.#tables.clear();
  }

  #onlyRead(): BlockError {
    return BlockError.at(this.file.path, 'unsupported', 'A stream-optimised VMDK image is only read', {
      operation: 'write',
    });
  }
}
