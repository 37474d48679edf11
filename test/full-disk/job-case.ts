// What one seed is about, for a job: a chain of two images, a job, and a file system with too little room for what the job writes.

import { Random } from '../../src/host/sim/random.js';
import type { PlaceKind } from './place.js';

const MIB = 1 << 20;

export type JobKind = 'stream' | 'commit' | 'mirror' | 'backup' | 'convert';
export const JOB_KINDS: readonly JobKind[] = ['stream', 'commit', 'mirror', 'backup', 'convert'];

/** Bytes [offset, offset + length) are written with the value `fill` repeated; 0: zeroes. */
export interface Piece {
  offset: number;
  length: number;
  fill: number;
}

export interface JobCase {
  kind: JobKind;
  place: PlaceKind;
  placeBytes: number;
  blockSize: number;
  size: number;
  /** Cluster sizes: of the lower image, of the upper, and of what is newly made. */
  base: number;
  top: number;
  target: number;
  /** The lower image is raw. */
  rawBase: boolean;
  targetFormat: 'qcow2' | 'raw';
  compress: boolean;
  lower: Piece[];
  upper: Piece[];
  /** Bytes that are free before the job begins. */
  room: number;
}

const CLUSTERS = [512, 1024, 4096, 4096, 16384, 65536, 65536];

export function jobCase(seed: number): JobCase {
  const random = new Random(seed, 31);
  const kind = JOB_KINDS[seed % JOB_KINDS.length];
  const placeBytes = random.pick([4, 6, 8, 12, 16, 24, 32]) * MIB;
  const size = placeBytes * 2;
  const cluster = (): number => random.pick(placeBytes >= 24 * MIB ? [...CLUSTERS, 2 * MIB] : CLUSTERS);
  const pieces = (bytes: number, from: number): Piece[] => {
    const list: Piece[] = [];
    for (let done = 0, fill = from; done < bytes; fill = (fill % 255) + 1) {
      const length = Math.min(size, random.between(1, random.pick([8, 64, 512])) * 4096);
      const offset = random.below((size - length) / 4096 + 1) * 4096;
      list.push({ offset, length, fill: random.chance(0.1) ? 0 : fill });
      done += length;
    }
    return list;
  };
  const lower = pieces(placeBytes * 0.7, 1);
  const upper = pieces(placeBytes * 0.4, 100);
  return {
    kind,
    place: random.pick(['ext4', 'ext4', 'tmpfs'] as const),
    placeBytes,
    blockSize: random.pick([1024, 4096]),
    size,
    base: cluster(),
    top: cluster(),
    target: cluster(),
    rawBase: random.chance(0.2),
    targetFormat: random.chance(0.2) ? 'raw' : 'qcow2',
    compress: random.chance(0.25),
    lower,
    upper,
    room: Math.floor(placeBytes * random.pick([0.02, 0.05, 0.1, 0.2, 0.3, 0.6, 0.9, 1])),
  };
}
