// The qcow2 and LUKS images that are mutated: small ones of every kind, with data, zeroes, holes and what the kind is about, and the places in them that are worth breaking.
// They are one list, so that a seed of a long run means the same image for ever.

import { createImage, type ImageCreateOptions } from '../../../src/block/create.js';
import type { BlockNode } from '../../../src/block/node/node.js';
import { openNode } from '../../../src/block/open.js';
import type { ImageOptions } from '../../../src/schema/options.js';
import { addStoredBitmap } from '../../../src/workspace/bitmap.js';
import { BACKING, DATA, graphWith, IMAGE, SECRET } from '../../mutation/images.js';
import type { MadeMutant, MutantKind, Place } from '../fixture.js';

const DISK_BYTES = 128 << 10;

type Qcow2Options = Omit<Extract<ImageCreateOptions, { driver: 'qcow2' }>, 'driver' | 'size'>;

interface Kind {
  name: string;
  format: 'qcow2' | 'luks';
  create: Qcow2Options;
  compressed?: boolean;
  snapshots?: boolean;
  bitmaps?: boolean;
  /** `IMAGE` is the header alone, and `DATA` the disk. */
  detached?: boolean;
}

/** Named by what is in them. */
const KINDS: readonly Kind[] = [
  { name: 'plain', format: 'qcow2', create: { 'cluster-size': 4096 } },
  { name: 'version 2', format: 'qcow2', create: { version: 'v2', 'cluster-size': 4096 } },
  { name: 'clusters of 512', format: 'qcow2', create: { 'cluster-size': 512 } },
  { name: 'clusters of 64 KiB, 64 bits', format: 'qcow2', create: { 'refcount-bits': 64 } },
  { name: '1 bit', format: 'qcow2', create: { 'cluster-size': 1024, 'refcount-bits': 1 } },
  {
    name: 'backing file',
    format: 'qcow2',
    create: { 'cluster-size': 4096, 'backing-file': BACKING, 'backing-fmt': 'raw' },
  },
  { name: 'zlib', format: 'qcow2', create: { 'cluster-size': 4096 }, compressed: true },
  { name: 'zstd', format: 'qcow2', create: { 'cluster-size': 16384, 'compression-type': 'zstd' }, compressed: true },
  { name: 'snapshots', format: 'qcow2', create: { 'cluster-size': 4096 }, snapshots: true },
  { name: 'snapshots, 512', format: 'qcow2', create: { 'cluster-size': 512 }, snapshots: true, compressed: true },
  { name: 'snapshots, version 2', format: 'qcow2', create: { version: 'v2', 'cluster-size': 1024 }, snapshots: true },
  { name: 'bitmaps', format: 'qcow2', create: { 'cluster-size': 4096 }, bitmaps: true },
  { name: 'bitmaps, 512', format: 'qcow2', create: { 'cluster-size': 512 }, bitmaps: true },
  { name: 'bitmaps and snapshots', format: 'qcow2', create: { 'cluster-size': 2048 }, bitmaps: true, snapshots: true },
  {
    name: 'extended L2',
    format: 'qcow2',
    create: { 'cluster-size': 16384, 'extended-l2': true },
    snapshots: true,
  },
  { name: 'LUKS in qcow2', format: 'qcow2', create: { 'cluster-size': 4096, encrypt: luks() } },
  { name: 'LUKS, snapshots', format: 'qcow2', create: { 'cluster-size': 4096, encrypt: luks() }, snapshots: true },
  { name: 'AES', format: 'qcow2', create: { 'cluster-size': 4096, encrypt: { format: 'qcow', 'key-secret': SECRET } } },
  {
    name: 'data file',
    format: 'qcow2',
    create: { 'cluster-size': 4096, 'data-file': { driver: 'file', filename: DATA } },
    bitmaps: true,
  },
  {
    name: 'raw data file',
    format: 'qcow2',
    create: { 'cluster-size': 4096, 'data-file': { driver: 'file', filename: DATA }, 'data-file-raw': true },
  },
  { name: 'LUKS', format: 'luks', create: {} },
  { name: 'LUKS, detached header', format: 'luks', create: {}, detached: true },
];

function luks() {
  return { format: 'luks', 'key-secret': SECRET, 'iter-time': 10 } as const;
}

/** How an image of the kind is opened: the same for a sound one and for a mutant. */
function optionsOf({ format, create, detached }: Kind): ImageOptions {
  const file = { driver: 'file', filename: IMAGE } as const;
  if (detached) return { driver: 'luks', file: { driver: 'file', filename: DATA }, header: file, 'key-secret': SECRET };
  if (format === 'luks') return { driver: 'luks', file, 'key-secret': SECRET };
  const { encrypt } = create;
  return {
    driver: 'qcow2',
    file,
    discard: 'unmap',
    ...(encrypt !== undefined && {
      encrypt: { format: encrypt.format === 'luks' ? 'luks' : 'aes', 'key-secret': SECRET },
    }),
  };
}

