// Compressed clusters. Each is raw deflate of a whole cluster, zeroes where the disk ends before it does; data of clusters that are written together lies one behind the other.
//
//   disk    | c0      | c1      | c2      | c3      |
//   file    ... | c0   | c1  | c2    | ...                 c3 does not get smaller: it gets a place as any other cluster

import type { Codecs, Memory } from '../../../host/host.js';
import { BlockError } from '../../../util/errors.js';
import { roundUp, SECTOR_BYTES } from '../../../util/numbers.js';
import { later, settleAll } from '../../../util/settle.js';
import type { ImageFile } from '../../image-file.js';
import type { CompressedBlocks } from '../blocks/places.js';
import type { TwoLevelTable } from '../blocks/two-level-table.js';
import { type Packed, packedAt, packedLimit, putPacked } from './header.js';
import type { QcowSpace } from './space.js';

/** Data that is read, and clusters that are compressed, at once: at most. */
const MAX_GROUP_BYTES = 1 << 20;

export interface PackedDisk {
  readonly file: ImageFile;
  readonly tables: TwoLevelTable;
  readonly space: QcowSpace;
  readonly memory: Memory;
  readonly codecs: Codecs;
  /** Bytes of the disk. */
  readonly length: number;
  /** `BlockRequests.withBlocks`. */
  withBlocks(first: number, last: number, action: () => Promise<void>): Promise<void>;
  /** Writes what does not get smaller. */
  write(offset: number, buffer: Uint8Array): Promise<void>;
}

/** What is wanted of a cluster. */
interface Wanted {
  packed: Packed;
  /** Bytes of the cluster before it. */
  lead: number;
  target: Uint8Array;
}

/** A cluster that is to be written. */
interface Cluster {
  index: number;
  bytes: Uint8Array;
  /** Its compressed data; null: it does not get smaller. */
  data: Uint8Array | null;
}

export class PackedClusters implements CompressedBlocks {
  readonly #disk: PackedDisk;
  readonly #clusterBits: number;
  readonly #clusterBytes: number;

  constructor(disk: PackedDisk, clusterBits: number) {
    this.#disk = disk;
    this.#clusterBits = clusterBits;
    this.#clusterBytes = 2 ** clusterBits;
  }

  // ---- reads ------------------------------------------------------------------------------------------------------

