// A plain model of a qcow2 image with internal snapshots: what the disk holds, and each snapshot, by sector; and how an image differs from it, as the independent
// verifier reads it.

import type { Random } from '../../src/host/sim/index.js';
import type { PreallocMode } from '../../src/schema/generated/types.js';
import { type Qcow2Report, readClusters, type VerifiedSnapshot } from './verify-qcow2.js';

export const SECTOR = 512;
/** Value of what the backing file holds, plus the sector's number. */
export const FIRST_OF_BASE = 0x4000_0000;

/** By sector: the values that it may hold, the one that reads now last. */
export type Sectors = number[][];

export interface KnownSnapshot {
  id: string;
  name: string;
  /** What it holds for good; several values where it was taken while the sector was written. */
  sectors: Sectors;
  vmState: Uint8Array;
}

/** The disk, and its snapshots. */
export interface State {
  sectors: Sectors;
  snapshots: KnownSnapshot[];
}

export interface Shape {
  clusterSize: number;
  version: 'v2' | 'v3';
  /** L2 entries are extended. */
  extended: boolean;
  refcountBits: number;
  sectors: number;
  backingSectors: number;
  /** How the image is made. */
  preallocation: PreallocMode;
}

export function randomShape(random: Random, extended = random.chance(0.25)): Shape {
  const version = random.chance(0.2) && !extended ? 'v2' : 'v3';
  const clusterSize = extended ? 16384 : random.pick([512, 512, 1024, 4096, 16384]);
  const perCluster = clusterSize / SECTOR;
  const sectors = random.between(1, Math.min(400, 60 + 4 * perCluster) * Math.min(perCluster, 4));
  return {
    clusterSize,
    version,
    extended,
    refcountBits: version === 'v2' ? 16 : random.pick([1, 2, 4, 8, 16, 16, 32, 64]),
    sectors,
    backingSectors: random.chance(0.5) ? 0 : random.between(1, sectors * 1.3),
    preallocation: 'off',
  };
}

/**
 * What of an image is not as in a state; null: all is. `below`: what the backing file holds. `lost`: after power loss, a sector may have any of its values; of a snapshot it has
 * that one for good from then on.
 */
export function differs(
  file: Uint8Array,
  report: Qcow2Report,
  { sectors, snapshots }: State,
  below: Uint8Array,
  lost: boolean,
): string | null {
  if (report.size !== sectors.length * SECTOR) return `the disk has ${report.size} bytes`;
  const names = report.snapshots.map(({ id, name }) => `${id}:${name}`).join(' ');
  if (names !== snapshots.map(({ id, name }) => `${id}:${name}`).join(' ')) return `the snapshots are '${names}'`;
  const disk = readClusters(file, report, report, below);
  const allowed = lost ? sectors : sectors.map((values) => values.slice(-1));
  const wrong = wrongSector(disk, allowed);
  if (wrong !== null) return `the disk: ${wrong}`;
  for (const [i, one] of snapshots.entries()) {
    const problem = snapshotDiffers(file, report, report.snapshots[i], one, below);
    if (problem !== null) return `snapshot ${one.id}: ${problem}`;
  }
  return null;
}

function snapshotDiffers(
  file: Uint8Array,
  report: Qcow2Report,
  found: VerifiedSnapshot,
  { sectors, vmState }: KnownSnapshot,
  below: Uint8Array,
): string | null {
  if (found.size !== sectors.length * SECTOR) return `its disk has ${found.size} bytes`;
  const content = readClusters(file, report, found, below);
  const wrong = wrongSector(content, sectors);
  if (wrong !== null) return wrong;
  // From now on it holds that for good.
  const words = new Uint32Array(content.buffer);
  for (const [i, values] of sectors.entries())
    if (values.length > 1) values.splice(0, values.length, words[(i * SECTOR) / 4]);
  if (found.vmStateSize !== vmState.length) return `the machine's state has ${found.vmStateSize} bytes`;
  const state = readClusters(file, report, { clusters: found.vmState, size: vmState.length }, new Uint8Array(0));
  return state.every((byte, i) => byte === vmState[i]) ? null : "the machine's state differs";
}

/** What was written last is durable. */
export function settled(sectors: Sectors): Sectors {
  return sectors.map((values) => [values[values.length - 1]]);
}

/** What is wrong with the first sector that holds none of its values; null: all do. */
function wrongSector(content: Uint8Array, allowed: Sectors): string | null {
  const words = new Uint32Array(content.buffer);
  for (const [i, values] of allowed.entries()) {
    const at = (i * SECTOR) / 4;
    const value = words[at];
    for (let word = 1; word < SECTOR / 4; word++) if (words[at + word] !== value) return `sector ${i} is torn`;
    if (!values.includes(value)) return `sector ${i} holds ${value}, not ${values.join(' ')}`;
  }
  return null;
}