async function make(kind: Kind): Promise<MadeMutant> {
  const { host, graph } = await graphWith(
    new Map([
      [BACKING, Buffer.alloc(DISK_BYTES / 2, 0xbb)],
      [DATA, Buffer.alloc(0)],
    ]),
  );
  if (kind.format === 'luks') {
    const how = { driver: 'luks', size: DISK_BYTES, 'key-secret': SECRET, 'iter-time': 10 } as const;
    if (kind.detached) await createImage(graph, DATA, { ...how, header: { driver: 'file', filename: IMAGE } });
    else await createImage(graph, IMAGE, how);
  } else await createImage(graph, IMAGE, { driver: 'qcow2', size: DISK_BYTES, ...kind.create });
  const node = await openNode(graph, optionsOf(kind));
  if (kind.bitmaps) {
    await addStoredBitmap(node, 'b0', { persistent: true, granularity: 512 });
    await addStoredBitmap(node, 'b1', { persistent: true, granularity: 65536 });
  }
  await fill(node, 1, kind);
  if (kind.snapshots) {
    const { snapshots } = node.abilities;
    await snapshots!.create({ name: 'first' });
    await fill(node, 50, kind);
    await snapshots!.writeVmState(0, new Uint8Array(5000).fill(0x77));
    await snapshots!.create({ name: 'second', vmStateSize: 5000 });
    await fill(node, 90, kind);
  }
  await graph.closeAll();
  const files = new Map(host.files().map((path) => [path, Buffer.from(host.readFile(path))]));
  return { files, places: places(files.get(IMAGE)!, kind) };
}

async function fill(node: BlockNode, value: number, { compressed }: Kind): Promise<void> {
  const cluster = Math.max(4096, node.clusterBytes);
  for (let i = 0; i < 6; i++) {
    const offset = Math.floor((((value * 7 + i * 13) % 16) * DISK_BYTES) / 16 / cluster) * cluster;
    const length = Math.min(cluster * (1 + (i % 3)), DISK_BYTES - offset);
    if (i === 4) await node.writeZeroes(offset, length);
    else await node.write(offset, new Uint8Array(length).fill(value + i), { compressed: compressed && i % 2 === 0 });
  }
}

const KEY_SLOTS_END = 592;
const TARGET = 0x00ff_ffff_ffff_fe00n;

function places(image: Buffer, { format }: Kind): Place[] {
  if (format === 'luks')
    return [
      [0, 208],
      [0, KEY_SLOTS_END],
      [208, KEY_SLOTS_END],
      [4096, 4096 + 2048],
    ];
  const found = new Places(image);
  found.all();
  return found.list;
}

/** Walks from the header to whatever it leads to. */
class Places {
  readonly list: Place[] = [];
  readonly #image: Buffer;
  readonly #cluster: number;

  constructor(image: Buffer) {
    this.#image = image;
    this.#cluster = 2 ** image.readUInt32BE(20);
  }

  all(): void {
    const image = this.#image;
    const extensions = image.readUInt32BE(4) === 2 ? 72 : image.readUInt32BE(100);
    this.#add(0, 112);
    this.#add(20, 48);
    this.#l1(this.#at(40), image.readUInt32BE(36));
    const table = this.#at(48);
    this.#add(table, 64);
    this.#add(this.#at(table), 256);
    this.#extensions(extensions);
    const snapshots = image.readUInt32BE(60);
    for (let i = 0, at = this.#at(64); i < snapshots; i++) {
      const length = 40 + image.readUInt16BE(at + 12) + image.readUInt16BE(at + 14) + image.readUInt32BE(at + 36);
      for (let often = 0; often < 2; often++) this.#add(at, length);
      this.#l1(this.#at(at), image.readUInt32BE(at + 8));
      at += Math.ceil(length / 8) * 8;
    }
  }

  #at(offset: number): number {
    return Number(this.#image.readBigUInt64BE(offset));
  }

  #add(start: number, length: number): void {
    const end = Math.min(start + length, this.#image.length);
    if (end - start >= 8) this.list.push([start, end]);
  }

  #l1(offset: number, entries: number): void {
    this.#add(offset, entries * 8);
    for (let i = 0, tables = 0; i < entries && tables < 2; i++) {
      const target = Number(this.#image.readBigUInt64BE(offset + 8 * i) & TARGET);
      if (target === 0) continue;
      this.#add(target, Math.min(this.#cluster, 1024));
      tables++;
    }
  }

  #extensions(start: number): void {
    const image = this.#image;
    for (let at = start; ; ) {
      const [type, length] = [image.readUInt32BE(at), image.readUInt32BE(at + 4)];
      // Of the table of feature names, the begin is enough.
      this.#add(at, 8 + Math.min(length, 56));
      if (type === 0) return;
      if (type === 0x2385_2875) this.#bitmaps(this.#at(at + 24), this.#at(at + 16));
      if (type === 0x0537_be77) this.#luks(this.#at(at + 8));
      at += 8 + Math.ceil(length / 8) * 8;
    }
  }

  #bitmaps(directory: number, length: number): void {
    const image = this.#image;
    for (let often = 0; often < 3; often++) this.#add(directory, length);
    for (let at = directory; at < directory + length; ) {
      const table = this.#at(at);
      this.#add(table, image.readUInt32BE(at + 8) * 8);
      this.#add(this.#at(table) & ~0x1ff, 128);
      at += Math.ceil((24 + image.readUInt16BE(at + 18) + image.readUInt32BE(at + 20)) / 8) * 8;
    }
  }

  #luks(offset: number): void {
    for (let often = 0; often < 3; often++) this.#add(offset, 208);
    this.#add(offset + 208, KEY_SLOTS_END - 208);
    this.#add(offset + 4096, 512);
  }
}

export const QCOW2_MUTANTS: readonly MutantKind[] = KINDS.map((kind) => ({
  name: kind.name,
  // Its key costs as much as twenty other images.
  costly: kind.format === 'luks' || kind.create.encrypt?.format === 'luks',
  repairs: kind.format === 'qcow2',
  data: kind.detached === true,
  byteOrder: 'big',
  options: optionsOf(kind),
  make: () => make(kind),
}));