  read(offset: number, buffer: Uint8Array): Promise<void> | null {
    const groups: Wanted[][] = [];
    for (let done = 0; done < buffer.length; ) {
      const index = Math.floor((offset + done) / this.#clusterBytes);
      const lead = offset + done - index * this.#clusterBytes;
      const target = buffer.subarray(done, done + this.#clusterBytes - lead);
      const packed = this.#disk.tables.entry(index, (view, at) => packedAt(view, at, this.#clusterBits));
      if (packed === undefined || packed === null) return null;
      const group = groups.at(-1);
      if (group !== undefined && this.#follows(group, packed)) group.push({ packed, lead, target });
      else groups.push([{ packed, lead, target }]);
      done += target.length;
    }
    return settleAll(groups.map((group) => later(this.#readGroup(group))));
  }

  /** The data lies close behind that of the group, and is read with it. */
  #follows(group: readonly Wanted[], { offset, length }: Packed): boolean {
    const first = group[0].packed;
    const { packed: last } = group[group.length - 1];
    const end = last.offset + last.length;
    return offset >= end && offset - end < SECTOR_BYTES && offset + length - first.offset <= MAX_GROUP_BYTES;
  }

  async #readGroup(group: readonly Wanted[]): Promise<void> {
    const { file, memory } = this.#disk;
    const from = group[0].packed.offset;
    const { packed: last } = group[group.length - 1];
    const end = last.offset + last.length;
    if (end > file.length) {
      throw BlockError.at(file.path, 'corrupt-image', 'A compressed cluster points beyond the end of the file', {
        offset: last.offset,
        operation: 'read',
      });
    }
    const stored = memory.allocate(Math.max(1, end - from));
    try {
      await file.read(from, stored.subarray(0, end - from), 'read_compressed');
      await settleAll(
        group.map(({ packed: { offset, length }, lead, target }) =>
          later(this.#unpack(stored.subarray(offset - from, offset - from + length), lead, target)),
        ),
      );
    } finally {
      memory.free(stored);
    }
  }

  async #unpack(stored: Uint8Array, lead: number, target: Uint8Array): Promise<void> {
    const { memory, codecs } = this.#disk;
    const isWhole = target.length === this.#clusterBytes;
    const output = isWhole ? target : memory.allocate(this.#clusterBytes);
    try {
      await codecs.decompress('zlib', stored, output);
      if (!isWhole) target.set(output.subarray(lead, lead + target.length));
    } finally {
      if (!isWhole) memory.free(output);
    }
  }

  // ---- writes -----------------------------------------------------------------------------------------------------

  /**
   * Writes whole clusters, and the last one up to the end of the disk. One that has a place already is written there. Rejects with `unsupported` for parts of clusters, and with
   * `limit`, `no-space`, `io`.
   */
  async write(offset: number, buffer: Uint8Array): Promise<void> {
    const { length, file } = this.#disk;
    const end = offset + buffer.length;
    if (offset % this.#clusterBytes !== 0 || (end % this.#clusterBytes !== 0 && end !== length)) {
      const reason = 'compressed writes must be whole clusters';
      throw BlockError.at(file.path, 'unsupported', reason, { offset, operation: 'write' });
    }
    for (let done = 0; done < buffer.length; done += MAX_GROUP_BYTES) {
      await this.#writeGroup((offset + done) / this.#clusterBytes, buffer.subarray(done, done + MAX_GROUP_BYTES));
    }
  }

  async #writeGroup(first: number, buffer: Uint8Array): Promise<void> {
    const { memory, tables } = this.#disk;
    const size = this.#clusterBytes;
    const clusters: Cluster[] = [];
    for (let done = 0; done < buffer.length; done += size) {
      clusters.push({ index: first + done / size, bytes: buffer.subarray(done, done + size), data: null });
    }
    const output = memory.allocate(clusters.length * size);
    try {
      await settleAll(clusters.map((cluster, i) => this.#pack(cluster, output.subarray(i * size, (i + 1) * size - 1))));
      const isNew = ({ index, data }: Cluster): boolean => data !== null && tables.place(index)! < 0;
      let rest: Cluster[] = [];
      await this.#disk.withBlocks(first, clusters[clusters.length - 1].index, async () => {
        rest = clusters.filter((cluster) => !isNew(cluster));
        await this.#place(clusters.filter(isNew));
      });
      await settleAll(this.#runsOf(rest, first, buffer).map(({ at, bytes }) => later(this.#disk.write(at, bytes))));
    } finally {
      memory.free(output);
    }
  }

  async #pack(cluster: Cluster, output: Uint8Array): Promise<void> {
    const { memory, codecs } = this.#disk;
    const { bytes } = cluster;
    const isWhole = bytes.length === this.#clusterBytes;
    const whole = isWhole ? bytes : memory.allocate(this.#clusterBytes);
    try {
      if (!isWhole) {
        whole.fill(0, bytes.length);
        whole.set(bytes);
      }
      const length = await codecs.compress('zlib', whole, output);
      if (length >= 0) cluster.data = output.subarray(0, length);
    } finally {
      if (!isWhole) memory.free(whole);
    }
  }

  /** Writes the data of clusters, whose entries may be set, and sets these. */
  async #place(clusters: readonly Cluster[]): Promise<void> {
    const { file, memory, space, tables } = this.#disk;
    const room = clusters.reduce((sum, { data }) => sum + roundUp(data!.length, SECTOR_BYTES), 0);
    if (room === 0) return;
    const taken = await space.takePacked(room, packedLimit(this.#clusterBits));
    const start = taken.offset;
    const stored = memory.allocate(room);
    const places: Packed[] = [];
    try {
      let at = 0;
      for (const { data } of clusters) {
        const end = at + roundUp(data!.length, SECTOR_BYTES);
        stored.set(data!, at);
        stored.fill(0, at + data!.length, end);
        places.push({ offset: start + at, length: data!.length });
        at = end;
      }
      await file.write(start, stored, 'write_compressed');
    } catch (error) {
      space.giveBackPacked({ ...taken, fresh: false }, room);
      throw error;
    } finally {
      memory.free(stored);
    }
    for (const [i, { index }] of clusters.entries()) {
      tables.change(index, (view, at) => putPacked(view, at, this.#clusterBits, places[i]));
    }
  }

  /** Neighbours of `clusters`, which are parts of `buffer`, as one. */
  #runsOf(clusters: readonly Cluster[], first: number, buffer: Uint8Array): { at: number; bytes: Uint8Array }[] {
    const size = this.#clusterBytes;
    const runs: { from: number; to: number }[] = [];
    for (const { index, bytes } of clusters) {
      const from = (index - first) * size;
      const last = runs.at(-1);
      if (last !== undefined && last.to === from) last.to += bytes.length;
      else runs.push({ from, to: from + bytes.length });
    }
    return runs.map(({ from, to }) => ({ at: first * size + from, bytes: buffer.subarray(from, to) }));
  }
}
