// What the tests of the repair share: images of many kinds, what a guest reads of them cluster by cluster, and the promise that a repair keeps.

import { Child } from '../../../src/block/child.js';
import type { CheckFinding } from '../../../src/block/finding.js';
import { findingText } from '../../../src/block/finding-text.js';
import { Graph } from '../../../src/block/graph.js';
import { openNode } from '../../../src/block/open.js';
import type { Qcow2Node } from '../../../src/drivers/formats/qcow2/driver.js';
import { Random, type SimHost } from '../../../src/host/sim/index.js';
import { BlockError } from '../../../src/util/errors.js';
import { checkImage, repairImage } from '../../../src/workspace/check.js';
import { withoutFlush as withoutFlushOf } from '../../sim/changes.js';
import { readNode } from '../support.js';
import { createAt, type Fixture, makeFixture, openAt, PATH } from './bench.js';
import { damage, isExtended } from './damage.js';

export const BASE = '/base.raw';

const SNAPSHOT = 'before';

/** One guest cluster, or subcluster: what it reads as, null where it cannot be read; `owned`: no metadata lies where its data does. */
export interface GuestCluster {
  bytes: Buffer | null;
  owned: boolean;
}

export interface Damaged {
  fixture: Fixture;
  image: Buffer;
  what: string;
}

/** An image of a kind that the seed chooses (`only` of this version), with something of everything, damaged. */
export async function damagedImage(seed: number, only?: 'v2'): Promise<Damaged> {
  const random = new Random(seed, 7);
  const subclusters = only === undefined && new Random(seed, 10).chance(0.2) ? 32 : 1;
  const clusterSize = subclusters > 1 ? 16384 : random.pick([512, 1024, 4096]);
  const version = only ?? (subclusters > 1 ? 'v3' : random.pick(['v3', 'v3', 'v2'] as const));
  const refcountBits = version === 'v2' ? 16 : random.pick([1, 2, 8, 16, 16, 32, 64]);
  const hasBacking = random.chance(0.4);
  const size = clusterSize * (subclusters > 1 ? random.between(15, 40) : random.between(60, 150));
  const fixture = makeFixture();
  const { host, graph } = fixture;
  if (hasBacking) host.writeFile(BASE, Buffer.alloc(size - clusterSize, 0xbb));
  await createAt(fixture, {
    size,
    version,
    'cluster-size': clusterSize,
    'refcount-bits': refcountBits,
    'extended-l2': subclusters > 1,
    ...(hasBacking && { 'backing-file': 'base.raw', 'backing-fmt': 'raw' as const }),
  });
  const node = await openAt(fixture);
  const snapshots = refcountBits > 2 && new Random(seed, 9).chance(0.3);
  for (let i = 0; i < 18; i++) {
    const count = random.between(1, 8);
    const cluster = random.below(size / clusterSize - count) * clusterSize;
    const from = subclusters > 1 ? random.below(subclusters) * (clusterSize / subclusters) : 0;
    const data = Buffer.alloc(count * clusterSize - from, i + 1);
    if (i === 9 && snapshots) await snapshotOf(node);
    const what = random.below(10);
    const offset = cluster + from;
    const compressed = what > 4 && refcountBits > 1;
    if (what < 7 && compressed) await node.write(cluster, Buffer.alloc(count * clusterSize, i + 1), { compressed });
    else if (what < 7) await node.write(offset, data);
    else if (what < 9) await node.writeZeroes(offset, data.length, { mayUnmap: what === 7 });
    else await node.discard(offset, data.length);
  }
  await graph.closeAll();
  const done = damage(Buffer.from(host.readFile(PATH)), new Random(seed, 8));
  host.writeFile(PATH, done.image);
  fixture.graph = new Graph(host);
  return {
    fixture,
    image: done.image,
    what: `${version}, clusters of ${clusterSize}${subclusters > 1 ? ' with subclusters' : ''}, ${refcountBits} bits: ${done.what.join('; ')}`,
  };
}

