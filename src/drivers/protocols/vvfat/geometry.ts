// Which disk a folder is shown as, and where the parts of its file system lie. The sizes are QEMU's, and so are those of FAT12 and FAT16.
//
//   hard disk   sector 0: partition table; 63: the partition                         floppy   sector 0: the file system
//
//   file system   reserved sectors (boot sector, ...) | FAT | FAT | root directory (FAT12, FAT16) | clusters 2, 3, ...
//
// Where QEMU's disk would be read as another one than it says, ours is made by Microsoft's specification ("FAT: General Overview of On-Disk Format",
// version 1.03): whether a file system is FAT12, FAT16 or FAT32 follows from the number of its clusters alone, so that FAT32 has clusters of 4 KiB,
// and FAT16 on a floppy those of one sector.

import { BlockError } from '../../../util/errors.js';

export type FatType = 12 | 16 | 32;

export const SECTOR_BYTES = 512;
/** Bytes of an entry of a directory. */
export const ENTRY_BYTES = 32;
export const FIRST_CLUSTER = 2;
const FAT_COUNT = 2;
const ROOT_ENTRIES = 512;

export interface Geometry {
  fatType: FatType;
  floppy: boolean;
  /** Sectors of the whole disk. */
  diskSectors: number;
  cylinders: number;
  heads: number;
  /** Sectors of a track. */
  trackSectors: number;
  /** Sector of the disk at which the file system begins, and its sectors. */
  start: number;
  sectors: number;
  clusterSectors: number;
  reservedSectors: number;
  /** Sectors of one FAT. */
  fatSectors: number;
  /** Entries of the root directory; 0 where it lies in clusters. */
  rootEntries: number;
  /** Sector of the file system at which cluster 2 begins. */
  dataSector: number;
  clusters: number;
}

/** Throws `invalid-argument` for a type that there is not, and `unsupported` for one that a floppy is too small for. */
export function geometryOf(fatType: number, floppy: boolean): Geometry {
  if (fatType !== 0 && fatType !== 12 && fatType !== 16 && fatType !== 32) {
    throw new BlockError('invalid-argument', 'Valid FAT types are only 12, 16 and 32');
  }
  return floppy ? floppyGeometry(fatType) : hardDiskGeometry(fatType === 0 ? 16 : fatType);
}

/** 2.88 MB; 1.44 MB where FAT12 is asked for. */
function floppyGeometry(asked: FatType | 0): Geometry {
  if (asked === 32) {
    const why =
      'a floppy has too few sectors for FAT32, which needs 65525 clusters: leave the FAT type out, or take 12 or 16';
    throw new BlockError('unsupported', why);
  }
  return place({
    fatType: asked === 16 ? 16 : 12,
    floppy: true,
    cylinders: 80,
    heads: 2,
    trackSectors: asked === 12 ? 18 : 36,
    start: 0,
    clusterSectors: asked === 16 ? 1 : 16,
  });
}

/** 504 MiB, or 31.5 MiB for FAT12. */
function hardDiskGeometry(fatType: FatType): Geometry {
  const trackSectors = 63;
  return place({
    fatType,
    floppy: false,
    cylinders: fatType === 12 ? 64 : 1024,
    heads: 16,
    trackSectors,
    start: trackSectors,
    clusterSectors: fatType === 32 ? 8 : 16,
  });
}

type Shape = Pick<Geometry, 'fatType' | 'floppy' | 'cylinders' | 'heads' | 'trackSectors' | 'start' | 'clusterSectors'>;

function place(shape: Shape): Geometry {
  const { fatType, cylinders, heads, trackSectors, start, clusterSectors } = shape;
  const diskSectors = cylinders * heads * trackSectors;
  const sectors = diskSectors - start;
  const reservedSectors = fatType === 32 ? 32 : 1;
  const rootEntries = fatType === 32 ? 0 : ROOT_ENTRIES;
  const fixed = reservedSectors + (rootEntries * ENTRY_BYTES) / SECTOR_BYTES;
  const clustersWith = (fatSectors: number) => Math.floor((sectors - fixed - FAT_COUNT * fatSectors) / clusterSectors);
  const entriesIn = (fatSectors: number) => Math.floor((fatSectors * SECTOR_BYTES * 8) / fatType);
  // The fewest sectors whose entries are enough for the clusters that are left beside them.
  let fatSectors = 1;
  while (entriesIn(fatSectors) < clustersWith(fatSectors) + FIRST_CLUSTER) fatSectors++;
  const dataSector = fixed + FAT_COUNT * fatSectors;
  const clusters = clustersWith(fatSectors);
  return { ...shape, diskSectors, sectors, reservedSectors, fatSectors, rootEntries, dataSector, clusters };
}

export function clusterBytes(geometry: Geometry): number {
  return geometry.clusterSectors * SECTOR_BYTES;
}

/** Byte of the disk at which the sector of the file system begins. */
export function byteOfSector(geometry: Geometry, sector: number): number {
  return (geometry.start + sector) * SECTOR_BYTES;
}

/** Byte of the disk at which the cluster begins. */
export function byteOfCluster(geometry: Geometry, cluster: number): number {
  return byteOfSector(geometry, geometry.dataSector + (cluster - FIRST_CLUSTER) * geometry.clusterSectors);
}

/** Byte of the disk at which the FAT `index` (0 or 1) begins. */
export function byteOfFat(geometry: Geometry, index: number): number {
  return byteOfSector(geometry, geometry.reservedSectors + index * geometry.fatSectors);
}

/** Byte of the disk at which the root directory of FAT12 and FAT16 begins. */
export function byteOfRoot(geometry: Geometry): number {
  return byteOfFat(geometry, FAT_COUNT);
}
