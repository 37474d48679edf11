// The file allocation table: for each cluster, the one that follows it in its file.
//
//   FAT12   entry n is the 12 bits from bit 12 n on: two entries in three bytes          FAT16   two bytes          FAT32   four, of which 28 bits count

import { mediumOf } from './boot-sector.js';
import { FIRST_CLUSTER, type Geometry, SECTOR_BYTES } from './geometry.js';

/** Clusters that follow each other on the disk and in a file or a directory. */
export interface Run {
  first: number;
  count: number;
}

const MASKS = { 12: 0xfff, 16: 0xffff, 32: 0x0fffffff } as const;

export class FatTable {
  readonly bytes: Uint8Array;
  readonly #view: DataView;
  readonly #fatType: Geometry['fatType'];

  /** All clusters are free. */
  constructor(geometry: Geometry) {
    this.#fatType = geometry.fatType;
    this.bytes = new Uint8Array(geometry.fatSectors * SECTOR_BYTES);
    this.#view = new DataView(this.bytes.buffer);
    const mask = MASKS[this.#fatType];
    this.#set(0, (mask & ~0xff) | mediumOf(geometry));
    this.#set(1, mask);
  }

  /** The clusters of `run` become one chain. */
  chain({ first, count }: Run): void {
    for (let at = 0; at < count; at++) {
      this.#set(first + at, at === count - 1 ? MASKS[this.#fatType] : first + at + 1);
    }
  }

  #set(cluster: number, value: number): void {
    if (this.#fatType === 32) this.#view.setUint32(cluster * 4, value, true);
    else if (this.#fatType === 16) this.#view.setUint16(cluster * 2, value, true);
    else {
      const at = cluster + (cluster >> 1);
      const pair = this.#view.getUint16(at, true);
      this.#view.setUint16(at, cluster % 2 === 0 ? (pair & 0xf000) | value : (pair & 0xf) | (value << 4), true);
    }
  }
}

/** Hands out clusters in order. */
export class FreeClusters {
  #next = FIRST_CLUSTER;
  readonly #end: number;

  constructor({ clusters }: Geometry) {
    this.#end = FIRST_CLUSTER + clusters;
  }

  get used(): number {
    return this.#next - FIRST_CLUSTER;
  }

  /** Null where there are not so many any more. */
  take(count: number): Run | null {
    if (count > this.#end - this.#next) return null;
    const first = this.#next;
    this.#next += count;
    return { first, count };
  }
}

/** Values from this one below the largest end a chain; the one below it is a cluster that cannot be used. */
const ENDS = 8;

/** A table that a machine has written. */
export class FatReader {
  readonly #bytes: Buffer;
  readonly #fatType: Geometry['fatType'];

  constructor({ fatType }: Geometry, bytes: Uint8Array) {
    this.#fatType = fatType;
    this.#bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  /** Whether the cluster is in a chain; one that cannot be used is in none. */
  isTaken(cluster: number): boolean {
    const value = this.#get(cluster);
    return value !== 0 && value !== MASKS[this.#fatType] - ENDS;
  }

  /** What follows the cluster in its chain, whatever that is; null: it is the last one. */
  next(cluster: number): number | null {
    const value = this.#get(cluster);
    return value > MASKS[this.#fatType] - ENDS ? null : value;
  }

  #get(cluster: number): number {
    if (this.#fatType === 32) return this.#bytes.readUInt32LE(cluster * 4) & MASKS[32];
    if (this.#fatType === 16) return this.#bytes.readUInt16LE(cluster * 2);
    const pair = this.#bytes.readUInt16LE(cluster + (cluster >> 1));
    return cluster % 2 === 0 ? pair & MASKS[12] : pair >> 4;
  }
}
