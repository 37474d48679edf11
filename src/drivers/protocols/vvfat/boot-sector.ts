// The sectors in front of the file allocation tables: the partition table, the boot sector, and what FAT32 has beside it. Names, numbers and signatures
// are QEMU's.

import { FIRST_CLUSTER, type Geometry, SECTOR_BYTES } from './geometry.js';

/** The sectors of FAT32 beside its first one. */
const INFO_SECTOR = 1;
const BACKUP_SECTOR = 6;

const DISK_SIGNATURE = 0xbe1afdfa;
const VOLUME_ID = 0xfabe1afd;
const PARTITION_TYPE = { 12: 0x01, 16: 0x06, 32: 0x0b } as const;
/** Byte of the first entry of the partition table. */
const PARTITION = 0x1be;
const MEDIUM_HARD_DISK = 0xf8;
const MEDIUM_FLOPPY = 0xf0;

/** The number of the medium; it stands in the first entry of the FAT, too. */
export function mediumOf({ floppy }: Geometry): number {
  return floppy ? MEDIUM_FLOPPY : MEDIUM_HARD_DISK;
}

/** Sector 0 of a hard disk: one active partition, up to the end. */
export function partitionTable(geometry: Geometry): Uint8Array {
  const { bytes, view } = emptySector();
  view.setUint32(0x1b8, DISK_SIGNATURE, true);
  bytes[PARTITION] = 0x80;
  bytes.set(cylinderHeadSector(geometry, geometry.start), PARTITION + 1);
  bytes[PARTITION + 4] = PARTITION_TYPE[geometry.fatType];
  bytes.set(cylinderHeadSector(geometry, geometry.diskSectors - 1), PARTITION + 5);
  view.setUint32(PARTITION + 8, geometry.start, true);
  view.setUint32(PARTITION + 12, geometry.sectors, true);
  return bytes;
}

function cylinderHeadSector({ heads, trackSectors }: Geometry, sector: number): number[] {
  const cylinder = Math.floor(sector / (heads * trackSectors));
  const head = Math.floor(sector / trackSectors) % heads;
  return [head, ((sector % trackSectors) + 1) | ((cylinder >> 8) << 6), cylinder & 0xff];
}

/** The reserved sectors that are not empty, with their numbers. */
export function reservedSectors(
  geometry: Geometry,
  label: Uint8Array,
  used: number,
): { sector: number; bytes: Uint8Array }[] {
  const boot = bootSector(geometry, label);
  if (geometry.fatType !== 32) return [{ sector: 0, bytes: boot }];
  const info = infoSector(geometry, used);
  return [
    { sector: 0, bytes: boot },
    { sector: INFO_SECTOR, bytes: info },
    { sector: BACKUP_SECTOR, bytes: boot },
    { sector: BACKUP_SECTOR + INFO_SECTOR, bytes: info },
  ];
}

function bootSector(geometry: Geometry, label: Uint8Array): Uint8Array {
  const { fatType, floppy, sectors, fatSectors } = geometry;
  const { bytes, view } = emptySector();
  const isWide = fatType === 32;
  bytes.set([0xeb, isWide ? 0x58 : 0x3e, 0x90]);
  bytes.set(Buffer.from('MSWIN4.1'), 3);
  view.setUint16(11, SECTOR_BYTES, true);
  bytes[13] = geometry.clusterSectors;
  view.setUint16(14, geometry.reservedSectors, true);
  bytes[16] = 2;
  view.setUint16(17, geometry.rootEntries, true);
  const isShort = sectors < 0x10000 && !isWide;
  view.setUint16(19, isShort ? sectors : 0, true);
  bytes[21] = mediumOf(geometry);
  view.setUint16(22, isWide ? 0 : fatSectors, true);
  view.setUint16(24, geometry.trackSectors, true);
  view.setUint16(26, geometry.heads, true);
  view.setUint32(28, geometry.start, true);
  view.setUint32(32, isShort ? 0 : sectors, true);
  if (isWide) {
    view.setUint32(36, fatSectors, true);
    view.setUint32(44, FIRST_CLUSTER, true);
    view.setUint16(48, INFO_SECTOR, true);
    view.setUint16(50, BACKUP_SECTOR, true);
  }
  const tail = isWide ? 64 : 36;
  bytes[tail] = floppy ? 0 : 0x80;
  bytes[tail + 2] = 0x29;
  view.setUint32(tail + 3, VOLUME_ID, true);
  bytes.set(label, tail + 7);
  bytes.set(Buffer.from(`FAT${fatType}   `), tail + 18);
  return bytes;
}

/** How many clusters are free, and where the next free one may be; `used` are those that are taken. */
function infoSector({ clusters }: Geometry, used: number): Uint8Array {
  const { bytes, view } = emptySector();
  view.setUint32(0, 0x41615252, true);
  view.setUint32(484, 0x61417272, true);
  view.setUint32(488, clusters - used, true);
  view.setUint32(492, used < clusters ? FIRST_CLUSTER + used : 0xffffffff, true);
  return bytes;
}

function emptySector(): { bytes: Uint8Array; view: DataView } {
  const bytes = new Uint8Array(SECTOR_BYTES);
  bytes.set([0x55, 0xaa], SECTOR_BYTES - 2);
  return { bytes, view: new DataView(bytes.buffer) };
}

/** The parts of the boot sector that say where what lies, and of the partition table: the type; start and length. Whether it is active, and cylinders, do not count. */
const LAYOUT_FIELDS = { from: 11, to: 36, wideTo: 52 };
const PARTITION_FIELDS = [
  { from: PARTITION + 4, to: PARTITION + 5 },
  { from: PARTITION + 8, to: PARTITION + 16 },
];

/** Whether the sectors in front of the FAT, which a machine may have written to, speak of another file system than ours. Code, names and marks in them do not count. */
export function reservedBytesDiffer(geometry: Geometry, bytes: Uint8Array): boolean {
  const differ = (at: number, ours: Uint8Array, from: number, to: number) =>
    Buffer.compare(bytes.subarray(at + from, at + to), ours.subarray(from, to)) !== 0;
  const { from, to, wideTo } = LAYOUT_FIELDS;
  const boot = bootSector(geometry, new Uint8Array());
  if (differ(geometry.start * SECTOR_BYTES, boot, from, geometry.fatType === 32 ? wideTo : to)) return true;
  if (geometry.floppy) return false;
  const table = partitionTable(geometry);
  return PARTITION_FIELDS.some((field) => differ(0, table, field.from, field.to));
}
