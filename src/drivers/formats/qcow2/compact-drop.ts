// Drops clusters whose content the image need not store: those of zeroes, and, where that is wanted, those that are equal to the backing file's. L2 tables that map
// nothing afterwards are dropped, too. Of the disk alone, and only what nothing else refers to: dropping the others wins nothing.
//
//   look     each L2 table of the disk: which of its clusters could be dropped? Guests go on meanwhile
//   drop     with no request under way: look at these again, change their entries; the next commit frees the clusters
//
//                          no backing file        with a backing file
//   zeroes, version 3      unallocated            zero flag
//   zeroes, version 2      unallocated            -
//   as the backing file    -                      unallocated

import { hasPlace } from './compact-map.js';
import type { Qcow2Image } from './image.js';
import { Kind } from './l2-codec.js';
import { readGuest } from './read.js';
import type { GuestOffset } from './types.js';
import { freeOld } from './write.js';

const PIECE_BYTES = 1 << 20;

/** What becomes of a cluster. */
const STAYS = 0;
const BECOMES_ZERO = 1;
const BECOMES_UNALLOCATED = 2;

/** What was found in one L2 table. */
export interface Droppable {
  index: number;
  /** For each slot, what becomes of it. */
  fates: Uint8Array;
  /** Clusters of the file that become free. */
  clusters: number[];
  /** The table maps nothing afterwards, and is dropped. */
  empty: boolean;
}

export interface DropSettings {
  zeroes: boolean;
  backing: boolean;
  /** Clusters that have one reference, whatever their refcounts say: these are too high. */
  own: ReadonlySet<number>;
  /** Calls `action`, which reads so many bytes of content, or a table. */
  read(bytes: number, action: () => Promise<void>): Promise<void>;
}

/** Looks at the L2 table `index`; null: nothing of it can be dropped. `only`: looks just at these slots. Rejects with `io`, `corrupt-image`. */
export async function lookAtTable(
  image: Qcow2Image,
  index: number,
  settings: DropSettings,
  only: Uint8Array | null = null,
): Promise<Droppable | null> {
  const { geometry, mapping } = image;
  const { clusterSize, l2Entries, l2Span } = geometry;
  const target = mapping.l1.target(index);
  if (target === 0 || !(mapping.l1.copied(index) || settings.own.has(target / clusterSize))) return null;
  const copies: (DataView | null)[] = [];
  await settings.read(0, async () => {
    copies.push(await copyOfTable(image, index));
  });
  const [view] = copies;
  if (view === null) return null;
  const fates = new Uint8Array(l2Entries);
  const clusters: number[] = [];
  const base = index * l2Span;
  const perPiece = Math.max(1, PIECE_BYTES / clusterSize);
  /** Of an entry that points to a cluster: nothing else does. */
  const isOwn = (slot: number): boolean =>
    mapping.codec.copied(view, slot) || settings.own.has(mapping.codec.host(view, slot) / clusterSize);
  let mapped = 0;
  for (let slot = 0; slot < l2Entries; slot++) {
    slot += mapping.codec.emptyRun(view, slot, l2Entries - slot);
    if (slot === l2Entries) break;
    mapped++;
    if (base + slot * clusterSize >= image.length() || only?.[slot] === STAYS) continue;
    const kind = mapping.codec.kind(view, slot);
    if (!hasPlace(kind) || mapping.codec.host(view, slot) === 0 || !isOwn(slot)) continue;
    if (kind === Kind.zeroAllocated) {
      if (settings.zeroes) fates[slot] = fateOfZeroes(image);
      continue;
    }
    let end = slot + 1;
    const isNext = (at: number): boolean =>
      mapping.codec.kind(view, at) === Kind.normal && isOwn(at) && only?.[at] !== STAYS;
    while (end < l2Entries && end - slot < perPiece && base + end * clusterSize < image.length() && isNext(end)) end++;
    await lookAtContent(image, (base + slot * clusterSize) as GuestOffset, fates.subarray(slot, end), settings);
    mapped += end - slot - 1;
    slot = end - 1;
  }
  let kept = mapped;
  for (const [slot, fate] of fates.entries()) {
    if (fate === STAYS) continue;
    clusters.push(mapping.codec.host(view, slot) / clusterSize);
    if (fate === BECOMES_UNALLOCATED) kept--;
  }
  return clusters.length > 0 || kept === 0 ? { index, fates, clusters, empty: kept === 0 } : null;
}

