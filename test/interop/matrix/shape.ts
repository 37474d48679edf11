// What an image of the matrix is like: one value of each feature, drawn from a seed. Combinations that the format (or every program) refuses are
// not drawn.

import type { Random } from '../../../src/host/sim/index.js';

const KIB = 1024;
const SECTOR = 512;

export interface ImageShape {
  /** Who makes the image, and writes to it first. */
  maker: 'ours' | 'theirs';
  version: 2 | 3;
  clusterBytes: number;
  refcountBits: number;
  extendedL2: boolean;
  compression: 'none' | 'zlib' | 'zstd';
  encryption: 'none' | 'luks';
  dataFile: 'none' | 'plain' | 'raw';
  lazyRefcounts: boolean;
  preallocation: 'off' | 'metadata';
  backing: 'none' | 'shorter' | 'longer';
  snapshots: boolean;
  bitmaps: boolean;
  /** Bytes of the disk. */
  size: number;
}

const CLUSTERS: readonly (readonly [bytes: number, sizeKib: number])[] = [
  [512, 300],
  [4 * KIB, 1000],
  [16 * KIB, 2000],
  [64 * KIB, 4000],
  [2048 * KIB, 17000],
];
/** QEMU measures the speed of the key derivation for some seconds: few images of its making are encrypted. */
const THEIR_ENCRYPTED = 0.03;

/** Draws until a combination is one that can be. */
export function drawShape(random: Random): ImageShape {
  for (;;) {
    const [clusterBytes, sizeKib] = random.pick(CLUSTERS);
    const shape: ImageShape = {
      maker: random.pick(['ours', 'theirs']),
      version: random.chance(0.25) ? 2 : 3,
      clusterBytes,
      refcountBits: random.pick([1, 2, 4, 8, 16, 16, 32, 64]),
      extendedL2: random.chance(0.35),
      compression: random.pick(['none', 'zlib', 'zstd']),
      encryption: random.chance(0.3) ? 'luks' : 'none',
      dataFile: random.pick(['none', 'none', 'none', 'plain', 'raw']),
      lazyRefcounts: random.chance(0.25),
      preallocation: random.chance(0.2) ? 'metadata' : 'off',
      backing: random.pick(['none', 'none', 'shorter', 'longer']),
      snapshots: random.chance(0.5),
      bitmaps: random.chance(0.5),
      size: sizeKib * KIB + random.below(8) * SECTOR,
    };
    if (shape.encryption === 'luks' && shape.maker === 'theirs' && !random.chance(THEIR_ENCRYPTED)) continue;
    if (isPossible(shape)) return shape;
  }
}

function isPossible(shape: ImageShape): boolean {
  const { version, refcountBits, extendedL2, compression, encryption, dataFile } = shape;
  if (extendedL2 && shape.clusterBytes < 16 * KIB) return false;
  if (version === 2) {
    const needsVersion3 =
      refcountBits !== 16 || compression === 'zstd' || dataFile !== 'none' || shape.lazyRefcounts || extendedL2;
    if (needsVersion3 || shape.bitmaps || encryption !== 'none') return false;
  }
  if (compression !== 'none' && (encryption !== 'none' || dataFile !== 'none')) return false;
  if (dataFile === 'raw' && shape.backing !== 'none') return false;
  // QEMU makes no snapshots of an image whose content lies in another file. Two snapshots, the disk, and one that is applied count up to four, and
  // compressed clusters share theirs with others.
  if (shape.snapshots && (dataFile !== 'none' || refcountBits < (compression === 'none' ? 4 : 8))) return false;
  // QEMU 7.2 does not preallocate over a backing file where entries are ordinary.
  return shape.backing === 'none' || shape.preallocation === 'off' || extendedL2;
}

/** Clusters that were mapped from the start, and that nobody wrote, decrypt to noise, in every program, where they have no subclusters. */
export function beginsAsNoise({ encryption, extendedL2, preallocation, dataFile }: ImageShape): boolean {
  return encryption !== 'none' && !extendedL2 && (preallocation !== 'off' || dataFile === 'raw');
}

/** The features that are not as in a plain image, for a title. */
export function describeShape(shape: ImageShape): string {
  const { maker, version, clusterBytes, refcountBits, compression, encryption, dataFile, backing } = shape;
  const words = [
    `made by ${maker === 'ours' ? 'us' : 'QEMU'}`,
    `version ${version}`,
    `clusters of ${clusterBytes}`,
    refcountBits !== 16 && `refcounts of ${refcountBits} bits`,
    shape.extendedL2 && 'extended L2 entries',
    compression !== 'none' && compression,
    encryption !== 'none' && encryption,
    dataFile !== 'none' && `${dataFile} data file`,
    shape.lazyRefcounts && 'lazy refcounts',
    shape.preallocation !== 'off' && 'preallocated',
    backing !== 'none' && `${backing} backing file`,
    shape.snapshots && 'snapshots',
    shape.bitmaps && 'bitmap',
    `${shape.size} bytes`,
  ];
  return words.filter((word) => word !== false).join(', ');
}