/**
 * A tiny image, whose repair writes little and copies something: an L2 table is given to the guest's data, too. A few more damages are the seed's.
 */
export async function damagedTinyImage(seed: number): Promise<Damaged> {
  const random = new Random(seed, 21);
  const clusterSize = random.pick([512, 1024]);
  const version = random.pick(['v3', 'v3', 'v2'] as const);
  const clusters = random.between(8, 20);
  const fixture = makeFixture();
  const { host, graph } = fixture;
  await createAt(fixture, { size: clusters * clusterSize, version, 'cluster-size': clusterSize });
  const node = await openAt(fixture);
  for (let i = 0; i < 4; i++) {
    const count = random.between(1, 4);
    await node.write(random.below(clusters - count) * clusterSize, Buffer.alloc(count * clusterSize, i + 1));
  }
  await graph.closeAll();
  const { image, what } = damage(Buffer.from(host.readFile(PATH)), new Random(seed, 22), random.below(2));
  what.push(shareTable(image, random));
  host.writeFile(PATH, image);
  fixture.graph = new Graph(host);
  return { fixture, image, what: `${version}, clusters of ${clusterSize}: ${what.join('; ')}` };
}

/** Points an entry of the first L2 table to that table. */
function shareTable(image: Buffer, random: Random): string {
  const l1 = Number(image.readBigUInt64BE(40));
  const table = Number(image.readBigUInt64BE(l1) & 0x00ff_ffff_ffff_fe00n);
  if (table === 0 || table + 512 > image.length) return 'no table is shared';
  const slot = random.below(8);
  image.writeBigUInt64BE((1n << 63n) | BigInt(table), table + 8 * slot);
  return `guest cluster ${slot} is the L2 table`;
}

async function snapshotOf(node: Qcow2Node): Promise<void> {
  await node.abilities.snapshots?.create({ name: SNAPSHOT });
}

/** What a guest reads, and what the snapshot holds; null where the image does not open at all. */
export async function guestOf(host: SimHost): Promise<GuestCluster[] | null> {
  const image = Buffer.from(host.readFile(PATH));
  const metadata = metadataOf(image);
  const step = 2 ** image.readUInt32BE(20) / (isExtended(image) ? 32 : 1);
  const disk = await clustersOf(host, metadata, step);
  if (disk === null) return null;
  const snapshot = await clustersOf(host, metadata, step, { name: SNAPSHOT });
  return [...disk, ...(snapshot ?? [])];
}

async function clustersOf(
  host: SimHost,
  metadata: ReadonlySet<number>,
  step: number,
  snapshot?: { name: string },
): Promise<GuestCluster[] | null> {
  const graph = new Graph(host, { warn: () => undefined });
  try {
    const node = await openNode(graph, PATH, { format: 'qcow2', readOnly: true, snapshot });
    const clusters: GuestCluster[] = [];
    for (let offset = 0; offset < node.length; offset += step) {
      const bytes = Buffer.alloc(Math.min(step, node.length - offset));
      clusters.push(
        await readNode(node, offset, bytes).then(
          async () => {
            const status = await node.blockStatus(offset, bytes.length);
            return { bytes, owned: !metadata.has(Math.floor((status.offset ?? -1) / node.clusterBytes)) };
          },
          () => ({ bytes: null, owned: false }),
        ),
      );
    }
    return clusters;
  } catch (error) {
    if (!(error instanceof BlockError)) throw error;
    return null;
  } finally {
    await graph.closeAll();
  }
}