async function copyOfTable({ mapping }: Qcow2Image, index: number): Promise<DataView | null> {
  let table = mapping.tableSync(index);
  while (table === undefined) {
    await mapping.loadTable(index);
    table = mapping.tableSync(index);
  }
  return table === null ? null : new DataView(table.bytes.slice().buffer);
}

function fateOfZeroes(image: Qcow2Image): number {
  if (!image.hasBacking) return BECOMES_UNALLOCATED;
  return image.geometry.version === 3 ? BECOMES_ZERO : STAYS;
}

/** Decides about clusters from `guest` on, by what they hold. */
async function lookAtContent(
  image: Qcow2Image,
  guest: GuestOffset,
  fates: Uint8Array,
  settings: DropSettings,
): Promise<void> {
  const { memory, geometry } = image;
  const { clusterSize } = geometry;
  const length = Math.min(fates.length * clusterSize, image.length() - guest);
  const backing = settings.backing ? image.backing() : null;
  const content = memory.allocate(length);
  const below = backing === null ? null : memory.allocate(length);
  try {
    await settings.read(length, async () => {
      await readGuest(image, guest, content);
      if (backing === null || below === null) return;
      const inside = Math.max(0, Math.min(length, backing.length - guest));
      if (inside > 0) await backing.read(guest, below.subarray(0, inside));
    });
    for (let i = 0; i < fates.length; i++) {
      const [from, to] = [i * clusterSize, Math.min(length, (i + 1) * clusterSize)];
      const own = content.subarray(from, to);
      // Behind the end of the backing file zeroes are kept as such: a job may replace that by a longer one.
      const isBelow = below !== null && guest + to <= backing!.length;
      if (isBelow && Buffer.compare(own, below.subarray(from, to)) === 0) fates[i] = BECOMES_UNALLOCATED;
      else if (settings.zeroes && memory.isZero(own)) fates[i] = fateOfZeroes(image);
    }
  } finally {
    memory.free(content);
    if (below !== null) memory.free(below);
  }
}

/** `found` in parts of at most so many clusters, which are dropped one after the other. */
export function* partsOf(found: Droppable, most: number): Generator<Droppable> {
  let fates = new Uint8Array(found.fates.length);
  let count = 0;
  for (const [slot, fate] of found.fates.entries()) {
    if (fate === STAYS) continue;
    if (count === most) {
      yield { ...found, fates };
      fates = new Uint8Array(found.fates.length);
      count = 0;
    }
    fates[slot] = fate;
    count++;
  }
  // Also of a table that maps nothing.
  yield { ...found, fates };
}

/** Drops what was found, as far as it is still so. Nobody may use the image meanwhile. Resolves with the clusters that are free after the next commit. Rejects as `lookAtTable`. */
export async function dropFound(image: Qcow2Image, found: Droppable, settings: DropSettings): Promise<number> {
  const { mapping } = image;
  image.checkUsable();
  const now = await lookAtTable(image, found.index, { ...settings, read: (_bytes, action) => action() }, found.fates);
  if (now === null) return 0;
  const table = await mapping.pinForWrite(now.index);
  try {
    for (const [slot, fate] of now.fates.entries()) {
      if (fate === STAYS) continue;
      const entry = mapping.codec.decode(table.view, slot);
      freeOld(image, entry, true);
      if (fate === BECOMES_ZERO) mapping.setZero(table, slot);
      else mapping.setUnallocated(table, slot);
    }
  } finally {
    table.pins--;
  }
  if (now.empty) mapping.removeTable(now.index);
  return now.clusters.length;
}
