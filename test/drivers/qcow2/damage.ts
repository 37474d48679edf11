// Damage to a qcow2 image in memory, by seed: pointers, flags and refcounts that are wrong, tables that lie over each other, a file that is cut.

import type { Random } from '../../../src/host/sim/index.js';

const MASK = 0x00ff_ffff_ffff_fe00n;
const COPIED = 1n << 63n;

/** L2 entries have a second word, for subclusters. */
export function isExtended(image: Buffer): boolean {
  return image.readUInt32BE(4) >= 3 && (image.readUInt32BE(76) & 16) !== 0;
}

/** Where the tables of an image lie. */
interface Places {
  cluster: number;
  clusters: number;
  l1: number;
  l1Entries: number;
  l2: number[];
  table: number;
  tableEntries: number;
  blocks: number[];
}

function placesOf(image: Buffer): Places {
  const cluster = 2 ** image.readUInt32BE(20);
  const pointer = (at: number): number => (at + 8 <= image.length ? Number(image.readBigUInt64BE(at) & MASK) : 0);
  const [l1, l1Entries] = [pointer(40), image.readUInt32BE(36)];
  const [table, tableEntries] = [pointer(48), (image.readUInt32BE(56) * cluster) / 8];
  const targets = (at: number, entries: number): number[] =>
    Array.from({ length: Math.min(entries, 4096) }, (_, i) => pointer(at + 8 * i)).filter(
      (offset) => offset > 0 && offset + cluster <= image.length,
    );
  const clusters = Math.ceil(image.length / cluster);
  return {
    cluster,
    clusters,
    l1,
    l1Entries,
    l2: targets(l1, l1Entries),
    table,
    tableEntries,
    blocks: targets(table, tableEntries),
  };
}

/** Damages the image `times`, by default once to five times; says what was done. The header stays as it is, but for feature bits and the place of the refcount table. */
export function damage(image: Buffer, random: Random, times = random.between(1, 5)): { image: Buffer; what: string[] } {
  const what: string[] = [];
  let damaged = image;
  for (let count = times; count > 0; count--) {
    const done = damageOnce(damaged, placesOf(damaged), random);
    if (done === null) continue;
    what.push(done.what);
    damaged = done.image ?? damaged;
  }
  return { image: damaged, what };
}

function damageOnce(image: Buffer, at: Places, random: Random): { what: string; image?: Buffer } | null {
  const put = (offset: number, value: bigint): boolean => {
    if (offset < 0 || offset + 8 > image.length) return false;
    image.writeBigUInt64BE(BigInt.asUintN(64, value), offset);
    return true;
  };
  const get = (offset: number): bigint => (offset + 8 <= image.length ? image.readBigUInt64BE(offset) : 0n);
  /** An entry of a table: mostly one that is in use. */
  const entryIn = (table: number, entries: number): number => {
    const used = Array.from({ length: Math.min(entries, 4096) }, (_, i) => table + 8 * i).filter((o) => get(o) !== 0n);
    return used.length > 0 && random.chance(0.9) ? random.pick(used) : table + 8 * random.below(Math.min(entries, 64));
  };
  const anyCluster = (): bigint => BigInt(random.below(at.clusters)) * BigInt(at.cluster);
  const beyond = (): bigint => BigInt(at.clusters + random.pick([0, 1, 2, 5, 1000, 2 ** 30])) * BigInt(at.cluster);
  const pointerDamage = (old: bigint, unaligned: boolean): bigint => {
    const flags = old & ~MASK;
    switch (random.below(7)) {
      case 0:
        return flags | anyCluster();
      case 1:
        return flags | beyond();
      case 2:
        return unaligned && at.cluster > 512 ? old + 512n : old ^ COPIED;
      case 3:
        return old ^ (1n << BigInt(random.between(56, 63)));
      case 4:
        return old ^ (1n << BigInt(random.between(0, 8)));
      case 5:
        return 0n;
      default:
        return old ^ COPIED;
    }
  };
  switch (random.below(12)) {
    case 0:
    case 1:
    case 2: {
      const block = at.blocks.length > 0 ? random.pick(at.blocks) : 0;
      if (block === 0) return null;
      const where = block + random.below(Math.min(at.cluster, Math.max(1, Math.ceil(at.clusters * 2))));
      if (where >= image.length) return null;
      image[where] = random.pick([0, 0, 1, 2, 0xff, random.below(256)]);
      return { what: `refcount byte ${where} is ${image[where]}` };
    }
    case 3:
    case 4:
    case 5:
    case 6: {
      if (at.l2.length === 0) return null;
      const entry = entryIn(random.pick(at.l2), at.cluster / 8);
      // The second word of an extended entry says which subclusters are zeroes, and which are data.
      const isBitmap = isExtended(image) && entry % 16 !== 0;
      const value = isBitmap ? get(entry) ^ (1n << BigInt(random.below(64))) : pointerDamage(get(entry), true);
      return put(entry, value) ? { what: `L2 entry at ${entry} is ${value.toString(16)}` } : null;
    }
    case 7: {
      const entry = entryIn(at.l1, at.l1Entries);
      const value = pointerDamage(get(entry), true);
      return put(entry, value) ? { what: `L1 entry at ${entry} is ${value.toString(16)}` } : null;
    }
    case 8: {
      const entry = entryIn(at.table, at.tableEntries);
      const value = random.pick([0n, get(entry) ^ 1n, get(entry) + 512n, anyCluster(), beyond()]);
      return put(entry, value) ? { what: `refcount table entry at ${entry} is ${value.toString(16)}` } : null;
    }
    case 9: {
      const length = random.between(Math.max(at.l1 + at.l1Entries * 8, at.table + 8), image.length);
      if (random.chance(0.7)) return null;
      return { what: `cut to ${length} bytes`, image: Buffer.from(image.subarray(0, length)) };
    }
    case 10: {
      if (random.chance(0.7)) return null;
      const place = random.below(at.clusters) * at.cluster;
      if (place === 0) return null;
      put(48, BigInt(place));
      return { what: `the refcount table is at ${place}` };
    }
    default: {
      // Compressed: where there is such an entry, its place, or its length.
      if (at.l2.length === 0) return null;
      const entry = entryIn(random.pick(at.l2), at.cluster / 8);
      const value = (1n << 62n) | (BigInt(random.below(8)) << 54n) | BigInt(random.below(image.length * 2));
      return put(entry, value) ? { what: `L2 entry at ${entry} is compressed, ${value.toString(16)}` } : null;
    }
  }
}