/** The clusters with the header and tables; without L2 tables, which a repair does not touch where a guest's data is, too. */
function metadataOf(image: Buffer): Set<number> {
  const cluster = 2 ** image.readUInt32BE(20);
  const found = new Set<number>([0]);
  const add = (offset: number, length: number): void => {
    for (let at = Math.floor(offset / cluster); at * cluster < Math.min(image.length, offset + length); at++)
      found.add(at);
  };
  const table = (offset: number, entries: number): void => {
    add(offset, entries * 8);
    for (let i = 0; i < entries && offset + 8 * i + 8 <= image.length; i++) {
      const target = Number(image.readBigUInt64BE(offset + 8 * i) & 0x00ff_ffff_ffff_fe00n);
      if (target > 0 && target < image.length) add(target, cluster);
    }
  };
  add(Number(image.readBigUInt64BE(40)), image.readUInt32BE(36) * 8);
  const snapshots = Number(image.readBigUInt64BE(64));
  if (image.readUInt32BE(60) > 0 && snapshots + 12 <= image.length) {
    add(snapshots, cluster);
    add(Number(image.readBigUInt64BE(snapshots)), image.readUInt32BE(snapshots + 8) * 8);
  }
  table(Number(image.readBigUInt64BE(48)), (image.readUInt32BE(56) * cluster) / 8);
  return found;
}

/** Repairs the image; resolves with what is still wrong afterwards. */
export async function repair(host: SimHost, kind: 'leaks' | 'all' = 'all'): Promise<string[]> {
  const graph = new Graph(host);
  try {
    await repairImage(graph, PATH, kind, { format: 'qcow2' }, () => undefined);
  } finally {
    await graph.closeAll();
  }
  return faults(host);
}

export async function faults(host: SimHost): Promise<string[]> {
  const graph = new Graph(host);
  const lines: string[] = [];
  try {
    await checkImage(graph, PATH, { format: 'qcow2' }, (finding) => lines.push(findingText(finding)));
  } finally {
    await graph.closeAll();
  }
  return lines;
}

/**
 * Clusters in use that a writer which does not repair the image would give to something else: by their refcounts they are free, and no dirty bit makes it repair the
 * image. With `perhaps`, also those whose refcounts cannot be read, and those behind the end of the file that tables point to.
 */
export async function unprotected(host: SimHost, perhaps = false): Promise<Set<number>> {
  const image = Buffer.from(host.readFile(PATH));
  const isDirty = image.readUInt32BE(4) > 2 && (image.readBigUInt64BE(72) & 1n) !== 0n;
  const cluster = 2 ** image.readUInt32BE(20);
  const found = new Set<number>();
  if (isDirty) return found;
  for (const { kind, cluster: at, hostOffset, length = cluster } of await findingsOf(host)) {
    if (kind === 'refcount-too-low' || (perhaps && kind === 'refcount-unreadable')) found.add(at!);
    if (!perhaps || (kind !== 'beyond-end-of-file' && kind !== 'refcount-block-outside')) continue;
    const first = Math.floor(Number(hostOffset) / cluster);
    const end = Math.min(first + 4096, Math.ceil((Number(hostOffset) + length) / cluster));
    for (let beyond = first; beyond < end; beyond++) found.add(beyond);
  }
  return found;
}

/** Runs a repair with the flushes left out that the function of this name asks for itself. */
export function withoutFlush(caller: string, action: () => Promise<void>): Promise<void> {
  return withoutFlushOf(Child.prototype, caller, action);
}

async function findingsOf(host: SimHost): Promise<CheckFinding[]> {
  const graph = new Graph(host, { warn: () => undefined });
  const list: CheckFinding[] = [];
  try {
    await checkImage(graph, PATH, { format: 'qcow2' }, (finding) => list.push(finding));
  } catch (error) {
    // What cannot be opened is not written, either.
    if (!(error instanceof BlockError)) throw error;
    return [];
  } finally {
    await graph.closeAll();
  }
  return list;
}

/** What was readable before and is not now, or reads otherwise: numbers of guest clusters. */
export function losses(before: readonly GuestCluster[], after: readonly GuestCluster[]): number[] {
  const lost: number[] = [];
  before.forEach(({ bytes, owned }, i) => {
    if (bytes === null || !owned) return;
    const now = after[i]?.bytes;
    if (now == null || !now.equals(bytes)) lost.push(i);
  });
  return lost;
}
